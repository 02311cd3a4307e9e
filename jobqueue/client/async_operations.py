"""The calls of operators, awaited: on queues, types and the server."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack

from jobqueue.client import callers, failures, queues, schedules, server

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jobqueue.client.models import FailureFilter, JobDocument, QueueChanges, ScheduleOptions, Simulation
    from jobqueue.client.protocol import Steps
    from jobqueue.duration import Duration

T = TypeVar("T")


class AsyncOperations(ABC):
    """These calls of `Client`, which carries their requests."""

    async def queues(self) -> tuple[dict[str, Any], ...]:
        """Return the document of each queue."""
        return await self._run(queues.queues())

    async def pause(self, queue: str, *, reason: str | None = None, for_s: Duration | None = None) -> dict[str, Any]:
        """Pause a queue, for `for_s` at most: jobs are accepted, and running ones go on. Returns its document."""
        return await self._run(queues.pause(queue, reason, for_s))

    async def resume(self, queue: str) -> dict[str, Any]:
        """Resume a paused queue."""
        return await self._run(queues.resume(queue))

    async def change_queue(self, queue: str, **changes: Unpack[QueueChanges]) -> dict[str, Any]:
        """Change a queue while it runs; no job is lost. Raises InvalidSubmission if a value is out of bounds."""
        return await self._run(queues.change(queue, changes))

    async def simulate_queue(self, queue: str, **question: Unpack[Simulation]) -> dict[str, Any]:
        """Return a forecast of a queue under other settings and loads, on its measured arrivals and run times.

        Raises ErrorAnswer (409) if too little was measured, Refused if another simulation runs.
        """
        return await self._run(queues.simulate(queue, question))

    async def types(self) -> tuple[dict[str, Any], ...]:
        """Return the types that may be submitted: options, counts, JSON Schema of the arguments."""
        return await self._run(server.types())

    async def job_type(self, name: str) -> dict[str, Any]:
        """Return one of them."""
        return await self._run(server.job_type(name))

    async def release_type(self, name: str) -> dict[str, Any]:
        """End the quarantine of a type, if it is in one: its waiting jobs start. Returns its document."""
        return await self._run(server.release_type(name))

    async def server(self) -> dict[str, Any]:
        """Return the server's document: version, load, memory, pools."""
        return await self._run(server.server())

    async def stats(
        self,
        by: Literal["queue", "type"] = "queue",
        *,
        name: str | None = None,
        since: datetime | float | None = None,
        step_s: int | None = None,
    ) -> dict[str, Any]:
        """Return what queues or types did, in points of one length."""
        return await self._run(server.stats(by, name, since, step_s))

    async def findings(self) -> tuple[dict[str, Any], ...]:
        """Return what is wrong now, the worst first: kind, severity, sentence, cause, remedy, since when."""
        return await self._run(server.findings())

    async def schedules(self) -> tuple[dict[str, Any], ...]:
        """Return the schedules, by name: times, next and latest tick, counts."""
        return await self._run(schedules.schedules())

    async def schedule(self, name: str) -> dict[str, Any]:
        """Return one of them, with its next instants. Raises ScheduleNotFound."""
        return await self._run(schedules.schedule(name))

    async def put_schedule(
        self, name: str, type: str, args: Mapping[str, Any] | None = None, **schedule_options: Unpack[ScheduleOptions]
    ) -> dict[str, Any]:
        """Add a schedule, or replace it. Returns its document. Raises InvalidSubmission, ScheduleFixed, NotInStore."""
        return await self._run(schedules.put(name, type, args, schedule_options))

    async def delete_schedule(self, name: str) -> None:
        """Delete a schedule; its jobs stay. Raises ScheduleNotFound, ScheduleFixed, NotInStore."""
        await self._run(schedules.delete(name))

    async def run_schedule(self, name: str) -> JobDocument:
        """Submit a schedule's job now, beside its ticks. Raises Duplicate if its last job is live and it skips."""
        return await self._run(schedules.run(name))

    async def pause_schedule(self, name: str) -> dict[str, Any]:
        """Have a schedule give no ticks. Returns its document."""
        return await self._run(schedules.pause(name))

    async def resume_schedule(self, name: str) -> dict[str, Any]:
        """Have a schedule give ticks again. Returns its document."""
        return await self._run(schedules.resume(name))

    async def webhooks(self) -> tuple[dict[str, Any], ...]:
        """Return the receivers of webhooks: state, counts and the latest attempt of each."""
        return await self._run(server.webhooks())

    async def server_log(
        self, *, level: str | None = None, event: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """Return the latest lines of the server's log, newest first: at least of a level, of one event."""
        return await self._run(server.log_lines(level, event, limit))

    async def server_settings(self) -> dict[str, Any]:
        """Return the server's settings in effect: value, default, source, whether a change applies live."""
        return await self._run(server.settings())

    async def failures(self, **failure_filter: Unpack[FailureFilter]) -> dict[str, Any]:
        """Return the failed jobs that match, in groups by type, error and masked message."""
        return await self._run(failures.failures(failure_filter))

    async def failure(self, id: str) -> dict[str, Any]:
        """Return one of these groups, with what the arguments of its newest jobs have in common."""
        return await self._run(failures.failure(id))

    async def callers(self, *, limit: int | None = None) -> dict[str, Any]:
        """Return the callers that use most, and what each uses of its limits."""
        return await self._run(callers.callers(limit))

    async def block_caller(self, name: str, for_s: Duration) -> dict[str, Any]:
        """Have every request of a caller rejected for a while. Returns its document. Raises InvalidSubmission."""
        return await self._run(callers.block(name, for_s))

    async def unblock_caller(self, name: str) -> dict[str, Any]:
        """End the block of a caller. Returns its document."""
        return await self._run(callers.unblock(name))

    async def problems(self) -> tuple[dict[str, Any], ...]:
        """Return the types of problems that the server answers with."""
        return await self._run(server.problems())

    async def reload(self) -> dict[str, Any]:
        """Have the server read its settings again. Raises ConfigError if they have faults: nothing changes then."""
        return await self._run(server.act("reload"))

    async def drain(self) -> dict[str, Any]:
        """Have the server stop, as SIGTERM does."""
        return await self._run(server.act("drain"))

    async def set_log_level(self, level: str) -> dict[str, Any]:
        """Change the minimum level of the log until a reload. Returns the server's document."""
        return await self._run(server.set_log_level(level))

    @abstractmethod
    async def _run(self, steps: Steps[T]) -> T: ...
