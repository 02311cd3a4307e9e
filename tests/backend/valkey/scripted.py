"""Calls of a store that answer as a test says: at once, or when it says so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jobqueue.backend.valkey.call_figures import CallFigures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.valkey.calls import Argument, Reply, Watcher
    from jobqueue.errors import StoreUnavailable

NOW_MS = 1_800_000_000_000

QUEUE = {
    "capacity": 10,
    "workers": 4,
    "live": 0,
    "overwritten": 0,
    "delayed": 0,
    "queued": 0,
    "running": 0,
    "ended": 0,
    "started": 0,
    "run_ms": 0,
    "runs": 0,
    "oldest": -1,
    "paused_at": -1,
    "shut": 0,
}
TYPE = {
    "lane": "",
    "concurrency": 0,
    "rate_count": 0,
    "groups_running": 0,
    "groups_waiting": 0,
    "group_concurrency": 0,
    "group_rate_count": 0,
    "group_rate_period_ms": 0,
    "group_burst": 0,
    "rate_period_ms": 0,
    "burst": 0,
    "running": 0,
    "waiting": 0,
    "free_at": -1,
    "fails": 0,
    "until": -1,
    "since": -1,
    "reason": "",
}
CONFIG = {
    "blob": b"",
    "digest": "",
    "version": 1,
    "paused_at": -1,
    "pause_until": -1,
    "pause_reason": "",
    "pause_by": "",
}


def flat(pairs: dict[str, Any]) -> list[Any]:
    """Write pairs as a reply has them."""
    written: list[Any] = []
    for name, value in pairs.items():
        written += [name.encode(), value.encode() if isinstance(value, str) else value]
    return written


class ScriptedCalls:
    """Answers each function by a script.

    Attributes:
        at_once: Whether replies are there when a call returns; else `answer` brings them.
        scripts: What a function's reply has behind the time, by its arguments.
        asked: All calls.
    """

    def __init__(self, *, at_once: bool = True) -> None:
        self.at_once = at_once
        self.server_id = "scripted"
        self.figures = CallFigures()
        self.now_ms = NOW_MS
        self.scripts: dict[str, Callable[[Sequence[Any]], list[Any]]] = {}
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.out: StoreUnavailable | None = None
        self._waiting: list[tuple[asyncio.Future[list[Any]], str, Sequence[Any]]] = []

    async def open(self) -> None:
        """It is open when it is made."""

    def call(
        self, function: str, args: Sequence[Argument], *, durable: bool = False, patience_s: float | None = None
    ) -> asyncio.Future[Reply]:
        self.asked.append((function, tuple(args)))
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((future, function, args))
        if self.at_once:
            self.answer()
        return future

    def answer(self) -> None:
        """Bring all replies that are due."""
        waiting, self._waiting = self._waiting, []
        for future, function, args in waiting:
            if self.out is not None:
                future.set_exception(self.out)
                continue
            future.set_result([self.now_ms, *self.scripts[function](args)])

    def refusal(self) -> StoreUnavailable | None:
        return self.out

    def state(self) -> tuple[str | None, float]:
        return None if self.out is None else str(self.out), 0.0

    def listen(self, watcher: Watcher, *channels: str) -> None:
        """Nothing happens to this connection."""

    async def close(self) -> None:
        """Nothing is open."""

    def count(self, function: str) -> int:
        """Return the number of calls of a function so far."""
        return sum(name == function for name, _ in self.asked)


class Numbers:
    """What a store counts, as its replies tell it."""

    def __init__(self, calls: ScriptedCalls) -> None:
        self.totals: dict[str, Any] = {"processes": 1, "joins": 1, "cfg": 1, "records": 0}
        self.totals |= {"live": 0, "terminal": 0, "bytes": 0}
        self.queues: dict[str, dict[str, Any]] = {}
        self.types: dict[str, dict[str, Any]] = {}
        self.config: dict[str, dict[str, Any]] = {}
        calls.scripts["counts"] = self._counts
        calls.scripts["config"] = self._config
        calls.scripts["servers"] = lambda _: [[], []]

    def _counts(self, _: Sequence[Any]) -> list[Any]:
        queues = [[name.encode(), *flat(QUEUE | pairs)] for name, pairs in self.queues.items()]
        types = [[name.encode(), *flat(TYPE | pairs)] for name, pairs in self.types.items()]
        return [flat(self.totals), queues, types, -1]

    def _config(self, _: Sequence[Any]) -> list[Any]:
        return [self.totals["cfg"], [[name.encode(), *flat(CONFIG | pairs)] for name, pairs in self.config.items()]]
