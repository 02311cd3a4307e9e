"""The modules of `packaging/`, which are programs and hooks, not a package."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "packaging"))

compiled: Any = import_module("compiled")
wheel_hook: Any = import_module("wheel_hook")
js_types: Any = import_module("js_types")
