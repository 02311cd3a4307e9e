"""Watch: keeps what findings need beside a snapshot, and derives them.

Rules:

1. The recorder shows it each sample, about once a second; all findings are derived after it, in steps of bounded work
   with the loop going on in between. So since when they are there is known to a second, whether a request asks or not.
2. A request gets those that were derived within `FRESH_S`, or waits for a derivation of its own, which all requests of
   that time share.
3. What is kept is bounded by the numbers of queues, types and receivers of webhooks, of `window.POINTS`, and of the
   memory's keys.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.attempt_outcome import ATTEMPT_CANCELLED, ATTEMPT_OUTCOMES, ATTEMPT_SUCCEEDED
from jobqueue.errors import QueueFull, SpoolFull, StatusesFull, TypeQuarantined
from jobqueue.findings import thresholds as of
from jobqueue.findings.finding import Finding  # msgspec reads it from the annotations
from jobqueue.findings.memory import SinceMemory
from jobqueue.findings.rules import FINDINGS_MAX, derive, ordered
from jobqueue.findings.sight import ProcessCounts, SeenQueue, SeenType, Sight
from jobqueue.findings.window import Window
from jobqueue.runtime.pools.pool_counts import RESTART_REASONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobqueue.core.counting.counts import QueueCounts, TypeCounts
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.errors import Refused
    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.service import Service

FRESH_S = 1.0

REJECTIONS: Final[dict[type[Refused], str]] = {
    QueueFull: "queue-full",
    StatusesFull: "statuses-full",
    SpoolFull: "spool-full",
    TypeQuarantined: "type-quarantined",
}
"""Why a queue rejects submissions, for the server's own reasons; `Draining` has a finding of its own."""

_GOOD = frozenset({ATTEMPT_OUTCOMES[ATTEMPT_SUCCEEDED], ATTEMPT_OUTCOMES[ATTEMPT_CANCELLED]})


class Derived(msgspec.Struct, frozen=True):
    """What was wrong at an instant of the engine's clock; `more`: findings beyond `FINDINGS_MAX`."""

    at: float
    findings: tuple[Finding, ...]
    more: int


class _SeenQueue:
    """What is remembered of a queue."""

    __slots__ = ("refused", "refused_totals", "started_at", "started_total")

    def __init__(self, at: float) -> None:
        self.started_at, self.started_total = at, 0
        self.refused, self.refused_totals = Window(of.REJECTIONS_WINDOW_S), (0,) * len(REJECTIONS)


class _SeenType:
    """What is remembered of a type: its attempts that ended while it was watched, and those that failed."""

    __slots__ = ("totals", "window")

    def __init__(self, at: float) -> None:
        self.totals = (0, 0)
        self.window = Window(of.FAILURE_WINDOW_S)
        self.window.put(at, self.totals)


