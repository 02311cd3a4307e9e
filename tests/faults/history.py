"""Histories of clients, checked as Jepsen's total-queue checks those of a queue.

What a client sent is compared with what it was told, and with the runs that the handlers witnessed outside the server:

1. Every accepted job ended, once, and its states never went backwards.
2. Nothing ran that was rejected, or never sent.
3. Nothing ran twice; what succeeded ran to its end.
4. A submission without an answer may have run, once.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

RANKS = {
    "waiting": 0,
    "delayed": 0,
    "queued": 1,
    "running": 2,
    "succeeded": 3,
    "failed": 3,
    "cancelled": 3,
    "expired": 3,
}
TERMINAL = ("succeeded", "failed", "cancelled", "expired")


class Counts(NamedTuple):
    """The counts of a history, and its faults."""

    sent: int
    accepted: int
    refused: int
    unknown: int
    ended: int
    succeeded: int
    faults: list[str]


class History:
    """The submissions of some clients, by their tokens, and the states that they saw."""

    def __init__(self) -> None:
        self._ids: dict[str, str | None] = {}
        self._refused: set[str] = set()
        self._states: dict[str, list[str]] = {}

    @property
    def unended(self) -> dict[str, str]:
        """Ids of the accepted jobs of which no terminal state was seen, by their tokens."""
        return {
            token: id_
            for token, id_ in self._ids.items()
            if id_ and not set(self._states.get(token, ())) & set(TERMINAL)
        }

    @property
    def accepted(self) -> dict[str, str]:
        """Ids of all accepted jobs, by their tokens."""
        return {token: id_ for token, id_ in self._ids.items() if id_}

    def sent(self, token: str) -> None:
        self._ids.setdefault(token, None)

    def was_accepted(self, token: str, id_: str) -> None:
        self._refused.discard(token)
        if self._ids.get(token) not in (None, id_):
            self._states.setdefault(token, []).append(f"another id: {id_}")
        self._ids[token] = id_

    def was_refused(self, token: str) -> None:
        self._refused.add(token)

    def saw(self, token: str, state: str) -> None:
        states = self._states.setdefault(token, [])
        if not states or states[-1] != state:
            states.append(state)

    def check(self, runs: Path, *, all_end: bool = True) -> Counts:
        """Compare with the witnessed runs.

        Args:
            all_end: Whether each accepted job must have been seen in a terminal state.
        """
        lines = Counter(runs.read_text().splitlines() if runs.exists() else ())
        begun = {line.partition(" ")[2]: count for line, count in lines.items() if line.startswith("begin ")}
        done = {line.partition(" ")[2]: count for line, count in lines.items() if line.startswith("end ")}
        refused = {token for token in self._refused if not self._ids[token]}
        accepted, ends = self.accepted, {token: states[-1] for token, states in self._states.items() if states}
        faults = [f"ran, and was never sent: {token}" for token in begun.keys() - self._ids.keys()]
        faults += [f"ran, and was rejected: {token}" for token in begun.keys() & refused]
        faults += [f"ran {count} times: {token}" for token, count in begun.items() if count > 1]
        faults += [
            f"succeeded, and did not run: {token}"
            for token, end in ends.items()
            if end == "succeeded" and not done.get(token)
        ]
        for token, states in self._states.items():
            ranks = [RANKS.get(state, -1) for state in states]
            if ranks != sorted(set(ranks)):
                faults.append(f"states went backwards: {token}: {states}")
        if all_end:
            faults += [f"lost: {token} {id_}" for token, id_ in self.unended.items()]
        ended = [token for token, end in ends.items() if end in TERMINAL]
        succeeded = sum(ends[token] == "succeeded" for token in ended)
        unknown = len(self._ids) - len(accepted) - len(refused)
        return Counts(len(self._ids), len(accepted), len(refused), unknown, len(ended), succeeded, faults)
