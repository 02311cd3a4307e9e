"""The events of flows, for their streams: those of each flow's jobs, and the flow's own end.

Rules:

1. A stream begins with the flow as it is, so that a client that comes back has missed nothing: no event is kept for it.
   The jobs of a large one are left out, since all of it is in memory until the client has read it.
2. It ends with the flow, once all its jobs have ended and none was added or retried meanwhile. The id of this event
   names the end, so that a client that comes back with it is told that nothing follows; one that has missed the end
   gets it.
3. Events are heard while there is a stream; of a job in no flow with a stream it costs a look at its flow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.events import BackedOff, Ended, Progressed, Ready, Started, StopRequested, Submitted
from jobqueue.core.job import LIVE
from jobqueue.errors import JobGone
from jobqueue.http.response.flow_document import flow_document
from jobqueue.http.streams.event_names import NAMES, name_of
from jobqueue.http.streams.event_ring import Seen
from jobqueue.http.streams.event_writer import EventWriter, frame
from jobqueue.http.streams.subscriber import Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.backend.local import LocalBackend
    from jobqueue.core.events import JobEvent
    from jobqueue.core.flow import FlowView
    from jobqueue.core.job import JobId
    from jobqueue.service import Service

FLOW = "flow"
"""The name of the event with a flow as it is."""

OPENING_BYTES_MAX = 64 * 1024
"""Maximum length of the first event's data with the jobs of the flow."""

_HEARD = (Submitted, Started, StopRequested, BackedOff, Ready, Progressed, Ended)

_encode = msgspec.json.Encoder().encode


def end_id(flow: FlowView) -> str:
    """Return the id of the event that tells the end of a flow: of this one, since a retry changes the version."""
    return f"end-{flow.version}"


class FlowReader(Subscriber):
    """One stream of a flow.

    Attributes:
        flow_id: The flow.
        live: Its live jobs, as far as events have told.
        serial: The number of the latest event.
    """

    def __init__(self, flow_id: str, cut: Callable[[], None], sees: str | None) -> None:
        super().__init__(None, cut, sees)
        self.flow_id = flow_id
        self.live: set[JobId] = set()
        self.serial = 0

    def next_id(self) -> str:
        """Return the id of the next event."""
        self.serial += 1
        return str(self.serial)


class FlowLog:
    """The streams of flows, by flow."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._backend: LocalBackend | None = None
        self._stop_listening: Callable[[], object] | None = None
        self._readers: dict[str, tuple[FlowReader, ...]] = {}
        self._writer = EventWriter()

    def join(self, reader: FlowReader) -> None:
        """Tell a stream of all later events of its flow."""
        if self._backend is not self._service.local:  # there were no streams, or the queue was restarted
            self._rest()
            self._backend = self._service.local
            self._stop_listening = self._backend.subscribe(self._on_event, *_HEARD)
        self._readers[reader.flow_id] = (*self._readers.get(reader.flow_id, ()), reader)

    def leave(self, reader: FlowReader) -> None:
        """Tell a stream of no more events."""
        left = tuple(each for each in self._readers[reader.flow_id] if each is not reader)
        if left:
            self._readers[reader.flow_id] = left
        else:
            del self._readers[reader.flow_id]
        if not self._readers:
            self._rest()

    async def opening(self, reader: FlowReader) -> bytes:
        """Return the flow as it is, as the first event of a stream. Raises JobNotFound, JobGone."""
        flow = await self._service.backend.flow(reader.flow_id, reader.sees)
        reader.live = {job.id for job in flow.jobs if job.state in LIVE}
        document = _encode(flow_document(flow, self._service))
        if len(document) > OPENING_BYTES_MAX:
            document = _encode(flow_document(flow, self._service, with_jobs=False))
        if flow.state == "running":
            return frame(reader.next_id(), FLOW, document)
        reader.end()
        return frame(end_id(flow), FLOW, document)

    def last_id(self, reader: FlowReader) -> str:
        """Return the id of the latest event."""
        return str(reader.serial)

    async def replay(self, reader: FlowReader) -> bytes:
        """Return the end of the flow, once no job of it is live; empty: some are."""
        if reader.live or reader.over:
            return b""
        try:
            flow = await self._service.backend.flow(reader.flow_id, reader.sees)
        except JobGone:
            reader.end()
            return b""
        reader.live = {job.id for job in flow.jobs if job.state in LIVE}
        if flow.state != "running":
            document = _encode(flow_document(flow, self._service, with_jobs=False))
            reader.offer(frame(end_id(flow), FLOW, document))
            reader.end()
        return b""

    def _rest(self) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
        self._stop_listening = self._backend = None
        self._writer.forget()

    def _on_event(self, event: JobEvent) -> None:
        job = event.job
        lineage = job.lineage
        readers = () if lineage is None or lineage.flow is None else self._readers.get(lineage.flow, ())
        name = None if not readers else NAMES.get(type(event)) or name_of(event)
        if name is None:
            return
        at = self._service.wall(self._service.local.now())
        data = self._writer.write(Seen(job.id, job.spec, job.state, job.attempt, job.progress, job.error, at))
        for reader in readers:
            if job.live:
                reader.live.add(job.id)
            else:
                reader.live.discard(job.id)
            reader.offer(frame(reader.next_id(), name, data))
