"""WorkerProcess: one process of the pool, as seen from the loop: its connection, its standard error and its call.

Rules:

1. It is prepared first: it imports its handlers' modules, then answers READY. Before that it gets no call.
2. It has one call at a time. Every command carries a new token, and only an answer under that token counts.
3. A process that sends an invalid message (`messages.py`) is killed; its call, if any, fails as `worker_crashed`.
4. A question within a call (`questions.py`) is answered before the next one is taken.
5. The fork server reports its exit. Until then a silent connection is no outcome.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Protocol

import msgspec

from jobqueue.core.report import ErrorCode, Failure
from jobqueue.log import event_logger, fields_of
from jobqueue.runtime.pools import log_relay, messages
from jobqueue.runtime.pools.messages import InvalidMessage

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterable

    from jobqueue.context import ProgressSink
    from jobqueue.core.report import Success
    from jobqueue.runtime.pools.call import Call
    from jobqueue.runtime.pools.stderr import ErrorPipe

log = event_logger(__name__)

GONE = "the process that ran the job is gone: "

_READ_BYTES = 2**18


class Owner(Protocol):
    """The pool, as far as a process needs it."""

    def on_ready(self, process: WorkerProcess) -> None:
        """It is prepared, and may have a call."""

    def on_given_up(self, process: WorkerProcess) -> None:
        """It has closed its connection, or was killed for an invalid message; its exit is not reported yet."""


class WorkerProcess:
    """One process of the pool: its connection, its standard error, and the call that it has.

    Args:
        connection, errors: Its own from now on; `end` closes them.

    Attributes:
        init_failure: The exception of its initializer, if any.
    """

    def __init__(
        self,
        pid: int,
        connection: socket.socket,
        errors: ErrorPipe,
        *,
        owner: Owner,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.pid = pid
        self.alive = True
        self.ready = False
        self.used = False
        self.init_failure: str | None = None
        self.errors = errors
        errors.about = self._about
        self._owner = owner
        self._connection = connection
        self._loop = loop
        self._started_at = loop.time()
        self._inbox = messages.Inbox()
        self._outgoing = bytearray()
        self._call: Call | None = None
        self._future: asyncio.Future[Success | Failure] | None = None
        self._on_progress: ProgressSink | None = None
        self._answer: Callable[[Call, bytes], Awaitable[bytes]] | None = None
        self._answering: asyncio.Task[None] | None = None
        self._prepare_token = os.urandom(messages.TOKEN_BYTES)
        self._call_token = b""
        self._bounds = {self._prepare_token: 0}
        loop.add_reader(connection, self._on_readable)

    @property
    def busy(self) -> bool:
        return self._future is not None

    @property
    def job_id(self) -> str | None:
        """The job of its call; None: it has none."""
        return self._call.job_id if self.busy and self._call is not None else None

    @property
    def age_s(self) -> float:
        return self._loop.time() - self._started_at

    def prepare(self, modules: Iterable[str], init: bytes | None) -> None:
        """Let it import these modules and call `init`, a pickled function; then it calls the owner's `on_ready`."""
        level = logging.getLogger().getEffectiveLevel()
        preparations = messages.Preparations(level, list(modules), init)
        self._send(messages.PREPARE, self._prepare_token, msgspec.msgpack.encode(preparations))

    async def carry_out(
        self,
        call: Call,
        body: bytes,
        on_progress: ProgressSink,
        answer: Callable[[Call, bytes], Awaitable[bytes]] | None = None,
    ) -> Success | Failure:
        """Run a call and return its outcome.

        Args:
            body: The call, pickled.
            answer: Answers a question of the handler, or raises InvalidMessage; None: it may ask none.
        """
        self._call, self._on_progress, self._answer = call, on_progress, answer
        future: asyncio.Future[Success | Failure] = self._loop.create_future()
        self._future = future
        self._call_token = os.urandom(messages.TOKEN_BYTES)
        self._bounds[self._call_token] = call.result_bytes_max + messages.SMALL_BYTES_MAX
        self.used = True
        self.errors.forget()
        self._send(messages.CALL, self._call_token, body)
        return await future

    def kill(self) -> None:
        """Kill it and its process group; the fork server kills what else it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def end(self, how: str, code: ErrorCode = ErrorCode.WORKER_CRASHED) -> None:
        """Close the connection; this is the outcome of the call under way, if any."""
        self.alive = False
        self._loop.remove_reader(self._connection)
        self._loop.remove_writer(self._connection)
        self._connection.close()
        self._conclude(Failure(code, GONE + how))
        self.errors.close()

    def read_all(self) -> None:
        """Read its last messages."""
        while self._read():
            pass
        self.errors.read_all()

    def _about(self) -> dict[str, object]:
        if self._call is None:
            return {"pid": self.pid}
        return {"pid": self.pid, **fields_of(self._call)}

    # -- sending

    def _send(self, kind: bytes, token: bytes, body: bytes) -> None:
        waiting = bool(self._outgoing)
        self._outgoing += messages.HEAD.pack(token, len(body), kind)
        self._outgoing += body
        if not waiting:
            self._write()
            if self._outgoing:
                self._loop.add_writer(self._connection, self._on_writable)

    def _on_writable(self) -> None:
        self._write()
        if not self._outgoing:
            self._loop.remove_writer(self._connection)

    def _write(self) -> None:
        try:
            sent = self._connection.send(self._outgoing)
        except BlockingIOError:
            return
        except OSError:  # it is dead, which the fork server is about to tell
            sent = len(self._outgoing)
        del self._outgoing[:sent]

    # -- receiving

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            # Dead, or deaf because its handler has closed our socket.
            self._give_up()
            return False
        try:
            for token, kind, body in self._inbox.feed(data, self._bounds):
                self._hear(token, kind, body)
                if not self.alive:
                    return False
        except InvalidMessage as invalid:
            self._refuse(invalid)
        return self.alive

    def _hear(self, token: bytes, kind: bytes, body: bytes) -> None:
        if kind == messages.RECORD:
            log_relay.hand_on(log_relay.record_of(body, pid=self.pid, attempt=self._call))
        elif kind == messages.DROPPED:
            log.warning("process.log_dropped", **self._about(), count=log_relay.dropped_of(body))
        elif token == self._prepare_token:
            self._hear_prepared(kind, body)
        elif kind == messages.PROGRESS:
            fraction, note = messages.progress_of(body)
            if self._on_progress is not None:
                self._on_progress(fraction, note)
        elif kind == messages.QUESTION:
            self._hear_question(body)
        else:
            assert self._call is not None, "the token of a call is valid only while it is under way"
            self._conclude(messages.outcome_of(kind, body, self._call))

    def _hear_prepared(self, kind: bytes, body: bytes) -> None:
        if self.ready or kind not in (messages.READY, messages.FAILURE):
            raise InvalidMessage(f"a message of an unknown kind, {kind!r}")
        if kind == messages.FAILURE:
            failure = messages.failure_of_body(body)
            self.init_failure = failure.message
            log.error("process.init_failed", pid=self.pid, message=failure.message, traceback=failure.traceback)
            return
        self.ready = True
        self._owner.on_ready(self)

    def _hear_question(self, question: bytes) -> None:
        if self._answering is not None or self._answer is None or self._call is None:
            raise InvalidMessage("a question out of turn")
        self._answering = self._loop.create_task(self._answer_one(self._answer(self._call, question), self._call_token))

    async def _answer_one(self, answering: Awaitable[bytes], token: bytes) -> None:
        try:
            answer = await answering
        except InvalidMessage as invalid:
            self._refuse(invalid)
        else:
            self._answering = None
            self._send(messages.ANSWER, token, answer)

    def _refuse(self, invalid: InvalidMessage) -> None:
        log.error("process.invalid_message", **self._about(), reason=str(invalid))
        detail = f"the process that ran the job sent an invalid message ({invalid}), so it was killed"
        self._conclude(Failure(ErrorCode.WORKER_CRASHED, detail))
        self._give_up()

    def _give_up(self) -> None:
        if self.alive:
            self.alive = False
            self._loop.remove_reader(self._connection)
            self.kill()
            self._owner.on_given_up(self)

    def _conclude(self, outcome: Success | Failure) -> None:
        future, self._future, self._on_progress = self._future, None, None
        answering, self._answering = self._answering, None
        if answering is not None and answering is not asyncio.current_task():
            answering.cancel()
        self._bounds.pop(self._call_token, None)
        if future is not None and not future.done():
            self.errors.read_all()  # before the next job has this process
            future.set_result(outcome)
        self._call = None
