"""The stage: the handlers of a run, and simulated threads, processes and disk.

The simulated parts run on the loop: they take time, fail and end like the real ones, at times drawn from the seed.
All other code is that of jobqueue.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.context import JobContext
from jobqueue.core.ids import RUNS, IdIssuer
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.core.tuning import Tuning
from jobqueue.errors import JobQueueError, Reject, Retry
from jobqueue.handlers.result import encode_result, failure_of
from jobqueue.runtime import spool
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.wall_clock import WallClock
from jobqueue.surroundings import Surroundings
from tests.simulation.subscribers import Heard, hears

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobqueue.app import JobQueue
    from jobqueue.config import Settings, SpoolSettings
    from jobqueue.handlers import Handler
    from jobqueue.runtime.pools.call import Call
    from jobqueue.runtime.webhooks import Sends
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario
    from tests.simulation.subscribers import SubscriberPlan

WALL_OFFSET_S = 1_700_000_000.0


class Stage:
    """Runs the handlers.

    Attributes:
        submit_child: Submits a job with the act `ok` and returns its id; set by the fleet.
        publish_from: Publishes data from within a handler; set by the publisher.
        sender: Sends the deliveries of webhooks, where the settings have receivers.
    """

    sender: Sends
    publish_from: Callable[[JobContext], Awaitable[None]]

    def __init__(self, scenario: Scenario, auditor: Auditor, queue: JobQueue) -> None:
        self._scenario = scenario
        self.auditor = auditor
        self._queue = queue
        self._released = asyncio.Event()
        self.disk: dict[str, dict[str, int]] = {}
        self.submit_child: Callable[[], Awaitable[str | None]] = _no_child
        # One generator for all starts of a run: later draws continue earlier ones.
        self._rng, self._disk_rng = scenario.rng("parts"), scenario.rng("disk")
        queue.service.surroundings = self.surroundings
        for plan in scenario.types:
            offloaded = plan.options["run_in"] != "loop"
            handler = self._offloaded_handler() if offloaded else self._handler()
            queue.handler(name=plan.name, **plan.options)(handler)
        for subscriber in scenario.subscribers:
            queue.on(*subscriber.patterns, name=subscriber.name, **subscriber.options)(self._subscriber(subscriber))

    def release_stubborn(self) -> None:
        """End the handlers that ignore cancellation."""
        self._released.set()

    def surroundings(self, settings: Settings) -> Surroundings:
        """Return the surroundings of one start of the queue: simulated parts and seeded generators."""
        clock = asyncio.get_running_loop().time
        rng, portion, runtime = self._rng, self._scenario.portion, settings.runtime
        assert runtime.processes is not None, "the number of processes must not depend on the machine"
        return Surroundings(
            clock=clock,
            wall_clock=WallClock(clock, wall=lambda: WALL_OFFSET_S + clock(), steady=clock),
            ids=IdIssuer(secret=rng.randbytes(32), run=random.Random(rng.random()).choice(RUNS)),
            rng=random.Random(rng.random()),
            threads=SeededPool(self, "thread", runtime.threads),
            processes=SeededPool(self, "process", runtime.processes),
            spool=SeededSpool(self.disk, self._disk_rng, settings.spool),
            trace=trace_of,
            sender=self.sender if settings.webhooks.wanted else None,
            tuning=Tuning(
                tick_work_max=portion,
                offers_max=portion,
                moves_max=portion,
                lease_tries=portion,
                search_slice=portion,
                search_first=portion,
                search_max=4 * portion,
                bulk_portion=portion,
                abandoned_min=self._scenario.abandoned,
            ),
        )

    # -- handlers on the loop

    def _handler(self) -> Callable[..., Any]:
        async def act(ctx: JobContext, n: int, acts: list[str]) -> Any:
            act = _act_of(acts, ctx.attempt)
            with self.auditor.attempts.run(self.auditor.known[ctx.job_id], ctx.attempt, n) as attempt:
                if act in BAD_RESULTS:
                    attempt.how, result = BAD_RESULTS[act]
                    return result
                await self._play(ctx, act)
            return n

        return act

    def _subscriber(self, plan: SubscriberPlan) -> Callable[..., Any]:
        async def hear(ctx: JobContext, data: Any, topic: str) -> int:
            n: int = data["n"]
            acts = data["acts"] if isinstance(data["acts"], list) else ["ok"]
            with self.auditor.attempts.run(self.auditor.known[ctx.job_id], ctx.attempt, n):
                self.auditor.check(hears(plan.patterns, topic), f"{plan.name} hears of {topic}")
                await self._play(ctx, acts[(plan.number + ctx.attempt - 1) % len(acts)])
            return n

        async def hear_strictly(ctx: JobContext, data: Heard, topic: str) -> int:
            return await hear(ctx, msgspec.to_builtins(data), topic)

        return hear_strictly if plan.strict else hear

    async def _play(self, ctx: JobContext, act: str) -> None:
        verb, _, number = act.partition(":")
        amount = float(number or 0)
        match verb:
            case "ok":
                pass
            case "work":
                await asyncio.sleep(amount)
            case "report":
                for step in range(3):
                    ctx.progress(step / 3, f"step {step}")
                    await asyncio.sleep(amount / 3)
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "swallow" | "swallow_raise" | "stubborn":
                await self._resist(verb, amount)
            case "inner_cancel":
                future = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(0.25, future.cancel)
                await future
            case "cancel_own_task":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0.25)
            case "cancel_me":
                with self.auditor.asked("cancel", [ctx.job_id]):
                    await self._queue.service.backend.cancel(ctx.job_id)
                await asyncio.sleep(0.5)
            case "publish":
                await self.publish_from(ctx)
            case "delete_me":
                await self._queue.service.backend.delete(ctx.job_id)
            case "child":
                child = await self.submit_child()
                if child is not None:
                    async with asyncio.timeout(0.5):
                        await self._queue.service.backend.wait(child)
            case _:
                await asyncio.sleep(amount)
                raise _error(verb, amount)

    async def _resist(self, verb: str, amount: float) -> None:
        """Wait until cancelled; then continue nevertheless."""
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            if verb == "swallow_raise":
                raise ValueError("in spite") from None
            if verb == "swallow":
                await asyncio.sleep(amount)
        while verb == "stubborn" and not self._released.is_set():
            try:
                await self._released.wait()
            except asyncio.CancelledError:
                continue

    # -- handlers in threads and processes

    def _offloaded_handler(self) -> Callable[..., Any]:
        def act(n: int, acts: list[str]) -> Any:
            raise AssertionError("only a thread or a process may run this handler")

        return act

    async def play_offloaded(self, pool: str, call: Call, on_progress: Callable[..., None]) -> Success | Failure:
        """Run a call as a thread or a process does: it returns an outcome for any behaviour of the handler."""
        n = call.kwargs["n"]
        verb, _, number = _act_of(call.kwargs["acts"], call.attempt).partition(":")
        try:
            with self.auditor.attempts.run(self.auditor.known[call.job_id], call.attempt, n) as attempt:
                for path in (file.path for files in call.files.values() for file in files):
                    self.auditor.check(path in self.disk.get(os.path.dirname(path), {}), f"the input {path} is gone")
                await asyncio.sleep(float(number or 0))
                if verb == "crash":
                    attempt.how = ErrorCode.WORKER_CRASHED if pool == "process" else ErrorCode.HANDLER_ERROR
                    return Failure(ErrorCode(attempt.how), "ended by signal 9")
                return await self._play_there(call, verb, float(number or 0), on_progress)
        except Exception as error:
            return failure_of(error, call.retry_on, call.reject_on, trace=trace_of)

    async def _play_there(self, call: Call, verb: str, amount: float, on_progress: Callable[..., None]) -> Success:
        file = None
        match verb:
            case "ok" | "work":
                pass
            case "report":
                on_progress(0.5, "half of it")
            case "file":
                path = f"{call.folder}/result-{call.attempt}"
                self.disk.setdefault(call.folder, {})[path] = 10
                file = StoredFile(path, "text/plain", 10)
            case "hang":
                await asyncio.get_running_loop().create_future()
            case "large":
                encode_result("x" * 500, bytes_max=call.result_bytes_max)
            case _:
                raise _error(verb, amount)
        return Success(encode_result(call.kwargs["n"], bytes_max=call.result_bytes_max), file)

    def missing_files(self) -> list[str]:
        """Return the result files of stored records that are missing on the disk."""
        files = [known.job.file.path for known in self.auditor.known.values() if known.job.file is not None]
        return [path for path in files if path not in self.disk.get(os.path.dirname(path), {})]


BAD_RESULTS = {
    "nan": (ErrorCode.BAD_RESULT, float("nan")),
    "object": (ErrorCode.BAD_RESULT, object()),
    "large": (ErrorCode.RESULT_TOO_LARGE, "x" * 500),
}


def _act_of(acts: list[str], attempt: int) -> str:
    return acts[min(attempt, len(acts)) - 1]


def _error(verb: str, amount: float) -> BaseException:
    match verb:
        case "raise":
            return RuntimeError("boom")
        case "value_error":
            return ValueError("boom")
        case "group_error":
            return BaseExceptionGroup("booms", [ValueError("boom"), KeyError("boom")])
        case "cancelled_error":
            return asyncio.CancelledError()
        case "exit":
            return SystemExit(3)
        case "retry":
            return Retry(amount or None)
        case "reject":
            return Reject("not this one")
    raise AssertionError(f"no such act: {verb}")


def trace_of(error: BaseException) -> str:
    """Return a substitute for a traceback: the length of a real one depends on the path of the checkout."""
    return f"Traceback of {type(error).__name__}"


async def _no_child() -> str | None:
    raise JobQueueError("submit_child is not set")


class SeededPool:
    """A simulated pool of threads or processes. It has `size` slots, which the limiters must not exceed."""

    degraded = None

    def __init__(self, stage: Stage, pool: str, size: int) -> None:
        self._stage = stage
        self._pool = pool
        self.size = size
        self.state: Any = None
        self.on_strength: Callable[[int], None] = lambda strength: None
        self._taken = 0

    @property
    def counts(self) -> PoolCounts:
        return PoolCounts(size=self.size, busy=self._taken)

    def check(self, handler: Handler) -> None:
        """Accept every handler: they are functions of the stage."""

    def start(self, handlers: object, init: object = None) -> None:
        pass

    def pid_of(self, job_id: str) -> int | None:
        return None

    async def run(
        self, call: Call, *, on_progress: Callable[[float, str | None], None], family: object = None
    ) -> Success | Failure:
        self._taken += 1
        self._stage.auditor.check(self._taken <= self.size, f"{self._taken} calls at once in {self.size} {self._pool}s")
        try:
            return await self._stage.play_offloaded(self._pool, call, on_progress)
        finally:
            self._taken -= 1

    async def close(self) -> None:
        self._stage.auditor.check(not self._taken, f"{self._taken} calls run on when the {self._pool} pool is closed")


class SeededSpool(spool.Spool):
    """The spool on a simulated disk: a dict, with delays."""

    def __init__(self, disk: dict[str, dict[str, int]], rng: random.Random, settings: SpoolSettings) -> None:
        super().__init__(settings)
        self._disk = disk
        self._rng = rng

    async def open(self) -> None:
        await asyncio.sleep(self._rng.choice((0.0, 0.01)))
        self._run = Path("/seeded")

    async def close(self) -> None:
        if self._removing is not None:
            await self._removing
        self._run = None
        self._disk.clear()

    async def in_thread(self, call: Any) -> Any:
        await asyncio.sleep(self._rng.choice((0.0, 0.0, 0.01, 0.5)))
        if call.func is spool._append:
            folder, path, data = call.args
            files = self._disk.setdefault(folder, {})
            files[path] = files.get(path, 0) + len(data)
            return None
        assert call.func is spool._clear_all, call
        for doomed in call.args[0]:
            files = self._disk.pop(doomed.folder, {})
            if doomed.keep or doomed.attempt is not None:
                left = {path: size for path, size in files.items() if doomed._stays(os.path.basename(path))}
                self._disk |= {doomed.folder: left} if left else {}
        return []

    def leftovers(self) -> str:
        """Return a description of the remaining files of jobs; empty once no record is stored."""
        left: dict[str, dict[Any, Any]] = {"counted": self._held, "handed out": self._handed, "on disk": self._disk}
        parts = [f"{what}: {list(folders)}" for what, folders in left.items() if folders]
        return "; ".join([*parts, f"{self._bytes_used} bytes"] if self._bytes_used else parts)
