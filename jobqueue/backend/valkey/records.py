"""Records between this process and the store: specs, claims and progress as bytes; whole jobs in their layout.

Rules:

1. A spec and the claims of a submission are msgpack arrays. The functions of the store read their first elements
   (`SPEC_READ`, `CLAIMS_READ`); those behind are this module's own, and come back as they went.
2. What a handler has by its registration (limits, backoff, pool) is not stored: `spec_of` gives it to a spec that
   comes back, as to one of a journal.
3. Instants are the store's milliseconds there, and the loop's seconds here (`clock`); durations are milliseconds there.
4. Specs and claims that many jobs share are made, and read, once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from jobqueue.backend.valkey.layout import HEAD, KIND, REST
from jobqueue.core.job import (
    CANCELLED,
    DELAYED,
    EXPIRED,
    FAILED,
    QUEUED,
    RUNNING,
    SUCCEEDED,
    IdempotencyKey,
    Job,
    JobId,
    JobSpec,
    JobState,
    StopReason,
    Unique,
    Uniqueness,
)
from jobqueue.core.job_extras import Extras
from jobqueue.core.job_view import JobView
from jobqueue.core.report import ErrorCode, FailedAttempt, JobError, Progress
from jobqueue.core.stored_file import StoredFile, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.valkey.clock import StoreClock
    from jobqueue.core.quotas import Quotas

J = TypeVar("J", Job, JobView)

SPEC_READ: Final = 10
CLAIMS_READ: Final = 9
Told = bytes | list[Any]
"""A record as the store tells it: its text (`layout`), or a list of it, the position, arguments, result and history."""

SHARED_MAX: Final = 4096
"""Specs, or claims, that are kept at hand."""

STATES: Final[dict[bytes, JobState]] = {
    b"d": DELAYED,
    b"q": QUEUED,
    b"r": RUNNING,
    b"s": SUCCEEDED,
    b"f": FAILED,
    b"c": CANCELLED,
    b"x": EXPIRED,
}
LETTERS: Final = {state: letter for letter, state in STATES.items()}

_encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[bytes], Any]] = msgspec.msgpack.Decoder().decode


class Records:
    """Turns jobs into what the store holds, and back.

    Args:
        spec_of: Returns the spec that a stored one has in this process.
    """

    def __init__(self, clock: StoreClock, spec_of: Callable[[JobSpec], JobSpec]) -> None:
        self._clock = clock
        self._spec_of = spec_of
        self._specs: dict[bytes, JobSpec] = {}
        # By its address: hashing a spec would take longer than all else. The spec beside it keeps it there.
        self._spec_blobs: dict[int, tuple[JobSpec, bytes]] = {}
        self._claims: dict[bytes, Uniqueness] = {}
        # By the address of an identity that many submissions of a connection share, likewise.
        self._claims_blobs: dict[int, tuple[Uniqueness, Quotas, bytes]] = {}

    # -- what goes out

    def spec_blob(self, spec: JobSpec) -> bytes:
        """Return a spec as the store keeps it."""
        known = self._spec_blobs.get(id(spec))
        if known is not None:
            return known[1]
        run_at = None if spec.run_at is None else self._clock.ms(spec.run_at)
        blob = _encode(
            [
                *(spec.type, spec.pool or "", _limited(spec), spec.priority, _ms(spec.delay_s) or 0, run_at),
                *(_ms(spec.start_by_s), _ms(spec.ttl_s), spec.attempts_max, spec.group),
                *(spec.queue, spec.timeout_s, spec.own_timeout, spec.own, spec.traceparent),
                *(spec.scheduled or ()),
            ]
        )
        if run_at is None:
            _keep(self._specs, blob, spec)
            if not spec.own:
                if len(self._spec_blobs) >= SHARED_MAX:
                    self._spec_blobs.clear()
                self._spec_blobs[id(spec)] = (spec, blob)
        return blob

    def claims_blob(self, uniqueness: Uniqueness | None, upload: Upload | None, quotas: Quotas) -> bytes:
        """Return what a submission claims, and for which caller, as the store keeps it; b"": nothing."""
        if uniqueness is None and upload is None:
            return b""
        is_plain = uniqueness is not None and uniqueness.plain and upload is None
        if is_plain and (known := self._claims_blobs.get(id(uniqueness))) is not None and known[1] is quotas:
            return known[2]
        claims: list[object] = [None] * CLAIMS_READ
        if uniqueness is not None:
            claims[0], claims[1] = uniqueness.caller, uniqueness.owner
            if uniqueness.key is not None:
                # As text: Lua's msgpack has no bytes.
                claims[2], claims[3] = uniqueness.key.key, uniqueness.key.fingerprint.hex()
            if uniqueness.unique is not None:
                claims[4], claims[5] = uniqueness.unique.value, uniqueness.unique.mode
            quota = quotas.of(uniqueness.caller)
            claims[6], claims[7], claims[8] = quota.jobs_max, quota.records_max, quota.bytes_max
        if upload is not None:
            files = {name: [_file(file) for file in files] for name, files in upload.files.items()}
            claims.append([upload.folder, files])
        blob = _encode(claims)
        if is_plain and uniqueness is not None:
            if len(self._claims_blobs) >= SHARED_MAX:
                self._claims_blobs.clear()
            self._claims_blobs[id(uniqueness)] = (uniqueness, quotas, blob)
        return blob

    def progress_blob(self, progress: Progress) -> bytes:
        """Return the progress of an attempt as the store keeps it."""
        return _encode([progress.fraction, progress.note])

    # -- what comes back

    def spec(self, blob: bytes) -> JobSpec:
        """Return the spec that a stored one has in this process."""
        known = self._specs.get(blob)
        if known is not None:
            return known
        type_, lane, _, priority, delay_ms, run_at, start_by_ms, ttl_ms, attempts_max, group, *own = _decode(blob)
        queue, timeout_s, own_timeout, is_own, traceparent, *scheduled = own
        spec = self._spec_of(
            JobSpec(
                type=type_,
                queue=queue,
                priority=priority,
                group=group,
                delay_s=delay_ms / 1000.0,
                run_at=None if run_at is None else self._clock.at(run_at),
                start_by_s=_seconds(start_by_ms),
                timeout_s=timeout_s,
                own_timeout=own_timeout,
                own=is_own,
                attempts_max=attempts_max,
                ttl_s=_seconds(ttl_ms),
                pool=lane or None,
                traceparent=traceparent,
                scheduled=(scheduled[0], scheduled[1]) if scheduled else None,
            )
        )
        if run_at is None:
            _keep(self._specs, blob, spec)
        return spec

    def claims(self, blob: bytes) -> tuple[Uniqueness | None, Upload | None]:
        """Return the identity of a submission, and its files."""
        if not blob:
            return None, None
        known = self._claims.get(blob)
        if known is not None:
            return known, None
        claims = _decode(blob)
        caller, owner, key, fingerprint, value, mode = claims[:6]
        upload = None
        if len(claims) > CLAIMS_READ and claims[CLAIMS_READ] is not None:
            folder, files = claims[CLAIMS_READ]
            upload = Upload(folder, {name: tuple(StoredFile(*file) for file in of) for name, of in files.items()})
        if caller is owner is key is value is None and upload is not None:
            return None, upload
        uniqueness = Uniqueness(
            caller,
            None if value is None else Unique(value, mode),
            None if key is None else IdempotencyKey(key, bytes.fromhex(fingerprint)),
            plain=key is None and value is None,
            owner=owner,
        )
        if uniqueness.plain and upload is None:
            _keep(self._claims, blob, uniqueness)
        return uniqueness, upload

    def progress(self, blob: bytes) -> Progress | None:
        """Return the progress of an attempt, if it has reported any."""
        if not blob:
            return None
        fraction, note = _decode(blob)
        return Progress(fraction, note)

    def job(self, job_id: str, told: Told) -> Job:
        """Return a record that the store has told: whole, or without its history and long arguments and results."""
        return self._read(job_id, told, Job)

    def view(self, job_id: str, told: Told) -> JobView:
        """Return the same as a view."""
        return self._read(job_id, told, JobView)

    def _read(self, job_id: str, told: Told, make: type[J]) -> J:
        record, frames = (told, b"") if isinstance(told, bytes) else (told[0], told[4])
        state, _, _, _, result_size, version, attempt, _, start_by, started, finished, *lengths = HEAD.unpack_from(
            record
        )
        process, st, a, r, kind = lengths
        stopping = record[(at := HEAD.size + process) : (at := at + st)]
        args = record[at : (at := at + a)]
        result: bytes | None = record[at : (at := at + r)]
        if not isinstance(told, bytes):
            args, result = told[2], told[3]
        if result_size < 0:
            result = None
        queue, s, c = KIND.unpack_from(record, at)
        spec = record[(spec_at := at + KIND.size + queue) : spec_at + s]
        claims = record[spec_at + s : spec_at + s + c]
        _, before, _, _, _, created, run_at, _, _, sublist, p, e = REST.unpack_from(record, at + kind)
        at += kind + REST.size + sublist
        offset_ms = self._clock.offset_ms
        uniqueness, upload = self.claims(claims) if claims else (None, None)
        extras = None
        if before or stopping or p or e or frames:
            extras = Extras(
                attempts_before=before,
                progress=self.progress(record[at : at + p]),
                stopping=StopReason(stopping.decode()) if stopping else None,
                error=error_of(record[at + p : at + p + e]),
                history=self.history(frames) if frames else None,
            )
        known = self._specs.get(spec)
        return make(
            id=JobId(job_id),
            spec=known or self.spec(spec),
            args=args,
            upload=upload,
            state=STATES[state],
            created_at=(created - offset_ms) / 1000.0,
            run_at=(run_at - offset_ms) / 1000.0,
            attempt=attempt,
            version=version,
            start_by_at=None if start_by < 0 else (start_by - offset_ms) / 1000.0,
            started_at=None if started < 0 else (started - offset_ms) / 1000.0,
            finished_at=None if finished < 0 else (finished - offset_ms) / 1000.0,
            result=result,
            uniqueness=uniqueness,
            extras=extras,
        )

    def history(self, frames: bytes) -> tuple[FailedAttempt, ...]:
        """Return the failed attempts of a job: each is a length of four bytes, and a msgpack array."""
        history, start, at = [], 0, self._clock.at
        while start < len(frames):
            end = start + 4 + int.from_bytes(frames[start : start + 4], "big")
            attempt, started, ended, code, message, *traceback = _decode(frames[start + 4 : end])
            shown = traceback[0] if traceback and traceback[0] else None
            history.append(FailedAttempt(attempt, at(started), at(ended), ErrorCode(code), message, shown))
            start = end
        return tuple(history)


def record_of(told: Told) -> bytes:
    """Return the text of a record that the store has told."""
    text: bytes = told if isinstance(told, bytes) else told[0]
    return text


def position_of(told: Told) -> int | None:
    """Return the position of a ready job, which a whole record tells."""
    position: int = -1 if isinstance(told, bytes) else told[1]
    return None if position < 1 else position


def _keep(kept: dict[bytes, Any], blob: bytes, value: object) -> None:
    if len(kept) >= SHARED_MAX:
        kept.clear()
    kept[blob] = value


def error_of(blob: bytes) -> JobError | None:
    """Return the error of a job, if it has one."""
    """Return the error of a job, if it has one."""
    if not blob:
        return None
    code, message = _decode(blob)
    return JobError(ErrorCode(code), message)


def _file(file: StoredFile) -> list[object]:
    return [file.path, file.media_type, file.size_bytes, file.filename]


def _limited(spec: JobSpec) -> int:
    """Return 1 if the type of a job has limits, 2 if its group has, else 0."""
    limits = spec.limits
    if limits is None:
        return 0
    if spec.group is not None and (limits.group_concurrency is not None or limits.group_rate is not None):
        return 2
    return int(limits.concurrency is not None or limits.rate is not None)


def _ms(seconds: float | None) -> int | None:
    """Return a duration in milliseconds; one above zero stays above zero."""
    return None if seconds is None else round(seconds * 1000.0) or int(seconds > 0)


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000.0
