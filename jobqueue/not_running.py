"""What stands for the parts that a service has not now: each use of one raises RuntimeError."""

from __future__ import annotations

from typing import Any


def not_running() -> RuntimeError:
    """Return what is raised where a running queue is needed."""
    return RuntimeError("the queue is not running: use `async with queue:` or await queue.start()")


class _NotRunning:
    def __getattr__(self, name: str) -> Any:
        raise not_running()

    def __call__(self) -> Any:
        raise not_running()


class _OfOtherBackend:
    def __init__(self, reason: str) -> None:
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._reason)


NOT_RUNNING: Any = _NotRunning()
"""Stands for what a service has only while its queue runs."""

NOT_LOCAL: Any = _OfOtherBackend("the jobs are in a store outside this process: ask `service.backend`, and await it")
"""Stands for the backend in this process where there is none."""

NO_STORE: Any = _OfOtherBackend("the jobs are in this process: there is no store to ask")
"""Stands for the backend in a store where there is none."""
