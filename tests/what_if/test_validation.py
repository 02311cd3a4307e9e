"""The forecast against the service: what it foretells of a change is what the real service does after that change.

The service runs with its workers, timers and recorder on a virtual clock, under clients that arrive in an open loop;
the forecast knows its history alone. The tolerances are those of docs/explanation/what-if.md.
"""

from __future__ import annotations

import asyncio
from random import Random

import msgspec
import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, Settings
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.errors import JobFailed, Refused
from jobqueue.recorder import Recorder
from jobqueue.testing import virtual_time
from jobqueue.what_if.documents import ForecastCellDocument
from jobqueue.what_if.measured import Recorded, TypeOptions
from jobqueue.what_if.quantiles import quantiles
from jobqueue.what_if.question import Given
from jobqueue.what_if.visits import Returns
from tests.what_if.asked import answer, cell_of, question

MEAN_S, PATIENCE_S = 1.0, 10.0
PRESENT = QueuePolicy(workers=10, capacity=200, patience_s=PATIENCE_S)
WARM_S, MEASURED_S = 60.0, 240.0


class Seen(msgspec.Struct):
    """What clients have seen of the service, per second of the measured time, and the service's history."""

    goodput_per_s: float
    late_per_s: float
    refused_share: float
    waits_s: dict[str, float | None]
    recorded: Recorded


async def serve(policy: QueuePolicy, arrivals_per_s: float, seed: int = 7) -> Seen:
    """Run the service under a load, with clients that wait for half to one and a half of the patience."""
    settings = QueueSettings(
        workers=policy.workers, capacity=policy.capacity, discipline=policy.discipline, patience_s=policy.patience_s
    )
    queue = JobQueue(Settings(queues={"default": settings}))
    rng, until = Random(seed), WARM_S + MEASURED_S
    waits_s: list[float] = []
    in_time = late = tries = refused = 0
    began_at = asyncio.get_running_loop().time()

    def elapsed_s() -> float:
        return asyncio.get_running_loop().time() - began_at

    @queue.handler
    async def work(run_s: float) -> None:
        await asyncio.sleep(run_s)

    async def client(run_s: float, patience_s: float) -> None:
        nonlocal in_time, late, tries, refused
        measured, came_at = elapsed_s() >= WARM_S, elapsed_s()
        tries += measured
        try:
            job = await queue.submit("work", {"run_s": run_s})
        except Refused:
            refused += measured
            return
        try:
            await job.result()
        except JobFailed:
            return  # it has expired
        if WARM_S <= elapsed_s() < until:
            wait_s = elapsed_s() - run_s - came_at
            waits_s.append(wait_s)
            in_time, late = in_time + (wait_s <= patience_s), late + (wait_s > patience_s)

    recorder = Recorder(queue.service)
    async with queue, asyncio.TaskGroup() as clients:
        recorder.start()
        at = 0.0
        while (at := at + rng.expovariate(arrivals_per_s)) < until:
            await asyncio.sleep(began_at + at - asyncio.get_running_loop().time())
            clients.create_task(client(rng.expovariate(1 / MEAN_S), PATIENCE_S * rng.uniform(0.5, 1.5)))
        recorder.stop()
        assert recorder.history is not None
        numbers = recorder.history.numbers
        recorded = Recorded(
            series=numbers["queue", "default"],
            frames=recorder.history.latest(int(MEASURED_S)),
            types=[TypeOptions(name="work", series=numbers["type", "work"])],
        )
    return Seen(in_time / MEASURED_S, late / MEASURED_S, refused / tries, quantiles(waits_s), recorded)


def foretold(seen: Seen, *policies: QueuePolicy, loads: list[float]) -> list[ForecastCellDocument]:
    """Return what the history of a service foretells of it under other settings, for each load."""
    asked = question(
        PRESENT,
        policies=list(policies),
        loads=loads,
        recorded=seen.recorded,
        given=Given(),
        seconds=MEASURED_S,
        clients={"returns": Returns.NEVER},
    )
    told = answer(asked)
    assert told.simulated.complete
    return [
        cell_of(told.alternatives[row], column) for row in range(len(told.alternatives)) for column in range(len(loads))
    ]


def check(cell: ForecastCellDocument, seen: Seen) -> None:
    """Compare a forecast with what was seen: the tolerances of the documents."""
    capacity_per_s = PRESENT.workers / MEAN_S
    assert cell.goodput_per_s.mean == pytest.approx(seen.goodput_per_s, abs=0.1 * capacity_per_s)
    assert cell.late_per_s.mean == pytest.approx(seen.late_per_s, abs=0.1 * capacity_per_s)
    assert cell.refused_share.mean == pytest.approx(seen.refused_share, abs=0.1)
    for name in ("p50", "p95"):
        told, real = getattr(cell.wait_s, name), seen.waits_s[name]
        assert told == pytest.approx(real, rel=0.4, abs=0.5 * MEAN_S), name


@virtual_time
async def test_at_the_measured_load_the_service_does_as_forecast() -> None:
    for arrivals_per_s in (7.0, 14.0):
        seen = await serve(PRESENT, arrivals_per_s)
        (cell,) = foretold(seen, PRESENT, loads=[1.0])
        check(cell, seen)


@virtual_time
async def test_at_another_load_and_under_other_settings_the_service_does_as_forecast() -> None:
    usual = await serve(PRESENT, 8.0)
    changes = (
        msgspec.structs.replace(PRESENT, capacity=30),
        msgspec.structs.replace(PRESENT, discipline=Discipline.ADAPTIVE),
        msgspec.structs.replace(PRESENT, discipline=Discipline.LIFO),
        msgspec.structs.replace(PRESENT, workers=20),
    )
    told = foretold(usual, *changes, loads=[2.0])
    for cell, policy in zip(told, (PRESENT, *changes), strict=True):
        check(cell, await serve(policy, 16.0))
