"""A queue whose key another program has overwritten, and that is set again once the key is deleted."""

from __future__ import annotations

import pytest

from tests.backend.valkey.function_client import Client, spec
from tests.backend.valkey.test_library_fair import in_group, leased, tick_all
from tests.stores import FunctionError

UNLIMITED = (0, 0, 0, 0)


def lose(jq: Client, name: str = "default") -> None:
    """Delete the key of a queue."""
    jq.client.delete(f"{jq.prefix}q:{name}")


def fill(jq: Client) -> None:
    """Have a running job, two that are delayed, and ready ones of three kinds, beside another queue."""
    jq.set_queue("other")
    jq.call("set_types", 2, "mail", "", 5, 0, 0, 0, *UNLIMITED, "each", "", *UNLIMITED, 5, 0, 0, 0)
    for number in range(4):
        group = "ab"[number % 2]
        jq.submit(f"plain-{number}", options=in_group(group))
        jq.submit(f"mail-{number}", options=in_group(group, kind="mail", limited=1))
        jq.submit(f"each-{number}", options=in_group(group, kind="each", limited=2))
    jq.submit("late-0", "late-1", options=spec(delay_ms=5_000))
    jq.submit("beside", queue="other")
    jq.submit("beside-late", options=spec(delay_ms=5_000), queue="other")
    assert jq.lease("p1", 1, 0, "other") == [("beside", 1)]


@pytest.mark.parametrize("discipline", ["fifo", "lifo", "priority", "fair"])
@pytest.mark.parametrize("meanwhile", [None, "overwritten", "absent"])
def test_a_queue_that_is_set_again_counts_its_jobs_and_runs_each(
    jq: Client, discipline: str, meanwhile: str | None
) -> None:
    settings = {"discipline": discipline, "capacity": 100, "workers": 100}
    jq.set_queue(**settings)
    fill(jq)
    started = leased(jq, 4)
    lose(jq)
    if meanwhile == "overwritten":
        jq.client.set(f"{jq.prefix}q:default", "x")
    if meanwhile is not None:
        jq.call("give_back", "p1", 1, started[0], 1)
        jq.call("cancel", "", 1, "late-1")
        jq.ack(started[1])
        lose(jq)
    jq.set_queue(**settings)
    gone = 0 if meanwhile is None else 1
    tick_all(jq)
    told = jq.of_queue()
    assert (told["delayed"], told["queued"], told["running"]) == (2 - gone, 8 + gone, 4 - 2 * gone)
    assert jq.audit() == []
    jq.submit("new")
    jq.pass_time(5_000)
    tick_all(jq)
    assert len(leased(jq)) == 8 + gone + 1 + 2 - gone
    assert jq.audit() == []


def test_its_numbers_go_on_beyond_those_of_before(jq: Client) -> None:
    jq.submit("old-0", "old-1")
    lose(jq)
    jq.set_queue()
    jq.submit("new-0", "new-1")
    assert leased(jq) == ["old-0", "old-1", "new-0", "new-1"]


def test_a_thousand_jobs_are_sorted_in_by_ticks(jq: Client) -> None:
    settings = {"discipline": "fair", "capacity": 2000, "workers": 2000}
    jq.set_queue(**settings)
    for number in range(1000):
        jq.submit(f"j{number}", options=in_group(f"g{number % 300}"))
    lose(jq)
    jq.set_queue(**settings)
    assert 1 < tick_all(jq) < 40
    assert jq.audit() == []
    assert jq.of_queue()["queued"] == 1000


def test_a_new_queue_beside_a_lost_one_counts_nothing(jq: Client) -> None:
    jq.submit("a", "b")
    lose(jq)
    jq.set_queue("new")
    assert jq.of_queue("new")["queued"] == 0
    jq.set_queue()
    assert jq.of_queue()["queued"] == 2


def test_two_lost_queues_are_refused_with_both_remedies(jq: Client) -> None:
    jq.set_queue("other")
    jq.submit("a")
    lose(jq)
    lose(jq, "other")
    with pytest.raises(FunctionError, match=r"default and other are gone.*restore the store from a backup"):
        jq.set_queue()
    assert jq.client.exists(f"{jq.prefix}q:default") == 0
    jq.client.flushall()
