"""Fixtures of tests with a real store: one server for all tests of a process, emptied before each.

Without a server on this machine such a test is skipped, and says what to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bench.store import MISSING, Store, executable
from jobqueue.backend.valkey import library

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis as redis_module


@pytest.fixture(scope="session")
def shared_store() -> Iterator[Store]:
    """A server on a Unix socket, which keeps nothing on the disk."""
    if executable() is None:
        pytest.skip(MISSING)
    # Scripts of the audit read everything, and may take longer than a server allows by default.
    with Store("--busy-reply-threshold", "60000") as store:
        yield store


@pytest.fixture
def store(shared_store: Store) -> Store:
    """The server, empty."""
    client = client_of(shared_store)
    client.flushall()
    client.function_flush()
    client.close()
    return shared_store


def client_of(store: Store) -> redis_module.Redis:
    """Return a blocking client of a store, which takes and gives bytes."""
    redis = pytest.importorskip("redis", reason="the package redis is not installed: pip install -e '.[valkey]'")
    client: redis_module.Redis = redis.Redis.from_url(store.url)
    return client


class FunctionError(Exception):
    """A function rejected its arguments; its text is the argument."""


class Functions:
    """The library in a store, called one function after another. Its time stands still until it is set.

    Args:
        namespace: That of the keys.
        scripts: Load the bodies as scripts.
        test: The variant for tests.
        text: The library, if it is another one.

    Attributes:
        calls: The number of calls.
    """

    def __init__(
        self,
        client: redis_module.Redis,
        namespace: str = "t",
        *,
        scripts: bool = False,
        test: bool = True,
        text: str | None = None,
    ) -> None:
        self.client = client
        self.prefix = f"{{{namespace}}}:"
        self.calls = 0
        self._test = test
        self._scripts: dict[str, str] = {}
        if scripts:
            for name in library.functions(test=test):
                self._scripts[name] = str(client.script_load(library.script(name, test=test)))
        elif not client.function_list(library=library.library_name(test=test)):
            client.function_load(text or library.text(test=test))
        if test:
            self.set_now(1_000_000)

    def set_now(self, now_ms: int) -> None:
        self.now = now_ms
        self.client.set(f"{self.prefix}test_now_ms", now_ms)

    def pass_time(self, ms: int) -> None:
        self.set_now(self.now + ms)

    def call(self, name: str, *args: str | bytes | int) -> list[Any]:
        """Call a function and return its reply. Raises FunctionError."""
        import redis

        self.calls += 1
        try:
            if self._scripts:
                reply = self.client.evalsha(self._scripts[name], 1, self.prefix, *args)
            elif library.functions(test=self._test)[name].no_writes:
                reply = self.client.fcall_ro(library.full_name(name, test=self._test), 1, self.prefix, *args)
            else:
                reply = self.client.fcall(library.full_name(name, test=self._test), 1, self.prefix, *args)
        except redis.ResponseError as error:
            raise FunctionError(str(error)) from None
        return list(reply)

    def audit(self) -> list[str]:
        """Return what is wrong in the store."""
        return [fault.decode() for fault in self.call("audit")[1:]]
