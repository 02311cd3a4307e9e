"""Examples of requests: those of the tour in README.md. A test takes them from there, and runs each."""

from __future__ import annotations

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {}
"""By the name of a route's row."""
