"""The tally: what a load sent, and how it was answered. Each program of a load prints one; several add up to one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Self

import msgspec

from bench.load.answer import header

if TYPE_CHECKING:
    from collections.abc import Iterable

LISTED_MAX = 20
REFUSALS = ("429", "503")


class Tally(msgspec.Struct, kw_only=True):
    """The figures of one load.

    Attributes:
        requests: Requests sent, or begun.
        answers: By status code.
        bare_refusals: Answers of 429 and 503 without Retry-After.
        errors: Answers of 500, and what they said; the first ones.
        accepted: Submissions answered with 202.
        unknown: Submissions without an answer: accepted or not.
        broken: Connections that could not be made, or ended without an answer.
        ended: Accepted jobs seen to end, by state.
        gone: Accepted jobs whose record was evicted before it was read.
        lost: Accepted jobs that were not seen to end, and honest requests that were answered wrongly; `lost_count` of
            them, the first ones listed.
        waits_ms: Of each small job the time from its submission to its seen end.
        notes: Other figures of the load, for the report.
    """

    requests: int = 0
    answers: dict[str, int] = {}
    bare_refusals: int = 0
    errors: list[str] = []
    accepted: int = 0
    unknown: int = 0
    broken: int = 0
    ended: dict[str, int] = {}
    gone: int = 0
    lost: list[str] = []
    lost_count: int = 0
    waits_ms: list[float] = []
    notes: dict[str, float] = {}

    @property
    def refused(self) -> int:
        return sum(self.answers.get(code, 0) for code in REFUSALS)

    def note_answer(self, status: bytes | str | int, answer: bytes) -> None:
        """Count an answer: its status code, and its head (or all of it) as it came."""
        code = status.decode() if isinstance(status, bytes) else str(status)
        self.answers[code] = self.answers.get(code, 0) + 1
        if code in REFUSALS and header(answer, b"Retry-After") is None:
            self.bare_refusals += 1
        if code == "500" and len(self.errors) < LISTED_MAX:
            self.errors.append(answer[-300:].decode(errors="replace"))

    def note_end(self, state: str) -> None:
        self.ended[state] = self.ended.get(state, 0) + 1

    def note_lost(self, what: str) -> None:
        self.lost_count += 1
        if len(self.lost) < LISTED_MAX:
            self.lost.append(what)

    def add(self, other: Tally) -> Self:
        """Add another load's figures."""
        for name in ("requests", "bare_refusals", "accepted", "unknown", "broken", "gone", "lost_count"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("answers", "ended", "notes"):
            mine = getattr(self, name)
            for key, number in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + number
        self.errors = [*self.errors, *other.errors][:LISTED_MAX]
        self.lost = [*self.lost, *other.lost][:LISTED_MAX]
        self.waits_ms = [*self.waits_ms, *other.waits_ms]
        return self

    def print(self) -> None:
        """Print it as the one line on stdout."""
        sys.stdout.buffer.write(msgspec.json.encode(self) + b"\n")
        sys.stdout.buffer.flush()


def total(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    whole = Tally()
    for tally in tallies:
        whole.add(tally)
    return whole


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the least value that this share of the values doesn't exceed; None if there is none."""
    found = sorted(values)
    if not found:
        return None
    return found[min(len(found) - 1, int(len(found) * share))]
