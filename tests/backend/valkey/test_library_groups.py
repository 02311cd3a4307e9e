"""Limits of groups, as the functions apply them: permits, rates, order, and what a call costs with many groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backend.valkey.function_client import TTL_MS, claims, encode

if TYPE_CHECKING:
    from tests.backend.valkey.function_client import Client

UNLIMITED = (0, 0, 0, 0)
OF_ONE = (1, 0, 0, 0)


def in_group(group: str | None = "g", *, kind: str = "mail", delay_ms: int = 0) -> bytes:
    return encode([kind, "", 2 if group else 0, 0, delay_ms, None, None, None, 3, group])


def set_type(
    jq: Client, *, of_type: tuple[int, ...] = UNLIMITED, of_groups: tuple[int, ...] = OF_ONE, kind: str = "mail"
) -> None:
    jq.call("set_types", 1, kind, "", *of_type, *of_groups)


def keys_of(jq: Client, pattern: str) -> int:
    return len(jq.client.keys(jq.prefix.replace("{", "[{]") + pattern))


def tick_all(jq: Client) -> int:
    """Tick until nothing is due; return how often."""
    calls = 1
    while 0 <= jq.call("tick", 100)[1] <= jq.now:
        calls += 1
    return calls


def test_each_group_runs_no_more_than_its_concurrency_and_holds_no_other_group_up(jq: Client) -> None:
    set_type(jq)
    jq.submit("a", "b", options=in_group("g"))
    jq.submit("c", options=in_group("h"))
    jq.submit("d", "e", options=in_group(None))
    assert [job_id for job_id, _ in jq.lease()] == ["a", "c", "d", "e"]
    assert jq.lease() == []
    jq.ack("a")
    assert jq.lease() == [("b", 1)]
    assert jq.audit() == []


def test_equal_names_of_two_owners_are_two_groups(jq: Client) -> None:
    set_type(jq)
    for owner in ("key:ann", "key:bob", None):
        jq.submit(f"a{owner}", f"b{owner}", options=in_group(), given=claims(owner=owner))
    assert [job_id for job_id, _ in jq.lease()] == ["akey:ann", "akey:bob", "aNone"]
    jq.ack("akey:bob")
    assert jq.lease() == [("bkey:bob", 1)]


def test_a_group_is_the_same_in_all_queues(jq: Client) -> None:
    set_type(jq)
    jq.set_queue("other")
    jq.submit("a", options=in_group())
    jq.submit("b", options=in_group(), queue="other")
    assert jq.lease("p1", 9, 0, "default", "other") == [("a", 1)]
    jq.ack("a")
    assert jq.lease("p1", 9, 0, "default", "other") == [("b", 1)]


def test_a_job_needs_a_permit_of_its_type_and_of_its_group(jq: Client) -> None:
    set_type(jq, of_type=(2, 0, 0, 0))
    for group in "ghi":
        jq.submit(f"{group}1", f"{group}2", options=in_group(group))
    assert jq.lease() == [("g1", 1), ("h1", 1)]
    jq.ack("g1")
    assert jq.lease() == [("g2", 1)], "the first in order of all groups with a permit"
    assert jq.audit() == []


def test_a_group_starts_no_more_often_than_its_rate(jq: Client) -> None:
    set_type(jq, of_groups=(0, 2, 1000, 1))
    jq.submit("a", "b", options=in_group("g"))
    jq.submit("c", options=in_group("h"))
    assert jq.lease() == [("a", 1), ("c", 1)]
    assert jq.call("tick", 100)[1] == jq.now + 500
    jq.pass_time(499)
    jq.call("tick", 100)
    assert jq.lease() == []
    jq.pass_time(1)
    tick_all(jq)
    assert jq.lease() == [("b", 1)]
    assert jq.audit() == []


def test_nothing_is_kept_of_a_group_without_attempts_and_with_a_full_bucket(jq: Client) -> None:
    set_type(jq, of_groups=(1, 1, 1000, 1))
    for number in range(50):
        jq.submit(f"a{number}", options=in_group(f"g{number}"))
    jq.set_queue(workers=100)
    leased = [job_id for job_id, _ in jq.lease()]
    for job_id in leased:
        jq.ack(job_id)
    assert (len(leased), keys_of(jq, "gg:*")) == (50, 50)
    jq.pass_time(1000)
    jq.call("beat", "p1", TTL_MS)
    tick_all(jq)
    assert [keys_of(jq, pattern) for pattern in ("gg:*", "tg", "ga:*", "go:*", "gn:*")] == [0] * 5


def test_a_retry_a_back_off_and_a_loss_of_the_process_give_the_permit_back(jq: Client) -> None:
    set_type(jq)
    jq.submit("a", "b", "c", options=in_group())
    assert jq.lease() == [("a", 1)]
    jq.nack("a", delay_ms=500)
    assert jq.lease() == [("b", 1)]
    jq.nack("b", final=1)
    assert jq.lease() == [("c", 1)]
    jq.call("retry", "", 1, "b")
    jq.call("join", "p2", TTL_MS, "server", b"s" * 32, "", 0)
    jq.pass_time(TTL_MS)
    jq.call("beat", "p2", TTL_MS)
    jq.call("join", "p3", TTL_MS, "server", b"s" * 32, "", 0)
    tick_all(jq)
    assert jq.lease("p3") == [("c", 2)]
    jq.ack("c", 2, process="p3")
    assert jq.lease("p3") == [("b", 2)], "it was sent round again before the backoff of a was over"
    assert jq.audit() == []


def test_a_job_of_a_group_that_is_cancelled_leaves_its_place(jq: Client) -> None:
    set_type(jq)
    jq.submit("a", "b", "c", options=in_group())
    jq.lease()
    jq.call("cancel", "", 1, "b")
    jq.ack("a")
    assert jq.lease() == [("c", 1)]
    assert jq.audit() == []


def test_a_new_discipline_sorts_all_groups_again(jq: Client) -> None:
    set_type(jq)
    jq.set_queue(capacity=1000, workers=1000)
    for number in range(700):
        jq.submit(f"j{number:03d}", options=in_group(f"g{number // 2}"))
    jq.set_queue(discipline="lifo", capacity=1000, workers=1000)
    assert 5 < tick_all(jq) < 40
    assert [job_id for job_id, _ in jq.lease(most=3)] == ["j699", "j697", "j695"]
    assert jq.audit() == []


def test_other_limits_open_groups_that_were_shut(jq: Client) -> None:
    set_type(jq, of_groups=(0, 1, 3_600_000, 1))
    jq.submit("a", "b", options=in_group())
    assert jq.lease() == [("a", 1)]
    set_type(jq, of_groups=(0, 10, 1000, 2))
    tick_all(jq)
    assert jq.lease() == [("b", 1)], "the new rate begins with a full bucket"
    assert jq.audit() == []


def test_nothing_is_kept_of_a_group_that_has_lost_its_rate_and_then_its_last_job(jq: Client) -> None:
    set_type(jq, of_groups=(0, 1, 3_600_000, 1))
    jq.submit("a", "b", options=in_group())
    jq.lease()
    jq.ack("a")
    set_type(jq)
    tick_all(jq)
    jq.call("cancel", "", 1, "b")
    assert [keys_of(jq, pattern) for pattern in ("gg:*", "tg", "ga:*", "go:*", "gn:*")] == [0] * 5
    assert jq.audit() == []


@pytest.mark.parametrize("name", ["g\0", "\0", "g\0h", "~"])
def test_a_group_may_have_any_name(jq: Client, name: str) -> None:
    set_type(jq, of_groups=(5, 0, 0, 0))
    jq.submit("a", "b", "c", options=in_group(name))
    jq.set_queue(discipline="lifo", digest="d2")
    tick_all(jq)
    assert jq.audit() == []
    assert [job_id for job_id, _ in jq.lease()] == ["c", "b", "a"]


def test_a_job_is_cancelled_while_a_thousand_groups_wait_to_be_sorted_in_again(jq: Client) -> None:
    set_type(jq)
    jq.set_queue(capacity=2000)
    for number in range(1000):
        jq.submit(f"j{number}", options=in_group(f"g{number}"))
    jq.set_queue(discipline="lifo", digest="d2", capacity=2000)
    while jq.client.lindex(f"{jq.prefix}resort", 0).endswith(b"\0"):
        jq.call("tick", 100)  # their bundle; they follow it
    assert keys_of(jq, "o:*") > 900
    jq.call("cancel", "", 1, "j999")
    assert jq.audit() == []
    tick_all(jq)
    assert jq.audit() == []
    assert (keys_of(jq, "o*"), keys_of(jq, "resort")) == (0, 0)
    assert jq.lease(most=1) == [("j998", 1)]


def test_no_more_than_a_lower_limit_start_before_the_groups_are_sorted_in_again(jq: Client) -> None:
    set_type(jq, of_groups=(5, 0, 0, 0))
    jq.submit("a", "b", "c", options=in_group())
    assert jq.lease(most=1) == [("a", 1)]
    set_type(jq)
    assert jq.lease() == []
    tick_all(jq)
    assert jq.lease() == []
    jq.ack("a")
    assert jq.lease() == [("b", 1)]
    assert jq.audit() == []


def test_groups_wait_for_the_probe_of_their_type(jq: Client) -> None:
    jq.set_queue(budget=2)
    set_type(jq)
    for group in "ghij":
        jq.submit(group, options=in_group(group))
    assert jq.lease(most=2) == [("g", 1), ("h", 1)]
    jq.nack("g", final=1)
    jq.nack("h", final=1)
    assert jq.lease() == []
    jq.pass_time(1000)
    tick_all(jq)
    assert jq.lease() == [("i", 1)], "one probe, however many groups have a permit"
    jq.ack("i")
    assert jq.lease() == [("j", 1)]
    assert jq.audit() == []


def test_a_quarantined_type_may_take_a_tenth_of_a_queue_with_all_its_groups(jq: Client) -> None:
    jq.set_queue(budget=1, capacity=20)
    set_type(jq)
    jq.submit("a", options=in_group("g"))
    jq.lease()
    jq.nack("a", final=1)
    codes = [jq.submit(group, options=in_group(group)) for group in "hij"]
    assert codes == [[1], [1], [-3]]
    assert jq.submit("f", "g", options=in_group("k", kind="other")) == [1, 1]
    assert jq.audit() == []


def test_one_call_can_not_exceed_the_tenth_of_a_queue_of_a_quarantined_type(jq: Client) -> None:
    jq.set_queue(budget=1, capacity=20)
    set_type(jq)
    jq.submit("a", options=in_group("g"))
    jq.lease()
    jq.nack("a", final=1)
    assert jq.submit("b", "c", "d", "e", options=in_group("h")) == [1, 1, -3, -3]
    assert jq.audit() == []


def test_counts_tell_the_running_and_waiting_jobs_of_all_groups_of_a_type(jq: Client) -> None:
    set_type(jq, of_groups=(1, 6, 60_000, 2))
    jq.submit("a", options=in_group("g"))
    jq.pass_time(10)
    jq.submit("b", "c", options=in_group("g"))
    jq.submit("d", options=in_group("h"))
    assert jq.of_queue()["oldest"] == jq.now - 10
    assert jq.lease() == [("a", 1), ("d", 1)]
    found = jq.of_type("mail")
    assert (found["groups_running"], found["groups_waiting"]) == (2, 2)
    assert [found[f"group_{name}"] for name in ("concurrency", "rate_count", "rate_period_ms", "burst")] == [
        *(1, 6, 60_000, 2),
    ]
    assert jq.of_queue()["oldest"] == jq.now


def test_the_cost_of_a_lease_and_an_ack_does_not_depend_on_the_number_of_groups(jq: Client) -> None:
    """A type that shuts and opens moves one entry, not one for each group."""

    def commands_with(groups: int) -> int:
        kind = f"of{groups}"
        jq.set_queue(kind, capacity=5000)
        set_type(jq, of_type=(1, 0, 0, 0), kind=kind)
        for number in range(groups):
            jq.submit(f"{kind}-{number}", options=in_group(f"g{number}", kind=kind), queue=kind)
        before = jq.client.info("commandstats")
        assert jq.lease("p1", 1, 0, kind) == [(f"{kind}-0", 1)]
        jq.ack(f"{kind}-0")
        after = jq.client.info("commandstats")
        return sum(each["calls"] - before.get(name, {"calls": 0})["calls"] for name, each in after.items())

    assert abs(commands_with(1000) - commands_with(10)) <= 2
