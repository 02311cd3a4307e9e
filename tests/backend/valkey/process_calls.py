"""Calls of a real store that block until it has answered, so that a test may run under virtual time.

Before each call the store's clock is set to the loop's. What it publishes comes with the next turn of the loop.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.valkey import library
from jobqueue.backend.valkey.call_figures import CallFigures
from jobqueue.backend.valkey.calls import CallFailed
from jobqueue.errors import StoreUnavailable
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.store import Store
    from jobqueue.backend.valkey.calls import Argument, Reply, Watcher


Connect = Callable[[], "ProcessCalls"]
"""Makes further calls of one namespace, which are ended after the test."""

_in_namespace: dict[str, list[ProcessCalls]] = {}
"""All calls by the prefix of their keys: each hears what the calls of the others have published."""


class ProcessCalls:
    """The calls of one backend.

    Attributes:
        lose: Returns whether the reply of a call is lost, though it was done.
        out: No call is done.
        deaf: Nothing that is published comes.
        fails: Returns whether a function fails in the store.
        holds: Returns whether the reply of a call, which is done, comes with `release` only.
        twice: Each call is sent twice, as it is where a reply was lost, and the second reply counts.
        asked: The names of all calls.
    """

    server_id = "blocking"

    def __init__(self, store: Store, namespace: str) -> None:
        self._client = client_of(store)
        self._prefix = f"{{{namespace}}}:"
        if library.library_name(test=True).encode() not in str(self._client.function_list()).encode():
            self._client.function_load(library.text(test=True))
        _in_namespace.setdefault(self._prefix, []).append(self)
        self._pubsub: Any = self._client.pubsub()  # type: ignore[no-untyped-call]  # redis-py's own
        self._watcher: Watcher | None = None
        self.lose: Callable[[str], bool] = lambda function: False
        self.fails: Callable[[str], bool] = lambda function: False
        self.holds: Callable[[str], bool] = lambda function: False
        self._held: list[tuple[asyncio.Future[Any], Any]] = []
        self.out = self.deaf = self.twice = False
        self.asked: list[str] = []
        self.figures = CallFigures()

    async def open(self) -> None:
        """Nothing: it is connected already."""

    def call(
        self, function: str, args: Sequence[Argument], *, durable: bool = False, patience_s: float | None = None
    ) -> asyncio.Future[Reply]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if self.out:
            future.set_exception(StoreUnavailable("the store is out", 1.0))
            return future
        self.asked.append(function)
        if self.fails(function):
            future.set_exception(CallFailed(function, "a fault"))
            return future
        try:
            for _ in range(1 + self.twice):
                reply = self._call(function, args, round(loop.time() * 1000))
            for each in _in_namespace[self._prefix]:
                each._hear()
        except CallFailed as error:
            future.set_exception(error)
            return future
        if self.lose(function):
            future.set_exception(StoreUnavailable("the reply is lost", 1.0))
        elif self.holds(function):
            self._held.append((future, reply))
        else:
            future.set_result(reply)
        return future

    def release(self) -> None:
        """Bring the replies that were held."""
        held, self._held = self._held, []
        for future, reply in held:
            future.set_result(reply)

    def fail_held(self, error: Exception) -> None:
        """Bring an error in place of the replies that were held."""
        held, self._held = self._held, []
        for future, _ in held:
            future.set_exception(error)

    def _call(self, function: str, args: Sequence[Argument], now_ms: int) -> Any:
        redis = pytest.importorskip("redis")
        name, reads = library.full_name(function, test=True), library.functions(test=True)[function].no_writes
        with self._client.pipeline(transaction=False) as pipe:
            if now_ms:
                pipe.set(f"{self._prefix}test_now_ms", now_ms)
            (pipe.fcall_ro if reads else pipe.fcall)(name, 1, self._prefix, *args)
            reply: Any = pipe.execute(raise_on_error=False)[-1]
        if isinstance(reply, redis.ResponseError):
            raise CallFailed(function, str(reply))
        return reply

    def _hear(self) -> None:
        """Take what was published so far."""
        watcher = self._watcher
        if watcher is None:
            return
        self._pubsub.ping()
        while True:
            message = self._pubsub.get_message(timeout=1.0)
            if message is None or message["type"] == "pong":
                return
            if message["type"] == "message":
                channel, data = message["channel"].decode(), message["data"]
                if not self.deaf:
                    asyncio.get_running_loop().call_soon(watcher.woken, channel, data)

    def refusal(self) -> StoreUnavailable | None:
        return StoreUnavailable("the store is out", 1.0) if self.out else None

    def audit(self) -> list[str]:
        """Return what is wrong in the store."""
        return [fault.decode() for fault in self._call("audit", [], 0)[1:]]

    def empty(self) -> None:
        """Remove all that the store holds."""
        self._client.flushall()

    def state(self) -> tuple[str | None, float]:
        return "out" if self.out else None, 0.0

    def listen(self, watcher: Watcher, *channels: str) -> None:
        self._watcher = watcher
        self._pubsub.unsubscribe()
        self._pubsub.subscribe(*channels)

    def cut(self) -> None:
        """Tell the backend that the connection is lost."""
        if self._watcher is not None:
            self._watcher.disconnected("cut")

    def reconnect(self) -> None:
        """Tell the backend that the connection is a new one."""
        if self._watcher is not None:
            self._watcher.connected(self.server_id)

    async def close(self) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        """End the connections."""
        self._watcher = None
        if self in _in_namespace.get(self._prefix, ()):
            _in_namespace[self._prefix].remove(self)
        self._pubsub.close()
        self._client.close()


def namespace() -> str:
    """Return a name that no other test has."""
    return os.urandom(6).hex()
