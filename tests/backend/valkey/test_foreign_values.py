"""Foreign values in the library: the audit and `foreign` name their keys, and the calls of other queues go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.valkey.foreign_values import told
from tests.backend.valkey.function_client import SECRET, TTL_MS, Client, spec
from tests.stores import FunctionError, client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.store import Store


@pytest.fixture
def jq(store: Store) -> Iterator[Client]:
    """A client of a store that is not in order at the end."""
    client = Client(client_of(store))
    client.call("join", "p1", TTL_MS, "server", SECRET, "host:1", 0)
    client.set_queue()
    yield client
    client.client.close()


@pytest.mark.parametrize("name", ["q:default", "meta", "queues", "a:default", "lost", "e"])
def test_the_audit_and_the_function_name_a_foreign_value(jq: Client, name: str) -> None:
    jq.submit("a")
    assert jq.call("foreign")[1] == []
    key = f"{jq.prefix}{name}"
    jq.client.delete(key)
    jq.client.setbit(key, 1, 1)
    assert f"{key} is a string and should be a " in told(jq.call("foreign")[1])
    assert jq.audit()[0].startswith(f"{key} is a string and should be a ")


def test_ticks_leases_and_counts_pass_over_a_queue_with_a_foreign_value(jq: Client) -> None:
    jq.set_queue("other")
    jq.submit("a", queue="other")
    jq.submit("b", options=spec(delay_ms=10))
    jq.client.set(f"{jq.prefix}q:default", "foreign")
    jq.pass_time(10)
    assert jq.call("tick", 100)[2] == [b"b"]
    assert jq.lease("p1", 64, 0, "default", "other") == [("a", 1)]
    assert len(jq.call("counts")[2]) == 2
    assert [each[0] for each in jq.call("config")[2]] == [b"other"]
    assert jq.client.get(f"{jq.prefix}q:default") == b"foreign"


def test_a_record_that_was_overwritten_is_an_error_and_not_absent(jq: Client) -> None:
    jq.submit("a")
    assert jq.call("look", 0, "never")[1] is None
    jq.client.delete(f"{jq.prefix}j:a")
    jq.client.hset(f"{jq.prefix}j:a", "field", "foreign")
    with pytest.raises(FunctionError, match="WRONGTYPE"):
        jq.call("look", 0, "a")
