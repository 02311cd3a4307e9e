"""What clients were told by servers that were killed, and the faults in what later servers tell.

Rules, for every acknowledged answer before a kill:

1. An accepted job is there, of its type, under its id; no id stands for two submissions.
2. A cancel that was answered 200 holds; a deleted record stays gone.
3. A terminal state that was seen a while before the kill is still the state.
4. A repeated Idempotency-Key gives the same job; at most one live job has a unique value.
5. In the end each job is terminal, in the lists of one state alone; what succeeded has its result, and ran.
6. No attempt of a job began twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "expired"})
LIVE = frozenset({"delayed", "queued", "running"})


class Accepted(NamedTuple):
    """A submission that was answered; `token` is empty while only another one with its unique value was."""

    token: str
    type: str
    unique: str | None


class Ledger:
    """All answers to the clients of a row of servers over one journal."""

    def __init__(self) -> None:
        self.accepted: dict[str, Accepted] = {}
        self.keys: dict[str, str] = {}
        self.bodies: dict[str, tuple[Accepted, dict[str, Any]]] = {}  # sent to the present server with a key
        self.cancelled: set[str] = set()
        self.deleted: set[str] = set()
        self.maybe_deleted: set[str] = set()
        self.seen: dict[str, tuple[str, float]] = {}
        self.faults: list[str] = []
        self.answers: Counter[int] = Counter()
        self.unanswered = 0

    def was_accepted(self, id_: str, submission: Accepted) -> None:
        """Note a submission that was accepted under this id."""
        known = self.accepted.get(id_)
        if known is None or not known.token:
            self.accepted[id_] = submission
        elif known.token != submission.token:
            self.faults.append(f"one id for two submissions: {id_}: {known.token} and {submission.token}")

    def was_there(self, id_: str, submission: Accepted) -> None:
        """Note a job that is there with the unique value of a submission, which made none."""
        self.accepted.setdefault(id_, submission._replace(token=""))

    def was_kept(self, key: str, id_: str) -> None:
        """Note the job of an Idempotency-Key; a deleted record has set its key free."""
        if self.keys.get(key) in self.deleted | self.maybe_deleted:
            self.keys[key] = id_
        elif self.keys.setdefault(key, id_) != id_:
            self.faults.append(f"key {key} gave {self.keys[key]}, then {id_}")

    def saw(self, id_: str, state: str, asked_at: float, at: float) -> None:
        """Note a state that was read; the first sight of a terminal one counts.

        Two reads that overlap may be answered in either order: a fault is an older state in a read that was asked
        for after the terminal one was there.
        """
        known = self.seen.get(id_)
        if known is None or known[0] not in TERMINAL:
            if known is None or known[0] != state:
                self.seen[id_] = (state, at)
        elif known[0] != state and asked_at > known[1]:
            after_s = asked_at - known[1]
            self.faults.append(f"{id_} was {known[0]}, then {state}, asked for {after_s:.6f} s later")

    def forget_latest(self, since: float) -> None:
        """Drop what was seen after this instant: a status may be told up to a commit before it is kept."""
        self.seen = {id_: sight for id_, sight in self.seen.items() if sight[1] < since}

    def check(self, documents: Mapping[str, dict[str, Any]]) -> None:
        """Compare with the documents, by id, of a server that was started since."""
        live: Counter[str] = Counter()
        for id_, document in documents.items():
            submission = self.accepted[id_]
            if "status" in document:  # there is no record
                if id_ not in self.deleted | self.maybe_deleted:
                    self.faults.append(f"lost: {id_} ({submission}): {document['status']}")
                continue
            self._check_one(id_, document)
            if submission.unique is not None and document["state"] in LIVE:
                live[submission.unique] += 1
        self.faults += [
            f"{count} live jobs have the unique value {value}" for value, count in live.items() if count > 1
        ]

    def _check_one(self, id_: str, document: dict[str, Any]) -> None:
        submission, state = self.accepted[id_], document["state"]
        if id_ in self.deleted:
            self.faults.append(f"deleted, and there again: {id_} {state}")
        if document["type"] != submission.type:
            self.faults.append(f"{id_} was {submission.type}, and is {document['type']}")
        if id_ in self.cancelled and state != "cancelled":
            self.faults.append(f"cancelled, and now {state}: {id_}")
        sight = self.seen.get(id_)
        if sight is not None and sight[0] in TERMINAL and sight[0] != state:
            self.faults.append(f"was {sight[0]}, and is {state}: {id_}")
        if state == "succeeded" and submission.token and document["result"] != submission.token:
            self.faults.append(f"result {document['result']!r}, not {submission.token!r}: {id_}")

    def check_end(self, documents: Mapping[str, dict[str, Any]], runs: Iterable[str]) -> None:
        """Compare the last documents with the attempts that began, one a line."""
        lines = Counter(runs)
        ran = {line.partition(" ")[0] for line in lines}
        self.faults += [f"began {count} times: {line}" for line, count in lines.items() if count > 1]
        for id_, document in documents.items():
            state = document.get("state")
            if state is not None and state not in TERMINAL:
                self.faults.append(f"not ended: {id_} {state}")
            if state == "succeeded" and id_ not in ran:
                self.faults.append(f"succeeded, and never began: {id_}")
