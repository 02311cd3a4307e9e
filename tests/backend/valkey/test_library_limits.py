"""Limits, quarantine, lanes and known types, as the functions apply them; settings, lists, counts and events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backend.valkey.function_client import SECRET, TTL_MS, claims, pairs, spec
from tests.stores import FunctionError

if TYPE_CHECKING:
    from tests.backend.valkey.function_client import Client

LIMITED = spec("lim", limited=True)
UNGROUPED = (0, 0, 0, 0)
"""No limits of groups, in `set_types`."""


# Limits


def test_a_type_runs_no_more_than_its_concurrency_and_holds_no_other_type_up(jq: Client) -> None:
    jq.call("set_types", 1, "lim", "", 2, 0, 0, 0, *UNGROUPED)
    jq.submit("a", "b", "c", options=LIMITED)
    jq.submit("d")
    assert jq.lease() == [("a", 1), ("b", 1), ("d", 1)]
    assert jq.of_type("lim")["waiting"] == 1
    assert jq.of_queue()["shut"] == 1
    jq.ack("b")
    assert jq.lease() == [("c", 1)]


def test_a_type_starts_no_more_often_than_its_rate(jq: Client) -> None:
    jq.call("set_types", 1, "lim", "", 0, 2, 1000, 1, *UNGROUPED)
    jq.submit("a", "b", options=LIMITED)
    assert jq.lease() == [("a", 1)]
    assert jq.of_type("lim")["free_at"] == jq.now + 500
    jq.pass_time(499)
    jq.call("tick", 100)
    assert jq.lease() == []
    jq.pass_time(1)
    assert jq.call("tick", 100)[1] > jq.now
    assert jq.lease() == [("b", 1)]


@pytest.mark.parametrize("rate", [(1, 1000, 1), (3, 1000, 3), (7, 1000, 2), (7, 60_000, 1), (11, 3_600_000, 4)])
def test_a_tick_at_the_instant_of_the_next_token_opens_the_type(jq: Client, rate: tuple[int, int, int]) -> None:
    jq.set_queue(capacity=1000, workers=1000)
    jq.call("set_types", 1, "lim", "", 0, *rate, *UNGROUPED)
    jq.submit(*(f"j{number}" for number in range(40)), options=LIMITED)
    started = len(jq.lease())
    assert started == rate[2]
    while started < 40:
        jq.set_now(jq.of_type("lim")["free_at"])
        jq.call("beat", "p1", TTL_MS)
        assert jq.call("tick", 100)[1] > jq.now
        taken = len(jq.lease())
        assert taken == 1
        started += taken
    tokens = 40 - rate[2]
    # Instants are whole milliseconds: each start may be one late.
    assert 0 <= jq.now - 1_000_000 - tokens * rate[1] / rate[0] <= tokens


def test_a_quarantined_type_waits_for_its_probe(jq: Client) -> None:
    jq.set_queue(budget=2)
    jq.submit("a", "b", "c", "d", "e", options=spec(attempts=1))
    assert jq.lease(most=2) == [("a", 1), ("b", 1)]
    jq.nack("a")
    jq.nack("b")
    assert jq.of_type("echo")["until"] == jq.now + 1000
    assert jq.lease() == []
    jq.pass_time(1000)
    jq.call("tick", 100)
    assert jq.lease() == [("c", 1)]
    jq.nack("c")
    assert jq.of_type("echo")["until"] == jq.now + 2000
    jq.pass_time(2000)
    jq.call("tick", 100)
    assert jq.lease() == [("d", 1)]
    jq.ack("d")
    assert jq.of_type("echo") == {}
    assert jq.lease() == [("e", 1)]


def test_a_quarantined_type_may_take_a_tenth_of_a_queue(jq: Client) -> None:
    jq.set_queue(budget=1, capacity=20)
    jq.submit("a")
    jq.lease()
    jq.nack("a", final=1)
    assert jq.submit("b", "c", "d") == [1, 1, -3]
    assert jq.submit_one("e", spec())[4:] == [jq.now + 1000, b"handler_error: boom"]
    assert jq.submit("f", options=spec("other")) == [1]
    assert jq.call("release", "t", "echo")[1] == 1
    assert jq.call("release", "t", "echo")[1] == 1
    assert jq.call("release", "u", "echo")[1] == 0
    assert jq.lease() == [("b", 1), ("c", 1), ("f", 1)]


def test_a_lane_without_a_free_place_is_passed_over(jq: Client) -> None:
    jq.submit("a", options=spec("slow", lane="thread"))
    jq.submit("b")
    reply = jq.call("lease", "p1", 0, 5, 2, "", 5, "thread", 0, "default")
    assert reply[4::15] == [b"b"]
    reply = jq.call("lease", "p1", 0, 5, 2, "", 0, "thread", 2, "default")
    assert reply[4::15] == [b"a"]


def test_a_process_leases_only_types_that_it_has_handlers_for(jq: Client) -> None:
    jq.call("join", "p2", TTL_MS, "server", SECRET, "", 1, "echo")
    jq.submit("a", options=spec("new", lane="thread"))
    jq.submit("b")
    reply = jq.call("lease", "p2", 0, 5, 2, "", 5, "thread", 5, "default")
    assert reply[4::15] == [b"b"]
    assert jq.lease() == []
    reply = jq.call("lease", "p1", 0, 5, 1, "thread", 5, "default")
    assert reply[4::15] == [b"a"]


def test_a_queue_runs_no_more_than_its_workers_over_all_processes(jq: Client) -> None:
    jq.call("join", "p2", TTL_MS, "server", SECRET, "", 0)
    jq.set_queue(workers=2)
    jq.submit("a", "b", "c")
    assert jq.lease("p1", 1) == [("a", 1)]
    assert jq.lease("p2", 5) == [("b", 1)]
    assert jq.lease("p1") == []
    jq.ack("b", process="p2")
    assert jq.lease("p1") == [("c", 1)]


def test_an_idle_process_is_woken(jq: Client) -> None:
    hears = jq.client.pubsub(ignore_subscribe_messages=True)
    hears.subscribe(f"{jq.prefix}wake:p1")
    assert hears.get_message(timeout=5) is None  # of the subscription itself
    jq.lease()
    jq.submit("a")
    message = hears.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"lease"
    jq.lease()
    jq.call("cancel", "", 1, "a")
    message = hears.get_message(timeout=5)
    assert message is not None
    assert message["data"] == b"stop"
    hears.close()


def test_an_idle_process_that_has_put_a_job_aside_is_woken_for_the_next_one(jq: Client) -> None:
    jq.call("join", "p2", TTL_MS, "server", SECRET, "", 1, "other")
    jq.lease("p2")
    jq.call("submit", "default", 0, 1, "a", 0, spec(), b"{}", b"")  # 0: wakes no process
    assert jq.lease("p2", number=1) == []
    assert jq.lease("p2", number=2) == []
    hears = jq.client.pubsub(ignore_subscribe_messages=True)
    hears.subscribe(f"{jq.prefix}wake:p2")
    assert hears.get_message(timeout=5) is None  # of the subscription itself
    jq.submit("b", options=spec("other"))
    assert hears.get_message(timeout=5) is not None
    hears.close()


def test_types_of_processes_are_compared_once_a_set_and_for_eight_sets_at_most(jq: Client) -> None:
    jq.call("join", "own", TTL_MS, "server", SECRET, "", 2, "a", "b")
    jq.call("join", "same", TTL_MS, "server", SECRET, "", 2, "b", "a")
    for number in range(10):
        for name in ("x", "y"):
            jq.call("join", f"{name}{number}", TTL_MS, "server", SECRET, "", 2, "a", f"t{number}")
    told = {name: (alone, lacks) for name, _, _, alone, lacks in jq.call("servers", "own")[1]}
    assert told[b"same"] == told[b"p1"] == ([], []), "p1 has named no types"
    assert told[b"x3"] == told[b"y3"] == ([b"b"], [b"t3"])
    assert sum(each != ([], []) for each in told.values()) == 2 * 8


# Orders and settings


def test_priorities_rise_with_their_age(jq: Client) -> None:
    jq.set_queue(discipline="priority", aging_ms=100)
    jq.submit("low")
    jq.pass_time(100)
    jq.submit("one", options=spec(priority=1))
    jq.submit("high", options=spec(priority=9))
    assert [job_id for job_id, _ in jq.lease()] == ["high", "one", "low"]


def test_a_new_discipline_sorts_the_waiting_jobs_again(jq: Client) -> None:
    jq.set_queue(capacity=1000)
    names = [f"j{number:03d}" for number in range(700)]
    for first in range(0, 700, 50):
        jq.submit(*names[first : first + 50])
    jq.set_queue(discipline="lifo", capacity=1000)
    jq.call("cancel", "", 1, "j699")
    while jq.call("tick", 100)[1] <= jq.now:
        pass
    assert jq.lease(most=3) == [("j698", 1), ("j697", 1), ("j696", 1)]


def test_a_file_s_section_wins_once_and_a_patch_stays(jq: Client) -> None:
    assert jq.set_queue("q", digest="one", from_file=1, capacity=5)[2] == 1
    assert jq.set_queue("q", from_file=0, capacity=7)[2] == 1
    assert jq.set_queue("q", digest="one", from_file=1, capacity=5)[2] == 0
    assert jq.of_queue("q")["capacity"] == 7
    assert jq.set_queue("q", digest="two", from_file=1, capacity=9)[1:3] == [3, 1]
    of_queue = next(pairs(each[1:]) for each in jq.call("config")[2] if each[0] == b"q")
    assert (of_queue["capacity"], of_queue["digest"], of_queue["blob"]) == (9, b"two", b"blob")


def test_an_unknown_discipline_is_an_error(jq: Client) -> None:
    with pytest.raises(FunctionError, match="fifo, lifo, priority or fair, got adaptive"):
        jq.set_queue(discipline="adaptive")


def test_a_paused_queue_starts_nothing_until_its_end(jq: Client) -> None:
    jq.submit("a", "b")
    assert jq.call("pause", "default", "broken", 500, "me")[1:] == [1, jq.now]
    jq.pass_time(100)
    assert jq.call("pause", "default", "broken", 500, "me")[2] == jq.now - 100
    assert jq.lease() == []
    of_queue = pairs(jq.call("config")[2][0][1:])
    assert (of_queue["pause_reason"], of_queue["pause_by"]) == (b"broken", b"me")
    jq.pass_time(500)
    assert jq.call("tick", 100)[7] == [b"default"]
    assert jq.lease(most=1) == [("a", 1)]
    jq.call("pause", "default", "", -1, "")
    assert jq.lease() == []
    assert jq.call("resume", "default", "me")[1] == 1
    assert jq.call("resume", "default", "me")[1] == 0
    assert jq.call("pause", "none", "", -1, "")[1] == 0
    assert jq.lease() == [("b", 1)]


# Lists, counts and events


def ids(reply: list[object]) -> list[str]:
    return [job_id.decode() for job_id in reply[3::2]]  # type: ignore[attr-defined]


def test_pages_meet_each_record_once_in_the_order_of_submission(jq: Client) -> None:
    jq.submit("c", "a", "b", options=spec("one", group="g"), given=claims("u", owner="o"))
    jq.submit("d", "e")
    everything = ("", "", "", "", "", "", "", -1, -1)
    found, cursor = [], ""
    while True:
        reply = jq.call("page", *everything, cursor, 0, 2, 500, 0)
        found += ids(reply)
        cursor = reply[1].decode()
        if not cursor:
            break
    assert found == ["e", "d", "b", "a", "c"]
    assert ids(jq.call("page", *everything, str(jq.record("a")["i"]), 1, 9, 500, 0)) == ["b", "d", "e"]
    assert ids(jq.call("page", "", "", "one", "g", "o", "", "b", -1, -1, "", 0, 9, 500, 0)) == ["b"]
    reply = jq.call("page", "", "", "", "", "", "", "c", -1, -1, "", 0, 9, 2, 1)
    assert (ids(reply), reply[2]) == ([], 2)
    assert reply[1] != b""


def test_failed_jobs_are_listed_from_their_own_index(jq: Client) -> None:
    jq.submit("a", "b", "c", options=spec(attempts=1))
    jq.lease(most=2)
    jq.nack("a", code="bad_result")
    jq.nack("b")
    reply = jq.call("page", "f", "", "", "", "", "", "", -1, -1, "", 0, 9, 500, 0)
    assert (ids(reply), reply[2]) == (["b", "a"], 2)
    assert ids(jq.call("page", "f", "", "", "", "", "bad_result", "", -1, -1, "", 0, 9, 500, 0)) == ["a"]


def test_a_page_ends_at_the_bounds_of_its_time(jq: Client) -> None:
    for job_id in "abc":
        jq.submit(job_id)
        jq.pass_time(10)
    start = jq.now - 30
    assert ids(jq.call("page", "", "", "", "", "", "", "", start + 10, -1, "", 0, 9, 500, 0)) == ["c", "b"]
    assert ids(jq.call("page", "", "", "", "", "", "", "", -1, start + 20, "", 1, 9, 500, 0)) == ["a", "b"]


def test_a_whole_look_ends_after_a_megabyte(jq: Client) -> None:
    jq.set_bounds(size=10**8)
    names = [f"j{number}" for number in range(20)]
    jq.submit(*names, args=b"x" * 100_000)
    assert 10 <= len(jq.call("look", 1, *names)) - 1 < 20
    assert len(jq.call("look", 0, *names)) == 21


def test_counts_tell_the_oldest_waiting_job(jq: Client) -> None:
    assert jq.of_queue()["oldest"] == -1
    jq.submit("a")
    jq.pass_time(10)
    jq.submit("b")
    assert jq.of_queue()["oldest"] == jq.now - 10
    assert (jq.counts()["processes"], jq.counts()["records"]) == (1, 2)


def test_events_are_written_while_they_are_read(jq: Client) -> None:
    jq.submit("before")
    first = jq.call("events", 1000, "", 10)
    jq.submit("a", given=claims("u", owner="o"))
    jq.lease()
    jq.nack("a", final=1)
    reply = jq.call("events", 1000, first[2] if first[2] != b"0-0" else first[1], 100)
    told = [(pairs(each)["e"], pairs(each)["i"], pairs(each)["o"]) for each in reply[4::2]]
    assert told == [
        (b"submitted", b"a", b"o"),
        (b"started", b"before", b""),
        (b"started", b"a", b"o"),
        (b"failed", b"a", b"o"),
    ]
    assert pairs(reply[-1])["E"] == jq.record("a")["E"]


def test_a_type_with_limits_waits_where_another_one_has_taken_the_last_place_of_its_lane(jq: Client) -> None:
    jq.call("set_types", 1, "slow", "thread", 5, 0, 0, 0, *UNGROUPED)
    jq.submit("a", options=spec("quick", lane="thread"))
    jq.submit("b", options=spec("slow", lane="thread", limited=True))
    for job_id in ("a", "b"):
        reply = jq.call("lease", "p1", 0, 5, 2, "", 5, "thread", 1, "default")
        assert reply[4::2] == [job_id.encode()]
        jq.ack(job_id)
