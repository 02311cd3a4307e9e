"""The simulator: answers questions of `what_if` in a process of its own, one at a time.

Rules:

1. The event loop starts no process and waits for none: a thread does, and the loop gets the outcome.
2. A question is dropped once its request is gone: its process is killed.
3. A process that takes much longer than its question allows is killed too: the machine is too busy for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING

import msgspec

from jobqueue.log import event_logger
from jobqueue.runtime.pools.child import search_path
from jobqueue.runtime.pools.fork_server import how_it_ended
from jobqueue.runtime.simulator_child import NOT_MEASURED, command
from jobqueue.what_if.measured import NotMeasured

if TYPE_CHECKING:
    from jobqueue.what_if.question import Question

log = event_logger(__name__)

TIME_S = 10.0
"""Seconds that a simulation takes at most, its start aside."""

EXTRA_S = 5.0
"""Seconds for the start and the end of its process, on a busy machine."""


STDERR_MAX = 2000


class SimulatorBusy(Exception):
    """One simulation runs already."""


class SimulationFailed(Exception):
    """The process ended without an answer; the message says how."""


class Simulator:
    """Runs one simulation at a time."""

    def __init__(self) -> None:
        self._run: _Run | None = None

    @property
    def busy(self) -> bool:
        return self._run is not None

    async def answer(self, question: Question) -> bytes:
        """Return the forecast, as JSON; a cancelled call ends the process.

        Raises:
            SimulatorBusy: Another question is being answered.
            NotMeasured: The history has too little to answer it.
            SimulationFailed: The process was killed, or failed.
        """
        if self._run is not None:
            raise SimulatorBusy
        run = self._run = _Run(question)
        try:
            return await run.outcome()
        finally:
            run.kill()
            self._run = None

    def stop(self) -> None:
        """End the simulation under way, if any."""
        if self._run is not None:
            self._run.kill()


class _Run:
    """One process, and the thread that waits for it."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[bytes] = self._loop.create_future()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    async def outcome(self) -> bytes:
        threading.Thread(target=self._answer, name="jobqueue-simulation", daemon=True).start()
        return await self._future

    def kill(self) -> None:
        self._killed = True  # first, so that a process that starts just now is killed by the thread
        if self._process is not None:
            self._process.kill()

    def _answer(self) -> None:
        try:
            answer: bytes | Exception = self._ask()
        except Exception as error:
            answer = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._conclude, answer)

    def _conclude(self, answer: bytes | Exception) -> None:
        if self._future.done():
            return
        if isinstance(answer, bytes):
            self._future.set_result(answer)
        else:
            self._future.set_exception(answer)

    def _ask(self) -> bytes:
        """Start the process, ask it, and wait for its end."""
        pipe, time_s = subprocess.PIPE, self._question.time_s + EXTRA_S
        question = msgspec.msgpack.encode(self._question)
        with subprocess.Popen(  # noqa: S603  # its own command
            command(search_path()), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        ) as process:
            self._process = process
            if self._killed:
                process.kill()
            try:
                output, errors = process.communicate(question, timeout=time_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise SimulationFailed(f"it took more than {time_s:g} s") from None
        if process.returncode == NOT_MEASURED:
            raise NotMeasured(output.decode())
        if process.returncode:
            how = how_it_ended(process.returncode)
            if not self._killed:
                log.warning("simulation.failed", reason=how, stderr=errors[-STDERR_MAX:].decode(errors="replace"))
            raise SimulationFailed(how)
        return output
