"""Job templates: documents of plain jobs, put together from parts that are the same for many jobs.

`job_document.JobDocument` defines the document; a template gives the same bytes in less than half the time.

Rules:

1. A job is plain if it has no extras, and its spec names no instant of the first attempt.
2. The parts of a spec are written once, and kept while it is among the SPECS_MAX latest: jobs with the options of their
   handler share one spec. The table is cleared when full: filling it with junk costs one submission per entry.
3. Instants are written once, too (`json_timestamp`).
"""

from __future__ import annotations

from math import ceil, floor
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.http.response.timestamps import json_timestamp

if TYPE_CHECKING:
    from jobqueue.core.job import JobSpec
    from jobqueue.core.job_view import AnyJob
    from jobqueue.core.scheduling.eta import Estimate

SPECS_MAX: Final = 1024

_LIVE: Final = (
    b'{"id":"%b%b%b%b%d%b%b,"run_at":%b,"started_at":%b,"finished_at":null,"progress":null,"position":%b,"eta_s":%b,'
    b'"poll_after_ms":%d,"waiting_for":null,"result":null,"error":null,"history":null}'
)
_TERMINAL: Final = (
    b'{"id":"%b%b%b%b%d%b%b,"run_at":%b,"started_at":%b,"finished_at":%b,"progress":null,"position":null,"eta_s":null,'
    b'"poll_after_ms":null,"waiting_for":null,"result":%b,"error":null,"history":null}'
)
_BETWEEN: Final = b'","attempt":'
_encode: Final = msgspec.json.Encoder().encode

# By identity, since hashing a spec takes longer than writing it; each is kept, so that no other gets its id.
_parts: Final[dict[int, tuple[JobSpec, bytes, bytes]]] = {}


def is_plain(job: AnyJob) -> bool:
    """Return whether a template can write the job's document."""
    return job.extras is None and job.spec.run_at is None


def live_document(job: AnyJob, wall: float, estimate: Estimate) -> bytes:
    """Return the document of a plain live job that waits for nothing but the jobs before it.

    Args:
        wall: Offset from the engine's clock to Unix seconds.
    """
    spec, created, started = job.spec, job.created_at, job.started_at
    _, before, after = _parts.get(id(spec)) or _parts_of(spec)
    created_at = json_timestamp(wall + created)
    position, eta_s = estimate.position, estimate.eta_s
    return _LIVE % (
        job.id.encode(),
        before,
        job.state.encode(),
        _BETWEEN,
        job.attempt,
        after,
        created_at,
        created_at if job.run_at == created else json_timestamp(wall + job.run_at),
        b"null" if started is None else json_timestamp(wall + started),
        b"null" if position is None else b"%d" % position,
        b"null" if eta_s is None else _encode(floor(eta_s * 1000) / 1000),
        ceil(estimate.poll_after_s * 1000),
    )


def terminal_document(job: AnyJob, wall: float) -> bytes:
    """Return the document of a plain terminal job. `wall` as for `live_document`."""
    spec, created, started, finished, result = job.spec, job.created_at, job.started_at, job.finished_at, job.result
    assert finished is not None
    _, before, after = _parts.get(id(spec)) or _parts_of(spec)
    created_at = json_timestamp(wall + created)
    return _TERMINAL % (
        job.id.encode(),
        before,
        job.state.encode(),
        _BETWEEN,
        job.attempt,
        after,
        created_at,
        created_at if job.run_at == created else json_timestamp(wall + job.run_at),
        b"null" if started is None else json_timestamp(wall + started),
        json_timestamp(wall + finished),
        b"null" if result is None else result,
    )


def _parts_of(spec: JobSpec) -> tuple[JobSpec, bytes, bytes]:
    """Write the parts of a spec: those before the state and after the attempt."""
    if len(_parts) >= SPECS_MAX:
        _parts.clear()
    before = b'","type":%b,"queue":%b,"state":"' % (_encode(spec.type), _encode(spec.queue))
    after = b',"attempts_max":%d,"priority":%d,"group":%b,"created_at":' % (
        spec.attempts_max,
        spec.priority,
        _encode(spec.group),
    )
    _parts[id(spec)] = parts = (spec, before, after)
    return parts