class Watch:
    """The watch over one service; an observer of its recorder.

    Args:
        process: Counts of the server process; None: there is none of ours.
        problems: Answers by the kind of problem since the start.
        long_polls: The number of requests that wait.
    """

    def __init__(
        self,
        service: Service,
        *,
        process: Callable[[], ProcessCounts | None],
        problems: Callable[[], Mapping[str, int]],
        long_polls: Callable[[], int],
    ) -> None:
        self._service = service
        self._process, self._problems, self._long_polls = process, problems, long_polls
        self._handle: asyncio.Handle | None = None
        self._waiting: list[asyncio.Future[None]] = []
        self.begin()

    # -- what the recorder shows

    def begin(self) -> None:
        """Forget what was seen: another run begins."""
        self.stop()
        self.latest = Derived(float("-inf"), (), 0)
        self._queues: dict[str, _SeenQueue] = {}
        self._types: dict[str, _SeenType] = {}
        self._windows: dict[str, Window] = {}
        self._receivers: dict[str, Window] = {}
        self._since = SinceMemory()
        self._found: list[Finding] = []

    def see_queue(self, counts: QueueCounts, before: QueueCounts | None, at: float) -> None:
        """See a queue that did something, or has live jobs."""
        seen = self._queues.get(counts.name) or self._queues.setdefault(counts.name, _SeenQueue(at))
        started_total = sum(each.started_total for each in counts.types.values())
        if started_total != seen.started_total:
            seen.started_at, seen.started_total = at, started_total
        seen.refused_totals = tuple(counts.refused.get(kind, 0) for kind in REJECTIONS)
        seen.refused.put(at, seen.refused_totals)
        for name, now in counts.types.items():
            attempts, failed = _ended_since(now, None if before is None else before.types.get(name))
            if attempts:
                of_type = self._types.get(name) or self._types.setdefault(name, _SeenType(at))
                of_type.totals = of_type.totals[0] + attempts, of_type.totals[1] + failed
                of_type.window.put(at, of_type.totals)

    def see(self, stats: tuple[StoreStats, Sequence[QueueStats]], at: float) -> None:
        """See the end of a sample, and derive findings soon."""
        if self._handle is None:
            self._derive_soon(stats, at)

    # -- the derivation

    async def current(self) -> Derived:
        """Return what is wrong now, as of `FRESH_S` ago at most."""
        if self._service.running and self._service.backend.now() - self.latest.at > FRESH_S:
            if self._handle is None:
                self._derive_soon(None, self._service.backend.now())
            done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(done)
            await done
        return self.latest

    def stop(self) -> None:
        """End a derivation under way; requests get the one before."""
        if self._handle is not None:
            self._handle.cancel()
        self._tell()

    def _derive_soon(self, stats: tuple[StoreStats, Sequence[QueueStats]] | None, at: float) -> None:
        self._found = []
        self._go_on(self._steps(stats, at), at)

    def _steps(self, stats: tuple[StoreStats, Sequence[QueueStats]] | None, at: float) -> Iterator[list[Finding]]:
        yield []
        yield from derive(self._sight(stats, at))

    def _go_on(self, steps: Iterator[list[Finding]], at: float) -> None:
        if self._service.running and (found := next(steps, None)) is not None:
            self._found += self._since.dated(found, at)
            self._handle = asyncio.get_running_loop().call_soon(self._go_on, steps, at)
            return
        self._since.forget(at)
        findings = ordered(self._found)
        self.latest = Derived(at, tuple(findings[:FINDINGS_MAX]), max(0, len(findings) - FINDINGS_MAX))
        self._tell()

    def _tell(self) -> None:
        self._handle = None
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            if not done.done():
                done.set_result(None)

    # -- what rules see

    def _sight(self, stats: tuple[StoreStats, Sequence[QueueStats]] | None, at: float) -> Sight:
        snapshot, process = self._service.snapshot(stats), self._process()
        problems = dict(self._problems())
        grown = self._grown("problems", of.REJECTIONS_WINDOW_S, at, *problems.values())
        counts = ProcessCounts() if process is None else process
        restarts = snapshot.processes.restarts
        commits = () if snapshot.journal is None else snapshot.journal.commit_counts
        calls: tuple[int, ...] = ()
        reconnects = 0
        if snapshot.shared_store is not None:
            calls, reconnects = snapshot.shared_store.call_counts, snapshot.shared_store.reconnects_total
        return Sight(
            now=at,
            snapshot=snapshot,
            queues=[self._seen_queue(queue, at) for queue in snapshot.queues],
            types=[SeenType(name, *seen.window.grown(at, seen.totals)) for name, seen in self._types.items()],
            process=process,
            late_counts=self._grown("late", of.LOOP_LAG_WINDOW_S, at, *counts.late_counts),
            commit_counts=self._grown("commits", of.COMMITS_WINDOW_S, at, *commits),
            call_counts=self._grown("calls", of.CALLS_WINDOW_S, at, *calls),
            reconnects=self._one("reconnects", of.RECONNECTS_WINDOW_S, at, reconnects),
            evicted_early=self._one("evicted", of.EVICTED_WINDOW_S, at, snapshot.store.evicted_early_total),
            spool_errors=self._one("spool", of.SPOOL_ERRORS_WINDOW_S, at, snapshot.spool.errors_total),
            blocked=self._one("blocked", of.LOOP_BLOCKED_WINDOW_S, at, counts.blocked_total),
            log_dropped=self._one("log", of.LOG_DROPPED_WINDOW_S, at, counts.log_dropped),
            restarts={
                reason: self._one(f"restarts {reason}", of.RESTARTS_WINDOW_S, at, restarts.get(reason, 0))
                for reason in RESTART_REASONS
            },
            problems=dict(zip(problems, grown, strict=True)),
            internal_errors=self._one("internal", of.ERRORS_WINDOW_S, at, problems.get("internal", 0)),
            long_polls=self._long_polls(),
            webhooks_dropped=self._dropped(snapshot.webhooks, at),
        )

    def _seen_queue(self, stats: QueueStats, at: float) -> SeenQueue:
        seen = self._queues.get(stats.name) or self._queues.setdefault(stats.name, _SeenQueue(at))
        refused = dict(zip(REJECTIONS.values(), seen.refused.grown(at, seen.refused_totals), strict=True))
        elsewhere = seen.started_at if stats.started_at is None else stats.started_at
        return SeenQueue(stats=stats, started_at=max(seen.started_at, elsewhere), refused=refused)

    def _dropped(self, receivers: Sequence[TargetFigures], at: float) -> dict[str, int]:
        """Return the events of each receiver that were dropped within its window; one that comes back begins anew."""
        before, self._receivers = self._receivers, {}
        dropped = {}
        for each in receivers:
            totals = (each.dropped_total,)
            window = before.get(each.name)
            if window is None or window.grown(at, totals) < (0,):  # it left and came back since the last look
                window = Window(of.WEBHOOK_DROPPED_WINDOW_S)
            window.put(at, totals)
            self._receivers[each.name] = window
            (dropped[each.name],) = window.grown(at, totals)
        return dropped

    def _one(self, name: str, span_s: float, at: float, total: int) -> int:
        return self._grown(name, span_s, at, total)[0]

    def _grown(self, name: str, span_s: float, at: float, *totals: int) -> tuple[int, ...]:
        window = self._windows.get(name)
        if window is None or not window.has(totals):
            window = self._windows[name] = Window(span_s)
        window.put(at, totals)
        return window.grown(at, totals)


def _ended_since(now: TypeCounts, before: TypeCounts | None) -> tuple[int, int]:
    """Return the attempts that ended since an earlier count, and those of them that failed."""
    if before is not None and now.started_total - now.running == before.started_total - before.running:
        return 0, 0
    attempts, failed = _ended(now)
    if before is None:
        return attempts, failed
    earlier = _ended(before)
    return attempts - earlier[0], failed - earlier[1]


def _ended(counts: TypeCounts) -> tuple[int, int]:
    ended = {outcome: durations.count for outcome, durations in counts.runs.items()}
    return sum(ended.values()), sum(count for outcome, count in ended.items() if outcome not in _GOOD)
