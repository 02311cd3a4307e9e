"""Counters: the observations of a fleet, as numbers that add up across its processes.

Pure counting: it opens nothing and knows no clock. Two sums always hold, once the
fleet has stopped (`Counters.check` says so):

1. created = accepted + given_up + unknown_fate + invalid
2. accepted = ended + the sum of `unseen`
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
from hdrh.histogram import HdrHistogram

LONGEST_S = 3600.0
DIGITS = 3
REASONS_MAX = 5


class Counts(msgspec.Struct, kw_only=True):
    """Plain numbers, small enough to be sent each second.

    Attributes:
        clients: Simulated clients that have begun.
        created: Jobs that a client has submitted, or tried to.
        accepted: Of these, the ones that the server answered with a 202.
        refused: Answers of 503 or 429 to a submission; the client comes back with the same job.
        given_up: Jobs that were rejected, or found no server, until the fleet stopped creating.
        unknown_fate: Jobs whose POST was sent, but not answered, or by a proxy (5xx); they may have been accepted.
        invalid: Jobs that the server rejected permanently (4xx).
        ended: Accepted jobs that were seen in a terminal state.
        errors: Requests that were not answered while the server was up, or answered outside the contract.
        unreadable_up: Reads of a status that failed, or were put off (503), while the server was up.
        unreadable_gone: Reads of a status that failed because the server had exited.
        unreachable: Submissions that failed because there was no server.
        gone: Statuses that the server said it had dropped (410) before the job was seen to end.
        good: Of the ended jobs, those that were seen to succeed while jobs were still created.
        unsent: Submissions of an open loop that were due, but found no free connection until its end; not in `created`.
        resumed: Event streams that ended before their job had, and were opened again.
        reopened: Idle connections that the server closed just as a poll was sent; it was sent again.
        answers: Requests that were answered, in any way.
    """

    clients: int = 0
    created: int = 0
    accepted: int = 0
    refused: int = 0
    given_up: int = 0
    unknown_fate: int = 0
    invalid: int = 0
    ended: int = 0
    good: int = 0
    unsent: int = 0
    resumed: int = 0
    errors: int = 0
    unreadable_up: int = 0
    unreadable_gone: int = 0
    unreachable: int = 0
    gone: int = 0
    reopened: int = 0
    answers: int = 0

    def add(self, other: Counts) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Counters:
    """Counts, and what needs more than a number: latencies, and counts by name.

    Attributes:
        ended_by_state: Terminal state to jobs.
        ended_by_error: Error code to jobs that ended, but not in success; `unread` where the server could not be asked.
        unseen: Last state seen of the accepted jobs that were not seen to end.
        shutdown: State of the jobs that the server ended because it stopped, as it was before.
        errors_by_kind: What went wrong, to how often.
        invalid_by_reason: Reason to submissions that were rejected.
        denial: The first answer that denied access, a 401 or 403: it ends the fleet. Empty: there was none.
    """

    def __init__(self) -> None:
        self.counts = Counts()
        self.ended_by_state: Counter[str] = Counter()
        self.ended_by_error: Counter[str] = Counter()
        self.unseen: Counter[str] = Counter()
        self.shutdown: Counter[str] = Counter()
        self.errors_by_kind: Counter[str] = Counter()
        self.invalid_by_reason: Counter[str] = Counter()
        self.denial = ""
        self._latencies: dict[str, HdrHistogram] = {}

    def time(self, name: str, seconds: float) -> None:
        """Record a latency under a name, such as `submit 202`."""
        histogram = self._latencies.get(name)
        if histogram is None:
            histogram = self._latencies[name] = _histogram()
        histogram.record_value(max(1, int(min(seconds, LONGEST_S) * 1e6)))

    def error(self, kind: str) -> None:
        self.counts.errors += 1
        self.errors_by_kind[kind] += 1

    def rejected_for(self, status: int, why: str) -> None:
        """Count a submission that was rejected; the first few reasons have counts of their own."""
        self.error(f"submission: {status}")
        reason = f"HTTP {status}: {why}" if why else f"HTTP {status}"
        if reason not in self.invalid_by_reason and len(self.invalid_by_reason) >= REASONS_MAX:
            reason = "for other reasons"
        self.invalid_by_reason[reason] += 1

    def denied(self, status: int, why: str) -> None:
        """Note that the server denies access."""
        self.denial = self.denial or (f"HTTP {status}: {why}" if why else f"HTTP {status}")

    def check(self) -> None:
        """Raise AssertionError, with the figures, unless the two sums hold."""
        counts = self.counts
        closed = counts.accepted + counts.given_up + counts.unknown_fate + counts.invalid
        assert counts.created == closed, f"{counts.created} jobs were created, but {closed} accounted for: {counts}"
        seen = counts.ended + sum(self.unseen.values())
        assert counts.accepted == seen, f"{counts.accepted} jobs were accepted, but {seen} accounted for: {counts}"

    def latency(self, *names: str) -> Latency | None:
        """Sum up the latencies of all these names, with those of `name code` for any code."""
        total = _histogram()
        for key, histogram in self._latencies.items():
            if key in names or key.rpartition(" ")[0] in names:
                total.add(histogram)
        if total.get_total_count() == 0:
            return None
        p50, p95, p99 = (total.get_value_at_percentile(p) / 1e3 for p in (50.0, 95.0, 99.0))
        return Latency(count=total.get_total_count(), p50=p50, p95=p95, p99=p99, max=total.get_max_value() / 1e3)

    def latency_names(self) -> list[str]:
        return sorted(self._latencies)

    def dump(self) -> dict[str, Any]:
        """Return everything, to be sent to another process."""
        return {
            "counts": msgspec.structs.asdict(self.counts),
            "counters": self._counters(),
            "denial": self.denial,
            "latencies": {name: histogram.encode() for name, histogram in self._latencies.items()},
        }

    def add(self, dump: dict[str, Any]) -> None:
        """Add what other counters have dumped."""
        self.counts.add(Counts(**dump["counts"]))
        self.denial = self.denial or dump["denial"]
        for counter, more in zip(self._counters(), dump["counters"], strict=True):
            counter.update(more)
        for name, encoded in dump["latencies"].items():
            self._latencies.setdefault(name, _histogram()).add(HdrHistogram.decode(encoded))

    def _counters(self) -> tuple[Counter[str], ...]:
        return (
            *(self.ended_by_state, self.ended_by_error, self.unseen, self.shutdown),
            *(self.errors_by_kind, self.invalid_by_reason),
        )


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A summary of one histogram, in milliseconds."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, int(LONGEST_S * 1e6), DIGITS)
