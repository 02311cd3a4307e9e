"""Scripts of the load generator's connections: one request again and again, or a job's whole life.

No sockets, clocks or rates: an answer goes in, and the next request, a pause before it, or nothing comes out. A unit
of work begins with `first` and is over when `next` returns None.
"""

from __future__ import annotations

from itertools import cycle
from typing import Literal, Protocol

import msgspec

from bench.load.answer import body_of, header

ID = b"{id}"
ETAG = b"{etag}"
PAUSE_S_MIN, PAUSE_S_MAX = 0.001, 0.064
"""Pause of a client before it reads a live job again; doubled each time."""

LIVE_STATES = (b'"state":"queued"', b'"state":"running"', b'"state":"delayed"')


class Later(msgspec.Struct, frozen=True):
    """A request that is to be sent after a pause."""

    after_s: float
    request: bytes


class Script(Protocol):
    """One connection's part. `size` is how many requests, or jobs, a unit is."""

    size: int

    def first(self) -> bytes: ...

    def next(self, status: bytes, answer: bytes) -> bytes | Later | None: ...


class Cycle(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One request again and again; where it has an `{id}`, with one of the ids after the other."""

    request: bytes
    ids: tuple[str, ...] = ()

    def parts(self, count: int) -> list[Script]:
        """Return a part for each connection; all draw from the same row of ids."""
        before, _, after = self.request.partition(ID)
        requests = [before + job_id.encode() + after for job_id in self.ids] or [self.request]
        part: Script = _Once(requests)
        return [part] * count


class Life(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Submit a job, and read its status until it is terminal.

    Attributes:
        look: The request that reads the status, with an `{id}`.
        via: The sign of a job's end: the status code of a read; or the answer itself, where the submission or the
            read waits or is an event stream.
    """

    submit: bytes
    look: bytes = b""
    via: Literal["status", "answer", "submission"] = "status"

    def parts(self, count: int) -> list[Script]:
        return [_Life(self) for _ in range(count)]


class Batch(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Submit many jobs in one request, and read all of them in one, until all are terminal."""

    submit: bytes
    look: bytes
    size: int

    def parts(self, count: int) -> list[Script]:
        return [_Batch(self) for _ in range(count)]


class Visit(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A client that submits a job, reads its status from time to time until it is terminal, then submits another.

    Each exchange is a unit, so a rate is the number of reads; clients take turns. Every fourth read is conditional.

    Attributes:
        look: With an `{id}`.
        changed: With an `{id}` and an `{etag}`.
    """

    submit: bytes
    look: bytes
    changed: bytes

    def parts(self, count: int) -> list[Script]:
        return [_Visitor(self) for _ in range(count)]


class _Once:
    size = 1

    def __init__(self, requests: list[bytes]) -> None:
        self.first = cycle(requests).__next__

    def next(self, status: bytes, answer: bytes) -> None:
        return None


class _Life:
    size = 1

    def __init__(self, life: Life) -> None:
        self._life = life
        self._before, _, self._after = life.look.partition(ID)
        self._look: bytes | None = None
        self._pause_s = PAUSE_S_MIN

    def first(self) -> bytes:
        self._look = None
        self._pause_s = PAUSE_S_MIN
        return self._life.submit

    def next(self, status: bytes, answer: bytes) -> bytes | Later | None:
        if self._look is None:
            if self._life.via == "submission" or status not in (b"202", b"200"):
                return None  # terminal, or rejected: the answers are counted by status code
            self._look = self._before + id_in(answer) + self._after
            return self._look
        if self._life.via == "answer" or status != b"202":
            return None
        return self._again(self._look)

    def _again(self, request: bytes) -> Later:
        pause_s, self._pause_s = self._pause_s, min(PAUSE_S_MAX, self._pause_s * 2)
        return Later(pause_s, request)


class _Batch:
    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._before, _, self._after = batch.look.partition(ID)
        self._look: bytes | None = None
        self._pause_s = PAUSE_S_MIN
        self.size = batch.size

    def first(self) -> bytes:
        self._look = None
        self._pause_s = PAUSE_S_MIN
        return self._batch.submit

    def next(self, status: bytes, answer: bytes) -> bytes | Later | None:
        if self._look is None:
            ids = ids_in(body_of(answer))
            if len(ids) < self._batch.size:
                return None
            self._look = self._before + ",".join(ids).encode() + self._after
            return self._look
        if not any(state in answer for state in LIVE_STATES):
            return None
        pause_s, self._pause_s = self._pause_s, min(PAUSE_S_MAX, self._pause_s * 2)
        return Later(pause_s, self._look)


class _Visitor:
    size = 1

    def __init__(self, visit: Visit) -> None:
        self._visit = visit
        self._id: bytes | None = None
        self._seen = b""  # the last answer that had an ETag
        self._looks = 0

    def first(self) -> bytes:
        if self._id is None:
            return self._visit.submit
        self._looks += 1
        if self._looks % 4:
            return self._visit.look.replace(ID, self._id)
        return self._visit.changed.replace(ID, self._id).replace(ETAG, header(self._seen, b"etag") or b"")

    def next(self, status: bytes, answer: bytes) -> None:
        if status == b"202":
            if self._id is None:
                self._id = id_in(answer)
            self._seen = answer
        elif status != b"304":
            self._id = None  # it is over, or was rejected, or is gone


class _Verdict(msgspec.Struct):
    id: str = ""


class _Verdicts(msgspec.Struct):
    jobs: list[_Verdict]


_VERDICTS = msgspec.json.Decoder(_Verdicts)


def id_in(answer: bytes) -> bytes:
    """Return the id that the Location of an answer ends in. Raises ValueError if it has none."""
    location = header(answer, b"location")
    if location is None:
        raise ValueError(f"a submission was answered without a Location: {answer[:300]!r}")
    return location.rpartition(b"/")[2]


def ids_in(body: bytes) -> list[str]:
    """Return the ids of the jobs of a batch that were accepted."""
    return [verdict.id for verdict in _VERDICTS.decode(body).jobs if verdict.id]
