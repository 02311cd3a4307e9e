"""One run: the scenario of a seed on a seeded loop, from the start of its queue to the last record.

    run(1234).violation   # None, or the first violated rule

The end of each run is a check as well: faults cease, the queue finishes its jobs, or is drained or stopped, and then
every accepted job is terminal, every waiter has its response, every record is evicted in time, every task has ended.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from dataclasses import dataclass, field
from types import NoneType
from typing import TYPE_CHECKING, Any

from jobqueue.app import JobQueue
from jobqueue.core.events import Ended
from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode
from jobqueue.core.transitions import LEASE_GRACE_S
from jobqueue.errors import JobGone
from tests.simulation.auditor import Auditor, Violation
from tests.simulation.chaos import Chaos
from tests.simulation.deliveries import Deliveries
from tests.simulation.fleet import Fleet
from tests.simulation.grower import Grower
from tests.simulation.inspector import Inspector
from tests.simulation.journal import SimulatedJournal
from tests.simulation.publisher import Publisher
from tests.simulation.receivers import Receivers
from tests.simulation.scenario import Scenario, draw
from tests.simulation.schedules import SimulatedSchedules
from tests.simulation.seeded import Deadlock, Livelock, SeededLoop
from tests.simulation.stage import SeededSpool, Stage

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Coroutine

INSPECT_EVERY = 16
"""Loop iterations between inspections of the engine; the counts are checked after each iteration."""

FORGOTTEN_S = 40_000.0
"""Virtual seconds after which a live job counts as forgotten: no rate, delay or timeout takes that long."""

RELEASE_S = 30.0
"""Virtual seconds after which stubborn handlers end: otherwise they might occupy every worker."""

EVICTED_S = 400.0
"""Virtual seconds after which every TTL is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a run."""

    seed: int
    violation: str | None
    trace: list[tuple[float, str, str]]
    turns: int
    ended_at: float
    counts: Counter[str] = field(repr=False)

    @property
    def digest(self) -> str:
        """A hash of the trace: equal runs have equal digests."""
        text = "\n".join(
            [f"{self.turns} {self.ended_at!r}", *(f"{at!r} {part} {what}" for at, part, what in self.trace)]
        )
        return hashlib.sha256(text.encode()).hexdigest()

    def report(self, last: int = 60) -> str:
        """Return a report of the run: the violated rule, the end of the trace, and the command to replay it."""
        lines = [f"{at:12.4f}  {part:<12} {what}" for at, part, what in self.trace[-last:]]
        return "\n".join(
            [
                f"seed {self.seed}: {self.violation or 'no violation'}",
                f"  after {self.turns} loop iterations; the last {len(lines)} of {len(self.trace)} events:",
                *(f"  {line}" for line in lines),
                f"  replay: make sim SEED={self.seed}",
            ]
        )


def run(seed: int) -> Outcome:
    """Run a seed to its end, or to the first violation."""
    scenario = draw(seed)
    loop = SeededLoop(f"{seed}/loop", scenario.timing)
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    simulation = Simulation(scenario, loop)
    try:
        return simulation.run()
    finally:
        logging.disable(disabled)
        loop.close()


def names(loop: asyncio.AbstractEventLoop) -> list[str]:
    """Return the names of all tasks, without the numbers of unnamed ones, which differ from run to run."""
    return sorted(task.get_name().split("-")[0] for task in asyncio.all_tasks(loop))


class Simulation:
    def __init__(self, scenario: Scenario, loop: SeededLoop) -> None:
        self._scenario = scenario
        self._loop = loop
        runtime = scenario.settings.runtime
        assert runtime.processes is not None, "a life is the same on every machine"
        self._auditor = Auditor(
            loop.time,
            pools={"thread": runtime.threads, "process": runtime.processes},
            bytes_max=scenario.settings.statuses.bytes_max,
            late_s=scenario.timing.lateness_s,
            together_max=max(1, scenario.jobs_of_publish_max),
            choosy={plan.name for plan in scenario.types if plan.options["retry_on"] is not None},
        )
        self._queue = JobQueue(scenario.settings)
        self._stage = Stage(scenario, self._auditor, self._queue)
        self._fleet = Fleet(scenario, self._queue, self._auditor)
        self._grower = Grower(self._fleet)
        self._chaos = Chaos(scenario, self._queue, self._auditor)
        self._schedules = SimulatedSchedules(scenario, self._queue, self._auditor)
        self._deliveries = Deliveries(self._queue, self._auditor)
        self._receivers = Receivers(scenario, self._queue, self._deliveries)
        self._publisher = Publisher(self._fleet, self._deliveries)
        self._stage.submit_child = self._fleet.submit_child
        self._stage.publish_from = self._publisher.publish_from
        self._stage.sender = self._receivers
        loop.set_exception_handler(self._on_exception)

    def run(self) -> Outcome:
        auditor, loop = self._auditor, self._loop
        try:
            loop.run_until_complete(self._main())
        except Violation:
            pass
        except (Deadlock, Livelock) as stuck:
            auditor.check(False, f"{type(stuck).__name__}: {stuck}; there are {', '.join(names(loop))}")
        except Exception as error:
            auditor.check(False, f"the run ended with {error!r}")
        # Copied before the clean-up, which is not part of the run.
        trace, counts = list(auditor.trace), auditor.counts.copy()
        outcome = Outcome(self._scenario.seed, auditor.violation, trace, loop.turns, loop.time(), counts)
        self._clean_up()
        return outcome

    async def _clients(self) -> None:
        await asyncio.gather(self._fleet.run(), self._grower.run(), self._publisher.run())

    async def _main(self) -> None:
        await self._play()
        if self._scenario.restart:
            await self._play_again()
        self._stage.release_stubborn()
        await asyncio.sleep(10.0)
        left = names(self._loop)
        self._auditor.check(left == ["Task"], f"tasks are left: {', '.join(left)}")

    async def _play(self) -> None:
        await self._start()
        self._loop.call_later(RELEASE_S, self._stage.release_stubborn)
        chaos = asyncio.create_task(self._chaos.run(), name="chaos")
        fleet = asyncio.create_task(self._clients(), name="fleet")
        try:
            await self._stop(fleet)
        finally:
            chaos.cancel()
            fleet.cancel()
        with suppress(asyncio.CancelledError):
            await fleet
        with suppress(asyncio.CancelledError):
            await chaos
        await self._schedules.stop()
        await self._receivers.stop()
        if self._queue.running:
            await self._chaos.calm()
            await self._settle()
            await self._queue.stop()

    async def _start(self) -> None:
        if self._scenario.cancelled_start:
            await self._broken_off(self._queue.start())
        if not self._queue.running:
            await self._queue.start()
        self._wiring = self._queue.service._wiring
        assert self._wiring is not None
        self._auditor.attach(self._wiring.backend)
        self._inspector = Inspector(self._queue, self._auditor, self._scenario)
        self._journal = SimulatedJournal(self._queue, self._auditor, self._scenario.rng("journal"))
        self._deliveries.begin()
        self._receivers.begin()
        self._publisher.begin()
        self._schedules.begin()
        self._loop.after_turn = self._after_turn
        self._loop.when_quiet = self._when_quiet

    async def _stop(self, fleet: asyncio.Task[None]) -> None:
        """End the run as its scenario says."""
        stop, queue = self._scenario.stop, self._queue
        if stop.at_s is None:
            await fleet
            await self._chaos.calm()
        else:
            await asyncio.wait([fleet], timeout=stop.at_s)
        self._auditor.note("operator", f"{stop.kind}, {stop.drain_s} s")
        self._auditor.counts[stop.kind] += 1
        match stop.kind:
            case "drain":
                await self._drain(stop.drain_s)
            case "stop":
                await queue.stop()
            case "cancelled drain":
                await self._broken_off(queue.drain(stop.drain_s))
            case "cancelled stop":
                await self._broken_off(queue.stop())
            case _:
                # As two signals and the end of a program do. A drain that comes too late may raise RuntimeError.
                calls = (queue.drain(stop.drain_s), queue.drain(0.25), queue.stop(), queue.stop())
                tasks = [asyncio.create_task(call, name="stop") for call in calls]
                await asyncio.wait(tasks)
                errors = [error for task in tasks if not isinstance(error := task.exception(), NoneType | RuntimeError)]
                self._auditor.check(not errors, f"stopped three times at once: {errors}")
                self._auditor.check(not queue.running, "the queue runs on after its stop")
        if not queue.running or queue.draining:
            # Every client that waits for its job gets a response for any outcome.
            async with asyncio.timeout(FORGOTTEN_S):
                await fleet
        else:
            await fleet

    async def _broken_off(self, call: Coroutine[Any, Any, object]) -> None:
        """Start a call, and cancel it a little later."""
        task = asyncio.create_task(call, name="broken off")
        await asyncio.sleep(self._scenario.rng("operator").choice((0.0, 0.0, 0.5)))
        task.cancel()
        await asyncio.wait([task])
        self._auditor.check(task.cancelled() or task.exception() is None, "a cancelled call raised an error")

    async def _drain(self, drain_s: float) -> None:
        """Drain, and check that every job is terminal and that lost jobs are counted."""
        before = self._auditor.counts["Ended"]
        began_at = self._loop.time()
        lost = await self._queue.drain(drain_s)
        took_s = self._loop.time() - began_at
        late_s = self._scenario.timing.lateness_s
        self._auditor.check(took_s <= drain_s + LEASE_GRACE_S + late_s, f"a drain of {drain_s} s took {took_s}")
        self._auditor.note("operator", f"drained; lost {lost}")
        self._auditor.check(self._auditor.live == 0, f"{self._auditor.live} jobs live on after the drain")
        shut_down = sum(
            known.job.state is JobState.CANCELLED
            and known.job.error is not None
            and known.job.error.code is ErrorCode.SHUTDOWN
            for known in self._auditor.known.values()
        )
        ended = self._auditor.counts["Ended"] - before
        self._auditor.check(shut_down <= sum(lost.values()) <= ended, f"{shut_down} jobs were shut down, {lost} lost")

    async def _settle(self) -> None:
        """Wait until the queue is empty, and check that no job is forgotten and no record outlives its TTL."""
        try:
            async with asyncio.timeout(FORGOTTEN_S):
                assert self._queue.service._wiring is not None
                await self._until_no_job()
        except TimeoutError:
            live = [f"{known} ({known.job.state})" for known in self._auditor.known.values() if known.live]
            self._auditor.check(False, f"forgotten: {', '.join(live)}")
            return
        self._inspector.check()
        self._inspector.check_over()
        self._deliveries.check_figures()
        await asyncio.sleep(EVICTED_S)
        self._inspector.check_evicted()
        assert isinstance(self._queue.service.spool, SeededSpool)
        self._auditor.check(not (leftovers := self._queue.service.spool.leftovers()), f"the spool holds {leftovers}")

    async def _until_no_job(self) -> None:
        ended = asyncio.Event()
        leave = self._auditor.backend.subscribe(lambda event: ended.set(), Ended)
        try:
            while self._auditor.engine.live():
                ended.clear()
                await ended.wait()
        finally:
            leave()

    async def _play_again(self) -> None:
        """Start the same queue again: it works, and has no job of the earlier run."""
        self._auditor.counts["run again"] += 1
        old_ids = self._fleet.ids[-3:]
        await self._start()
        for job_id in old_ids:
            try:
                await self._queue.service.backend.get(job_id)
            except JobGone as gone:
                self._auditor.check(gone.reason == "earlier-run", f"an old id is gone for {gone.reason}")
            else:
                self._auditor.check(False, "a job of an earlier run is still there")
        child = await self._fleet.submit_child()
        self._auditor.check(child is not None, "a restarted queue accepts no job")
        await self._schedules.stop()
        await self._receivers.stop()
        await self._settle()
        await self._queue.stop()

    # -- checks during the run

    @property
    def _watches(self) -> bool:
        """Whether the auditor is attached to the running queue."""
        return self._wiring is not None and self._queue.service._wiring is self._wiring

    def _after_turn(self) -> None:
        auditor = self._auditor
        auditor.turn = self._loop.turns
        if auditor.violation is None:
            auditor.check_counts()
            self._publisher.check()
            self._deliveries.check()
            if self._watches and self._loop.turns % INSPECT_EVERY == 0:
                auditor.check_records()
                self._inspector.check()
                self._journal.check()
                self._deliveries.check_figures()
                auditor.check(not (missing := self._stage.missing_files()), f"result files are gone: {missing}")
        if auditor.violation is not None:
            raise Violation(auditor.violation)

    def _when_quiet(self) -> None:
        if self._watches:
            self._inspector.check_quiet()

    def _on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Record an error that asyncio would only log as a violation."""
        self._auditor.check(False, f"asyncio says: {context['message']}: {context.get('exception')!r}")

    def _clean_up(self) -> None:
        """End all tasks after a violation, so that they do not outlive the run."""
        loop = self._loop
        loop.after_turn = loop.when_quiet = lambda: None
        self._stage.release_stubborn()
        for _ in range(20):
            tasks = asyncio.all_tasks(loop)
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            with suppress(Exception):
                loop.run_until_complete(asyncio.wait(tasks, timeout=1.0))
