"""What if: simulations of a queue on its measured arrivals and run times, under other settings and loads.

Rules:

1. The loop gathers the question: a part of the history as it is stored, and the latest jobs of the queue. A process of
   the lowest priority does all else.
2. One simulation runs at a time, and ends when its client goes away, its key is revoked, or the server drains.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue import errors
from jobqueue.config import QueueSettings
from jobqueue.core.job_filter import JobFilter
from jobqueue.errors import shown
from jobqueue.handlers.submission import PositiveSeconds
from jobqueue.http.errors import (
    InsufficientScope,
    NotMeasuredYet,
    QueueNotFound,
    SimulatorInUse,
    TooManyLongPolls,
)
from jobqueue.http.request.auth import GRANT, check_still_valid
from jobqueue.http.request.body import check_head
from jobqueue.http.request.json_body import decode
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON
from jobqueue.http.streams.waiters import NO_PLACE_RETRY_AFTER_S
from jobqueue.runtime import cgroup
from jobqueue.runtime.simulator import TIME_S, SimulationFailed, Simulator, SimulatorBusy
from jobqueue.what_if.measured import NotMeasured, Recorded, TypeOptions
from jobqueue.what_if.question import Given, Question
from jobqueue.what_if.trial import Clients, Sample
from jobqueue.what_if.visits import Returns  # msgspec reads it from the annotations

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.core.policy import QueuePolicy
    from jobqueue.http.request.body import Bodies
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.recorder import Recorder
    from jobqueue.service import Service

LOADS = (1.0, 1.5, 2.0, 5.0)
LOADS_MAX = 8
ALTERNATIVES_MAX = 24
WINDOW_S_MAX = 600
SAMPLES = 100
"""Latest jobs of which simulated ones have priority, group, deadline and caller."""

BUSY_RETRY_AFTER_S = 5.0
FAILED_RETRY_AFTER_S = 10.0

COMPARED = ("discipline", "capacity", "workers", "patience_s")

# With the same bounds as in a settings file.
AlternativeSettings = msgspec.defstruct(
    "AlternativeSettings",
    [
        (field.name, field.type | UnsetType, UNSET)
        for field in msgspec.structs.fields(QueueSettings)
        if field.name in COMPARED
    ],
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    namespace={"__doc__": "Other settings of a queue: what is not given is as it is now."},
)


Load = Annotated[float, msgspec.Meta(ge=0.01, le=100)]


class SimulationRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to simulate: all members have defaults.

    Attributes:
        loads: Multiples of the measured arrivals; 1, 1.5, 2 and 5 by default.
        alternatives: Settings to compare with the present ones; by default the other disciplines, and some capacities
            and workers.
        seconds: Simulated seconds that count; by default four times the patience, or longer for long or few jobs.
        seed: Of all that is drawn: the same question with the same seed has the same answer.
        window_s: Seconds of the history that are measured; fewer if there are fewer.
        arrivals_per_s: Submissions per second, instead of the measured ones.
        run_s: Mean run time in seconds, instead of the measured ones; spread exponentially.
        patience_s: Mean time that clients wait for a start; by default the `patience_s` of the queue.
        returns: When rejected clients try again: when Retry-After says, after a second, or never.
    """

    loads: Annotated[list[Load], msgspec.Meta(min_length=1, max_length=LOADS_MAX)] | UnsetType = UNSET
    alternatives: Annotated[list[AlternativeSettings], msgspec.Meta(max_length=ALTERNATIVES_MAX)] | UnsetType = UNSET  # type: ignore[valid-type]
    seconds: Annotated[float, msgspec.Meta(ge=1, le=86_400)] | UnsetType = UNSET
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    window_s: Annotated[int, msgspec.Meta(ge=10, le=WINDOW_S_MAX)] = 300
    arrivals_per_s: Annotated[float, msgspec.Meta(ge=0.0001, le=1_000_000)] | UnsetType = UNSET
    run_s: Annotated[float, msgspec.Meta(ge=0.000001, le=86_400)] | UnsetType = UNSET
    patience_s: PositiveSeconds | UnsetType = UNSET
    returns: Returns = Returns.OBEDIENT


