"""Writes events as they are sent: server-sent events with one line of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from jobqueue.http.response.timestamps import json_timestamp

if TYPE_CHECKING:
    from jobqueue.core.job import JobSpec
    from jobqueue.http.streams.event_ring import Seen

SPECS_MAX = 1024

RESET = b'{"reason":"the events after this Last-Event-ID are no longer available: fetch the jobs again"}'
"""The data of the event `reset`."""

_encode = orjson.dumps


class EventWriter:
    """Writes the events of jobs; the parts of a spec are written once."""

    def __init__(self) -> None:
        # What a spec is in the events of its jobs, by the spec's identity: each is kept, so that no other gets its id.
        self._of_specs: dict[int, tuple[JobSpec, bytes]] = {}

    def forget(self) -> None:
        """Drop the parts that are kept."""
        self._of_specs.clear()

    def write(self, job: Seen) -> bytes:
        """Return the data of an event of a job."""
        spec, progress, error = job.spec, job.progress, job.error
        of_spec = self._of_specs.get(id(spec)) or self._write_spec(spec)
        return b"".join(
            (
                b'{"id":"',
                job.id.encode(),
                of_spec[1],
                job.state.encode(),
                b'","attempt":',
                str(job.attempt).encode(),
                b',"progress":',
                b"null" if progress is None else _encode({"fraction": progress.fraction, "note": progress.note}),
                b',"error":',
                b"null" if error is None else _encode({"code": error.code}),
                b',"at":',
                json_timestamp(job.at),
                b"}",
            )
        )

    def _write_spec(self, spec: JobSpec) -> tuple[JobSpec, bytes]:
        if len(self._of_specs) >= SPECS_MAX:
            self._of_specs.clear()
        texts = (_encode(spec.type), _encode(spec.queue), _encode(spec.group))
        written = self._of_specs[id(spec)] = (spec, b'","type":%b,"queue":%b,"group":%b,"state":"' % texts)
        return written


def frame(event_id: str, name: str, data: bytes) -> bytes:
    """Write one event; its data is JSON in one line."""
    return b"".join((b"id: ", event_id.encode(), b"\nevent: ", name.encode(), b"\ndata: ", data, b"\n\n"))
