"""The records of the journal: their kinds, their fields, and how they are read.

Rules:

1. A body is one msgpack array of records. A record is an array: its kind, then its fields in the order of `FIELDS`.
   Fields at the end that are null may be missing.
2. Records are absolute, and name their job by its id and the version that it had by then. One that is older than the
   job is passed over, so records that are read twice, or after a later snapshot, change nothing.
3. Submissions stand in the order of their ids. So one with an id below those already read is of a job that is known,
   or gone.
4. Instants are milliseconds of the wall clock, durations are seconds.
5. A unique value belongs to the last job that was submitted or retried with it, if that one is live. Which one was the
   last is told by their ids, and for a retry by the `position` of that time, which sorts between ids.
6. A spec that jobs share is numbered, from its `spec` record on until the next `begin`; any other stands in the record
   of its job.
7. The progress of attempts is not recorded, nor is a delayed job that becomes queued in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BEGIN: Final = 0
SPEC: Final = 1
SUBMIT: Final = 2
START: Final = 3
BACK_OFF: Final = 4
SUCCESS: Final = 5
END: Final = 6
STOP: Final = 7
REQUEUE: Final = 8
RETRY: Final = 9
RUN_NOW: Final = 10
DEBOUNCE: Final = 11
SHARE: Final = 12
GONE: Final = 13
POLICY: Final = 14
PAUSE: Final = 15
CLEAN: Final = 16
JOB: Final = 17
WHOLE: Final = 18
PROCESS: Final = 19
TOGETHER: Final = 20
SCHEDULE: Final = 21
SCHEDULE_STATE: Final = 22
PARENTS_ENDED: Final = 23
FLOW: Final = 24
RAN: Final = 25

FIELDS: Final[tuple[tuple[str, ...], ...]] = (
    ("begin", "at", "position", "has_owners", "starts"),
    ("spec", "number", "spec"),
    ("submit", "id", "spec", "args", "created_at", "identity", "run_at", "start_by_at", "upload", "lineage"),
    ("start", "id", "version", "attempt", "at", "attempts_before"),
    ("back_off", "id", "version", "run_at", "failed"),
    ("success", "id", "version", "at", "result", "file"),
    ("end", "id", "version", "state", "at", "error", "failed"),
    ("stop", "id", "version", "reason"),
    ("requeue", "id", "version", "attempts_before", "failed"),
    ("retry", "id", "version", "attempts_before", "at", "value", "position"),
    ("run_now", "id", "version", "at"),
    ("debounce", "id", "version", "args", "spec", "run_at", "start_by_at"),
    ("share", "id", "caller", "key", "fingerprint"),
    ("gone", "ids"),
    ("policy", "queue", "policy", "configured"),
    ("pause", "queue", "pause"),
    ("clean", "at"),
    (
        *("job", "id", "version", "state", "spec", "args", "created_at", "run_at", "attempt", "start_by_at"),
        *("started_at", "finished_at", "result", "file", "upload", "identity", "attempts_before", "stopping", "error"),
        *("history", "recovered", "position", "shared", "lineage"),
    ),
    ("whole", "position", "jobs"),
    ("process", "at"),
    ("together", "records"),
    ("schedule", "owner", "name", "caller", "given"),
    ("schedule_state", "owner", "name", "reached_at", "pause"),
    ("parents_ended", "id", "version", "state", "run_at", "start_by_at"),
    ("flow", "id", "created_at", "caller", "owner", "evicted", "versions"),
    ("ran", "id", "version", "attempt", "started_at", "at", "result", "file"),
)
"""By kind: its name, and those of its fields.