class WhatIf:
    """The handler of `POST /v1/queues/{name}:simulate`."""

    def __init__(self, service: Service, recorder: Recorder, bodies: Bodies, waiters: Waiters) -> None:
        self._service = service
        self._recorder = recorder
        self._bodies = bodies
        self._waiters = waiters
        self.simulator = Simulator()

    async def simulate(self, request: web.Request) -> web.StreamResponse:
        """POST /v1/queues/{name}:simulate"""
        name, service = request.match_info["name"], self._service
        if name not in service.settings.queues:
            known = ", ".join(service.settings.queues)
            raise QueueNotFound(f"there is no queue {shown(name)!r}; there are: {known}")
        check_head(request, service.settings.limits)
        asked = decode(await self._bodies.read(request), SimulationRequest)
        if request[GRANT].sees is not None:
            raise InsufficientScope("admin")
        if service.draining:
            raise errors.Draining
        if self.simulator.busy:
            raise _in_use()
        question = await self._question(name, asked)
        return whole_answer(request, await self._answer(request, question), JSON)

    async def _answer(self, request: web.Request, question: Question) -> bytes:
        answering = asyncio.ensure_future(self.simulator.answer(question))

        def leave() -> None:
            answering.cancel()

        with self._waiters.place(request, leave) as granted:
            if not granted:
                answering.cancel()
            try:
                answer = await answering
            except NotMeasured as missing:
                raise _not_measured(str(missing)) from None
            except SimulatorBusy:
                raise _in_use() from None
            except SimulationFailed as failure:
                detail = f"the simulation did not end: {failure}; ask for fewer loads or alternatives"
                raise errors.Overloaded(detail, retry_after_s=FAILED_RETRY_AFTER_S) from None
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                if not granted:
                    detail = "too many requests wait already, and a simulation is one more"
                    raise TooManyLongPolls(detail, retry_after_s=NO_PLACE_RETRY_AFTER_S) from None
                check_still_valid(request)
                raise errors.Draining from None
        check_still_valid(request)
        return answer

    async def _question(self, name: str, asked: SimulationRequest) -> Question:
        """Gather what the simulation needs. Raises NotMeasuredYet."""
        service = self._service
        settings, present = service.settings, service.policy(name)
        given = Given(_given(asked.arrivals_per_s), _given(asked.run_s))
        recorded = None
        if given.arrivals_per_s is None or given.run_s is None:
            recorded = self._recorded(name, asked.window_s)
        return Question(
            queue=name,
            present=present,
            policies=[_changed(present, each) for each in asked.alternatives or ()],
            pools={"thread": settings.runtime.threads, "process": settings.runtime.processes or cgroup.cpu_count()},
            workers_max=settings.runtime.workers,
            loads=[*dict.fromkeys(asked.loads or LOADS)],
            seconds=_given(asked.seconds),
            seed=asked.seed,
            clients=Clients(
                patience_s=present.patience_s if asked.patience_s is UNSET else asked.patience_s,
                returns=asked.returns,
                samples=await self._samples(name),
            ),
            recorded=recorded,
            given=given,
            time_s=TIME_S,
        )

    def _recorded(self, name: str, window_s: int) -> Recorded:
        """Return a part of the history, as it is stored. Raises NotMeasuredYet."""
        history = self._recorder.history
        if history is None:
            if not self._service.settings.stats.bytes_max:
                raise _not_measured("no history is recorded: the setting stats.bytes_max is 0")
            raise _not_measured("no history is recorded yet: the queue has not run for a second")
        series = history.numbers["queue", name]
        if series in history.folded:
            raise _not_measured("the history has no room for a series of this queue: raise stats.bytes_max")
        types = []
        for each in self._recorder.types_in(name):
            if (handler := self._service.registry.find(each)) is not None:
                spec, number = handler.default_spec, history.numbers.get(("type", each))
                types.append(
                    TypeOptions(
                        name=each,
                        series=None if number in history.folded else number,
                        attempts_max=spec.attempts_max,
                        backoff=spec.backoff,
                        limits=spec.limits,
                        pool=spec.pool,
                    )
                )
        return Recorded(series=series, frames=history.latest(window_s), types=types)

    async def _samples(self, name: str) -> list[Sample]:
        """Return the options of the latest jobs of a queue."""
        page = await self._service.backend.page(JobFilter(queue=name), limit=SAMPLES, cursor=None)
        return [
            Sample(
                type=job.spec.type,
                priority=job.spec.priority,
                group=job.spec.group,
                start_by_s=job.spec.start_by_s,
                caller=job.caller,
                owner=job.owner,
            )
            for job in page.jobs
        ]


def _given(value: float | UnsetType) -> float | None:
    return None if value is UNSET else value


def _changed(present: QueuePolicy, alternative: msgspec.Struct) -> QueuePolicy:
    changes = {name: value for name in COMPARED if (value := getattr(alternative, name)) is not UNSET}
    return msgspec.structs.replace(present, **changes)


def _not_measured(missing: str) -> NotMeasuredYet:
    return NotMeasuredYet(f"{missing}; give arrivals_per_s and run_s to simulate the queue without a measurement")


def _in_use() -> SimulatorInUse:
    return SimulatorInUse("one simulation runs already, and one at a time may", retry_after_s=BUSY_RETRY_AFTER_S)
