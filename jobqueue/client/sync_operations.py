"""The calls of operators, blocking: on queues, types and the server."""

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


class SyncOperations(ABC):
    """These calls of `SyncClient`, which carries their requests."""

    def queues(self) -> tuple[dict[str, Any], ...]:
        """As `Client.queues`."""
        return self._run(queues.queues())

    def pause(self, queue: str, *, reason: str | None = None, for_s: Duration | None = None) -> dict[str, Any]:
        """As `Client.pause`."""
        return self._run(queues.pause(queue, reason, for_s))

    def resume(self, queue: str) -> dict[str, Any]:
        """As `Client.resume`."""
        return self._run(queues.resume(queue))

    def change_queue(self, queue: str, **changes: Unpack[QueueChanges]) -> dict[str, Any]:
        """As `Client.change_queue`."""
        return self._run(queues.change(queue, changes))

    def simulate_queue(self, queue: str, **question: Unpack[Simulation]) -> dict[str, Any]:
        """As `Client.simulate_queue`."""
        return self._run(queues.simulate(queue, question))

    def types(self) -> tuple[dict[str, Any], ...]:
        """As `Client.types`."""
        return self._run(server.types())

    def job_type(self, name: str) -> dict[str, Any]:
        """As `Client.job_type`."""
        return self._run(server.job_type(name))

    def release_type(self, name: str) -> dict[str, Any]:
        """As `Client.release_type`."""
        return self._run(server.release_type(name))

    def server(self) -> dict[str, Any]:
        """As `Client.server`."""
        return self._run(server.server())

    def stats(
        self,
        by: Literal["queue", "type"] = "queue",
        *,
        name: str | None = None,
        since: datetime | float | None = None,
        step_s: int | None = None,
    ) -> dict[str, Any]:
        """As `Client.stats`."""
        return self._run(server.stats(by, name, since, step_s))

    def findings(self) -> tuple[dict[str, Any], ...]:
        """As `Client.findings`."""
        return self._run(server.findings())

    def schedules(self) -> tuple[dict[str, Any], ...]:
        """As `Client.schedules`."""
        return self._run(schedules.schedules())

    def schedule(self, name: str) -> dict[str, Any]:
        """As `Client.schedule`."""
        return self._run(schedules.schedule(name))

    def put_schedule(
        self, name: str, type: str, args: Mapping[str, Any] | None = None, **schedule_options: Unpack[ScheduleOptions]
    ) -> dict[str, Any]:
        """As `Client.put_schedule`."""
        return self._run(schedules.put(name, type, args, schedule_options))

    def delete_schedule(self, name: str) -> None:
        """As `Client.delete_schedule`."""
        self._run(schedules.delete(name))

    def run_schedule(self, name: str) -> JobDocument:
        """As `Client.run_schedule`."""
        return self._run(schedules.run(name))

    def pause_schedule(self, name: str) -> dict[str, Any]:
        """As `Client.pause_schedule`."""
        return self._run(schedules.pause(name))

    def resume_schedule(self, name: str) -> dict[str, Any]:
        """As `Client.resume_schedule`."""
        return self._run(schedules.resume(name))

    def webhooks(self) -> tuple[dict[str, Any], ...]:
        """As `Client.webhooks`."""
        return self._run(server.webhooks())

    def server_log(
        self, *, level: str | None = None, event: str | None = None, limit: int | None = None
    ) -> dict[str, Any]:
        """As `Client.server_log`."""
        return self._run(server.log_lines(level, event, limit))

    def server_settings(self) -> dict[str, Any]:
        """As `Client.server_settings`."""
        return self._run(server.settings())

    def failures(self, **failure_filter: Unpack[FailureFilter]) -> dict[str, Any]:
        """As `Client.failures`."""
        return self._run(failures.failures(failure_filter))

    def failure(self, id: str) -> dict[str, Any]:
        """As `Client.failure`."""
        return self._run(failures.failure(id))

    def callers(self, *, limit: int | None = None) -> dict[str, Any]:
        """As `Client.callers`."""
        return self._run(callers.callers(limit))

    def block_caller(self, name: str, for_s: Duration) -> dict[str, Any]:
        """As `Client.block_caller`."""
        return self._run(callers.block(name, for_s))

    def unblock_caller(self, name: str) -> dict[str, Any]:
        """As `Client.unblock_caller`."""
        return self._run(callers.unblock(name))

    def problems(self) -> tuple[dict[str, Any], ...]:
        """As `Client.problems`."""
        return self._run(server.problems())

    def reload(self) -> dict[str, Any]:
        """As `Client.reload`."""
        return self._run(server.act("reload"))

    def drain(self) -> dict[str, Any]:
        """As `Client.drain`."""
        return self._run(server.act("drain"))

    def set_log_level(self, level: str) -> dict[str, Any]:
        """As `Client.set_log_level`."""
        return self._run(server.set_log_level(level))

    @abstractmethod
    def _run(self, steps: Steps[T]) -> T: ...
