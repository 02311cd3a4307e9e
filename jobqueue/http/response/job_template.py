"""Job templates: documents of plain jobs, put together from parts that are the same for many jobs.

`job_document.JobDocument` defines the document; a template gives the same bytes in less than half the time.

Rules:

1. A job is plain if its document shows no extras, no other job lacks its spec, and that names no instant of the first
   attempt.
2. The parts of a spec are written once, and kept while it is among the SPECS_MAX latest: jobs with the options of their
   handler share one spec. The table is cleared when full: filling it with junk costs one submission per entry.
3. Instants are written once, too (`json_timestamp`), and so are estimates, which are whole milliseconds.
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final, final

import msgspec
from mypy_extensions import mypyc_attr

from jobqueue import caches
from jobqueue.core.record import Record
from jobqueue.http.response.timestamps import json_timestamp

if TYPE_CHECKING:
    from jobqueue.core.job import JobSpec, JobState
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.scheduling.eta import Estimate

SPECS_MAX: Final = 1024
ESTIMATES_MAX: Final = 8192

_encode: Final = msgspec.json.Encoder().encode


@final
@mypyc_attr(acyclic=True)
class _Parts(Record):
    """The parts of a spec in the documents of its jobs.

    Attributes:
        spec: Kept, so that no other gets its id.
        before: The part before the state.
        after: The part after the attempt.
        between: The parts from the id to the first instant, by state, with the attempt that each was last written for.
    """

    spec: JobSpec
    before: bytes
    after: bytes
    between: dict[JobState, tuple[int, bytes]]

    def __init__(self, spec: JobSpec, before: bytes, after: bytes, between: dict[JobState, tuple[int, bytes]]) -> None:
        self.spec = spec
        self.before = before
        self.after = after
        self.between = between


_parts: Final[dict[int, _Parts]] = caches.table()
"""By identity, since hashing a spec takes longer than writing it."""

_estimates: Final[dict[int, bytes]] = caches.table()


def is_plain(job: AnyJob) -> bool:
    """Return whether a template can write the job's document."""
    spec, extras = job.spec, job.extras
    if extras is not None:  # as for a key: they only count its bytes
        if spec.own or extras.attempts_before or extras.progress is not None or extras.error is not None:
            return False
        if extras.history:
            return False
    return spec.run_at is None


def live_document(job: AnyJob, wall: float, estimate: Estimate) -> bytes:
    """Return the document of a plain live job that waits for nothing but the jobs before it.

    Args:
        wall: Offset from the engine's clock to Unix seconds.
    """
    created, started, run_at = job.created_at, job.started_at, job.run_at
    created_at = json_timestamp(wall + created)
    position, eta_s = estimate.position, estimate.eta_s
    return b"".join(
        (
            b'{"id":"',
            job.id.encode(),
            _between(job.spec, job.state, job.attempt),
            created_at,
            b',"run_at":',
            created_at if run_at == created else json_timestamp(wall + run_at),
            b',"started_at":',
            b"null" if started is None else json_timestamp(wall + started),
            b',"finished_at":null,"progress":null,"position":',
            b"null" if position is None else str(position).encode(),
            b',"eta_s":',
            b"null" if eta_s is None else _seconds(floor(eta_s * 1000)),
            b',"poll_after_ms":',
            str(ceil(estimate.poll_after_s * 1000)).encode(),
            b',"waiting_for":null,"result":null,"error":null,"history":null}',
        )
    )


def terminal_document(job: AnyJob, wall: float) -> bytes:
    """Return the document of a plain terminal job. `wall` as for `live_document`."""
    created, started, finished, run_at = job.created_at, job.started_at, job.finished_at, job.run_at
    assert finished is not None
    created_at = json_timestamp(wall + created)
    # Most jobs are short: an instant that is that of the step before is not looked up again.
    started_at = created_at
    if started != created:
        started_at = b"null" if started is None else json_timestamp(wall + started)
    return b"".join(
        (
            b'{"id":"',
            job.id.encode(),
            _between(job.spec, job.state, job.attempt),
            created_at,
            b',"run_at":',
            created_at if run_at == created else json_timestamp(wall + run_at),
            b',"started_at":',
            started_at,
            b',"finished_at":',
            started_at if finished == started else json_timestamp(wall + finished),
            b',"progress":null,"position":null,"eta_s":null,"poll_after_ms":null,"waiting_for":null,"result":',
            job.result or b"null",
            b',"error":null,"history":null}',
        )
    )


def _between(spec: JobSpec, state: JobState, attempt: int) -> bytes:
    """Return the part of a document from the id to the first instant."""
    parts = _parts.get(id(spec))
    if parts is None:
        parts = _parts_of(spec)
    known = parts.between.get(state)
    if known is not None and known[0] == attempt:
        return known[1]
    between = b'%b%b","attempt":%d%b' % (parts.before, state.encode(), attempt, parts.after)
    parts.between[state] = (attempt, between)
    return between


def _parts_of(spec: JobSpec) -> _Parts:
    if len(_parts) >= SPECS_MAX:
        _parts.clear()
    before = b'","type":%b,"queue":%b,"state":"' % (_encode(spec.type), _encode(spec.queue))
    after = b',"attempts_max":%d,"priority":%d,"group":%b,"created_at":' % (
        spec.attempts_max,
        spec.priority,
        _encode(spec.group),
    )
    parts = _parts[id(spec)] = _Parts(spec, before, after, {})
    return parts


def _seconds(milliseconds: int) -> bytes:
    """Write whole milliseconds as seconds, in JSON."""
    text = _estimates.get(milliseconds)
    if text is None:
        if len(_estimates) >= ESTIMATES_MAX:
            _estimates.clear()
        text = _estimates[milliseconds] = _encode(milliseconds / 1000)
    return text
