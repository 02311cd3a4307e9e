"""Outcomes of attempts, as they are counted: numbers, since each attempt that ends looks one up."""

from __future__ import annotations

from typing import Final

ATTEMPT_OUTCOMES: Final = ("succeeded", "failed", "timed_out", "worker_crashed", "cancelled", "lost")
"""Their names, by number. `lost`: it was told to stop, and had not stopped a second later."""

ATTEMPT_SUCCEEDED: Final = 0
ATTEMPT_FAILED: Final = 1
ATTEMPT_TIMED_OUT: Final = 2
ATTEMPT_CRASHED: Final = 3
ATTEMPT_CANCELLED: Final = 4
ATTEMPT_LOST: Final = 5
