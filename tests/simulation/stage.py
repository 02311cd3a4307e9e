"""The stage: the handlers of a run and what they are told to do, and stand-ins for what would leave the process.

Threads, processes and the disk are played on the loop: they take time, fail and are ended like the real
ones, but at instants that the seed draws. Everything else that runs is jobqueue's own.
"""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import jobqueue.handlers.result
import jobqueue.wiring
from jobqueue.backend import memory
from jobqueue.context import JobContext
from jobqueue.core import engine
from jobqueue.core.job import ErrorCode, Failure, StoredFile, Success
from jobqueue.core.limits import limiters
from jobqueue.errors import JobQueueError, Reject, Retry
from jobqueue.handlers.result import encode_result, failure_of
from jobqueue.runtime import spool, wall_clock, workers
from tests.simulation.kept import KeptSet

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from jobqueue.app import JobQueue
    from jobqueue.config import SpoolSettings
    from jobqueue.runtime.pools.call import Call
    from tests.simulation.auditor import Auditor
    from tests.simulation.scenario import Scenario

WALL_OFFSET_S = 1_700_000_000.0


class Stage:
    """Where handlers run.

    Attributes:
        submit_child: Submits a job that does `ok`, and returns its id; the fleet knows how.
    """

    def __init__(self, scenario: Scenario, auditor: Auditor, queue: JobQueue) -> None:
        self._scenario = scenario
        self.auditor = auditor
        self._queue = queue
        self._released = asyncio.Event()
        self.disk: dict[str, dict[str, int]] = {}
        self.submit_child: Callable[[], Awaitable[str | None]] = _no_child
        for plan in scenario.types:
            offloaded = plan.options["run_in"] != "loop"
            handler = self._offloaded_handler() if offloaded else self._handler()
            queue.handler(name=plan.name, **plan.options)(handler)

    def release_stubborn(self) -> None:
        """Let those go who neither end by themselves nor by being cancelled."""
        self._released.set()

    @contextmanager
    def set_up(self) -> Iterator[None]:
        """Put the stand-ins, and the seed's chance, into the places of what they stand for."""
        rng = self._scenario.rng("parts")
        portion = self._scenario.portion
        with ExitStack() as stack:

            def replace(home: Any, name: str, stand_in: Any) -> None:
                stack.enter_context(patch.object(home, name, stand_in, create=name == "set"))

            parts = jobqueue.wiring
            replace(parts, "os", SimpleNamespace(urandom=rng.randbytes))
            clocks = SimpleNamespace(
                time=lambda: WALL_OFFSET_S + asyncio.get_running_loop().time(),
                monotonic=lambda: asyncio.get_running_loop().time(),
            )
            replace(wall_clock, "time", clocks)
            seeded_random = SimpleNamespace(
                Random=lambda: random.Random(rng.random()), SystemRandom=lambda: random.Random(rng.random())
            )
            replace(parts, "random", seeded_random)
            replace(parts, "Spool", partial(SeededSpool, self.disk, self._scenario.rng("disk")))
            replace(parts, "ThreadPool", partial(SeededPool, self, "thread"))
            replace(parts, "ProcessPool", partial(SeededPool, self, "process"))
            replace(parts, "check_sendable", lambda handler: None)  # they are functions of this object
            # How long a traceback is depends on where this checkout lies.
            replace(jobqueue.handlers.result, "_trace", lambda error: f"Traceback of {type(error).__name__}")
            replace(engine, "TICK_WORK_MAX", portion)
            replace(memory, "BULK_PORTION", portion)
            replace(memory, "PAGE_SCAN_MAX", 4 * portion)
            replace(memory, "LEASE_TRIES", portion)
            replace(limiters, "CALLS_MAX", portion)
            replace(limiters, "MOVES_MAX", portion)
            replace(workers, "ABANDONED_MIN", self._scenario.abandoned)
            for module in (parts, memory, workers):
                replace(module, "set", KeptSet)
            yield

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
            case "suicide":
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(0.25)
            case "cancel_me":
                with self.auditor.asked("cancel", [ctx.job_id]):
                    await self._queue.backend.cancel(ctx.job_id)
                await asyncio.sleep(0.5)
            case "delete_me":
                await self._queue.backend.delete(ctx.job_id)
            case "child":
                child = await self.submit_child()
                if child is not None:
                    async with asyncio.timeout(0.5):
                        await self._queue.backend.wait(child)
            case _:
                await asyncio.sleep(amount)
                raise _error(verb, amount)

    async def _resist(self, verb: str, amount: float) -> None:
        """Wait until cancelled; then go on all the same."""
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
            raise AssertionError("a thread or process was to run it")

        return act

    async def play_offloaded(self, lane: str, call: Call, on_progress: Callable[..., None]) -> Success | Failure:
        """Do what a thread or a process does with a call: its verdict comes back, whatever the handler does."""
        n = call.kwargs["n"]
        verb, _, number = _act_of(call.kwargs["acts"], call.attempt).partition(":")
        try:
            with self.auditor.attempts.run(self.auditor.known[call.job_id], call.attempt, n) as attempt:
                for path in (file.path for files in call.files.values() for file in files):
                    self.auditor.check(path in self.disk.get(os.path.dirname(path), {}), f"the input {path} is gone")
                await asyncio.sleep(float(number or 0))
                if verb == "crash":
                    attempt.how = ErrorCode.WORKER_CRASHED if lane == "process" else ErrorCode.HANDLER_ERROR
                    return Failure(ErrorCode(attempt.how), "ended by signal 9")
                return await self._play_there(call, verb, float(number or 0), on_progress)
        except Exception as error:
            return failure_of(error, call.retry_on, call.reject_on)

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
        """Return the result files that a held record names, and the disk hasn't."""
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


async def _no_child() -> str | None:
    raise JobQueueError("nobody to submit it")


class SeededPool:
    """Stands for the pool of threads or of processes. It has so many seats, and the gates must keep to them."""

    def __init__(self, stage: Stage, lane: str, *, size: int, on_strength: Callable[[int], None] | None = None) -> None:
        self._stage = stage
        self._lane = lane
        self._size = size
        self._taken = 0

    def start(self, handlers: object, init: object = None) -> None:
        pass

    async def run(self, call: Call, *, on_progress: Callable[[float, str | None], None]) -> Success | Failure:
        self._taken += 1
        self._stage.auditor.check(
            self._taken <= self._size, f"{self._taken} calls at once in {self._size} {self._lane}s"
        )
        try:
            return await self._stage.play_offloaded(self._lane, call, on_progress)
        finally:
            self._taken -= 1

    async def close(self) -> None:
        self._stage.auditor.check(not self._taken, f"{self._taken} calls run on when the {self._lane} pool is closed")


class SeededSpool(spool.Spool):
    """The spool, with a disk that is a dict, and slow."""

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

    def untidy(self) -> str:
        """Return what is left of jobs' files; once no record is held, that is nothing."""
        left: dict[str, dict[Any, Any]] = {"counted": self._held, "handed out": self._handed, "on disk": self._disk}
        told = [f"{what}: {list(folders)}" for what, folders in left.items() if folders]
        return "; ".join([*told, f"{self._bytes_used} bytes"] if self._bytes_used else told)
