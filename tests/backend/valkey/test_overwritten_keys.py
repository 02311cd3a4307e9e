"""Overwritten keys in the library: the audit and `overwritten` name them, and the calls of other queues go on."""

from __future__ import annotations

import re
from contextlib import suppress
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.valkey.overwritten_keys import keys_as_text
from tests.backend.valkey.function_client import SECRET, TTL_MS, Client, spec
from tests.stores import FunctionError, client_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.store import Store

KEYS_OF_A_QUEUE = ("q:default", "a:default", "qt:default", "r:default:~", "r:default:~\1\0", "fr:default:~")
NOT_LOOKED_AT = {
    "o": "what is set aside, for a moment",
    "gg": "of a single group",
    **dict.fromkeys(("j", "ks", "arg", "res", "his"), "of a single job"),
    "ce": "of a single caller",
    **dict.fromkeys(("p", "y", "l", "stop"), "of a single process"),
    **dict.fromkeys(("op", "db"), "for a minute"),
    "ev:on": "a text, which any program may have written",
}


@pytest.fixture
def jq(store: Store) -> Iterator[Client]:
    """A client of a store that is not in order at the end."""
    client = Client(client_of(store))
    client.call("join", "p1", TTL_MS, "server", SECRET, "host:1", 0)
    client.set_queue()
    yield client
    client.client.close()


def overwrite(jq: Client, name: str) -> str:
    """Give a key the value of another program; return it."""
    key = f"{jq.prefix}{name}"
    jq.client.delete(key)
    jq.client.setbit(key, 1, 1)
    return key


def lua(name: str) -> str:
    return (files("jobqueue.backend.valkey") / "lua" / f"{name}.lua").read_text()


def test_each_kind_of_key_is_looked_at_or_excepted_by_name() -> None:
    header = lua("unit").partition("-- The keys,")[2].partition("\n\nlocal")[0].splitlines()[2:]
    named = {name for line in header for name in re.split(", ", re.split(r"  +", line[5:])[0])}
    kinds = {re.sub(r":[^a-z].*|:$|<.*", "", name) for name in named}
    tables = lua("overwritten").partition("local function")[0]
    looked_at = set(re.findall(r"\b(\w+):?(?:'\])? = '", tables))
    assert len(kinds) > 40
    assert kinds - looked_at == set(NOT_LOOKED_AT)
    assert looked_at - kinds == set()


@pytest.mark.parametrize(
    "name",
    [
        *("q:default", "meta", "queues", "types", "a:default", "qt:default", "lost", "e", "fn:default", "g:mail"),
        *("r:default:~", "r:default:~thread", "r:default:mail", "fr:default:~", "go:default:mail", "gn:default:mail"),
    ],
)
def test_the_audit_and_the_function_name_an_overwritten_key(jq: Client, name: str) -> None:
    jq.call("set_types", 1, "mail", "", 1, 0, 0, 0, 0, 0, 0, 0)
    jq.submit("a")
    assert jq.call("overwritten")[1] == []
    key = overwrite(jq, name)
    assert f"{key} is a string and should be a " in keys_as_text(jq.call("overwritten")[1])
    assert jq.audit()[0].startswith(f"{key} is a string and should be a ")


def test_ticks_leases_and_counts_pass_over_a_queue_with_an_overwritten_record(jq: Client) -> None:
    jq.set_queue("other")
    jq.submit("a", queue="other")
    jq.submit("b", options=spec(delay_ms=10))
    jq.client.set(f"{jq.prefix}q:default", "of another program")
    jq.pass_time(10)
    assert jq.call("tick", 100)[2] == [b"b"]
    assert jq.lease("p1", 64, 0, "default", "other") == [("a", 1)]
    assert len(jq.call("counts")[2]) == 2
    assert [each[0] for each in jq.call("config")[2]] == [b"other"]
    assert jq.client.get(f"{jq.prefix}q:default") == b"of another program"


@pytest.mark.parametrize("discipline", ["fifo", "fair"])
@pytest.mark.parametrize("name", KEYS_OF_A_QUEUE)
@pytest.mark.parametrize("queues", [("default", "other"), ("other", "default")])
def test_leases_and_counts_pass_over_a_queue_with_an_overwritten_key(
    jq: Client, name: str, discipline: str, queues: tuple[str, str]
) -> None:
    jq.set_queue(discipline=discipline)
    jq.set_queue("other", discipline=discipline)
    jq.submit("a")
    jq.submit("b", queue="other")
    overwrite(jq, name)
    started = [job_id for job_id, _ in jq.lease("p1", 64, 0, *queues)]
    assert "b" in started
    assert len(jq.call("counts")[2]) == 2
    jq.submit("c", queue="other")
    assert jq.lease("p1", 64, 0, *queues) == [("c", 1)]


@pytest.mark.parametrize(
    ("discipline", "name"),
    [
        *(("fifo", name) for name in ("q:default", "a:default", "qt:default", "r:default:~")),
        *(("fair", name) for name in ("a:default", "fr:default:~", "r:default:~\1\0")),
    ],
)
def test_counts_name_the_queue_with_an_overwritten_key(jq: Client, discipline: str, name: str) -> None:
    for queue in ("default", "other"):
        jq.set_queue(queue, discipline=discipline)
        jq.submit(f"of-{queue}", queue=queue)
    overwrite(jq, name)
    told = {each[0]: dict(zip(each[1::2], each[2::2], strict=True)) for each in jq.call("counts")[2]}
    assert {queue: pairs[b"overwritten"] for queue, pairs in told.items()} == {b"default": 1, b"other": 0}


@pytest.mark.parametrize("discipline", ["fifo", "fair"])
@pytest.mark.parametrize("name", KEYS_OF_A_QUEUE)
def test_a_tick_that_meets_an_overwritten_key_readies_the_jobs_of_other_queues(
    jq: Client, name: str, discipline: str
) -> None:
    for queue in ("default", "other"):
        jq.set_queue(queue, discipline=discipline)
        jq.submit(f"of-{queue}", options=spec(delay_ms=10), queue=queue)
    overwrite(jq, name)
    jq.pass_time(10)
    with suppress(FunctionError):
        jq.call("tick", 100)
    jq.call("tick", 100)
    assert ("of-other", 1) in jq.lease("p1", 64, 0, "default", "other")


def test_a_record_that_was_overwritten_is_an_error_and_not_absent(jq: Client) -> None:
    jq.submit("a")
    assert jq.call("look", 0, "never")[1] is None
    jq.client.delete(f"{jq.prefix}j:a")
    jq.client.hset(f"{jq.prefix}j:a", "field", "of another program")
    with pytest.raises(FunctionError, match="WRONGTYPE"):
        jq.call("look", 0, "a")