`begin`: a segment or a snapshot begins, and the numbers of specs with it; all ids that sort below `position` have been
issued; `starts`: when processes began since the last clean stop, the latest of them. `retry` has the value and the
position for jobs with a unique value. `job`: a whole job; its position is that of the time of writing, if it had its
unique value then. `whole`: the end of a snapshot, with the number of its jobs. `process`: a process began. `clean`: it
stopped; nothing follows. `together`: the records of jobs that were accepted at once, as one, so that no frame ends
between them. `schedule`: what a caller has put, as JSON; null: nothing is kept of the schedule any more.
`schedule_state`: the last instant that a schedule is done with, and its pause, in the form of that of a queue.
`flow`: a flow, absolute; `evicted` has the number of its jobs without a record by the state in which they
ended. `ran`: `start` and `success` in one, of an attempt during which nothing else was recorded.
"""

SPEC_FIELDS: Final = (
    *("type", "queue", "priority", "group", "delay_s", "run_at", "start_by_s", "timeout_s", "own_timeout", "own"),
    *("attempts_max", "ttl_s", "traceparent", "callback", "schedule", "due_at"),
)
LINEAGE_FIELDS: Final = ("parents", "on_failure", "flow", "name")
IDENTITY_FIELDS: Final = ("caller", "owner", "value", "mode", "key", "fingerprint")

_decode: Final[Callable[[bytes], Any]] = msgspec.msgpack.Decoder().decode
_encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode

_FIXARRAY_MAX: Final = 15
_ARRAY16_MAX: Final = 2**16 - 1

Record = Sequence[object]
"""A record that is yet to be encoded."""


class Body(NamedTuple):
    """Encoded records. Attributes: records: Their number. data: The array of them."""

    records: int
    data: bytes


class BadRecord(ValueError):
    """A body that is none, though it is undamaged: another program wrote it."""


def decode(body: bytes) -> list[list[Any]]:
    """Return the records of a body, which are yet to be checked. Raises BadRecord."""
    try:
        records = _decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadRecord(f"not msgpack: {error}") from None
    if type(records) is not list:
        raise BadRecord("not an array of records")
    return records


def body_of(records: Sequence[Record]) -> Body:
    """Encode records."""
    return Body(len(records), _encode(records))


def parted(records: Sequence[Record], size_bytes: int) -> list[Body]:
    """Encode records as several bodies, each of which ends with the record that makes it this great."""
    return joined([body_of([record]) for record in records], size_bytes)


def joined(bodies: Sequence[Body], size_bytes: int) -> list[Body]:
    """Join bodies that follow one another to fewer, each of which ends with the body that makes it this great."""
    joined, parts, size, count = list[Body](), list[memoryview](), 0, 0
    for number, body in enumerate(bodies, 1):
        part = memoryview(body.data)[len(_array_head(body.records)) :]
        parts.append(part)
        size, count = size + len(part), count + body.records
        if size >= size_bytes or number == len(bodies):
            joined.append(Body(count, b"".join((_array_head(count), *parts))))
            parts, size, count = [], 0, 0
    return joined


def _array_head(count: int) -> bytes:
    if count <= _FIXARRAY_MAX:
        return bytes((0x90 | count,))
    if count <= _ARRAY16_MAX:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def single(records: Iterable[Any]) -> Iterator[Any]:
    """Yield the records of a body one by one, with those of each `together` in its place."""
    for record in records:
        if type(record) is list and len(record) > 1 and record[0] == TOGETHER and type(record[1]) is list:
            yield from record[1]
        else:
            yield record


def name_of(record: object) -> str:
    """Return the name of a record's kind. Raises BadRecord."""
    kind = record[0] if type(record) is list and record else None
    if type(kind) is not int or not 0 <= kind < len(FIELDS):
        raise BadRecord(f"there is no kind of record {kind!r}")
    return FIELDS[kind][0]


def describe(record: list[Any]) -> dict[str, Any]:
    """Return a record with the names of its kind and fields, for readers. Raises BadRecord."""
    described: dict[str, Any] = {"kind": name_of(record)}
    described |= zip(FIELDS[record[0]][1:], record[1:], strict=False)
    for field, names in (("spec", SPEC_FIELDS), ("identity", IDENTITY_FIELDS), ("lineage", LINEAGE_FIELDS)):
        if type(described.get(field)) is list:
            described[field] = dict(zip(names, described[field], strict=False))
    return described
