"""The order `fair`, as the functions apply it: turns, lines, costs with many groups, and the order of the core."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import pytest

from jobqueue.core.scheduling.fair import Fair
from tests.backend.valkey.function_client import TTL_MS, claims, encode, spec
from tests.core.scheduling.order_models import ready_job

if TYPE_CHECKING:
    from jobqueue.core.job import Job
    from tests.backend.valkey.function_client import Client

OF_ONE = (1, 0, 0, 0)
UNLIMITED = (0, 0, 0, 0)


@pytest.fixture
def fair(jq: Client) -> Client:
    jq.set_queue(discipline="fair", capacity=10_000, workers=10_000)
    return jq


def in_group(
    group: str | None,
    *,
    kind: str = "echo",
    limited: int = 0,
    delay_ms: int = 0,
    start_by_ms: int | None = None,
    lane: str = "",
) -> bytes:
    return encode([kind, lane, limited, 0, delay_ms, None, start_by_ms, None, 3, group])


def fill(jq: Client, **counts: int) -> None:
    """Submit so many jobs of each group, named by it."""
    for group, count in counts.items():
        jq.submit(*(f"{group}-{number}" for number in range(count)), options=in_group(group))


def leased(jq: Client, most: int = 64, process: str = "p1") -> list[str]:
    return [job_id for job_id, _ in jq.lease(process, most)]


def leased_of_all_lanes(jq: Client, most: int) -> list[str]:
    """Lease so many jobs of the three lanes, in a lease of its own number; return their ids."""
    lanes = [each for lane in ("", "thread", "process") for each in (lane, 64)]
    reply = jq.call("lease", "p1", 0, most, 3, *lanes, "default")
    return [job_id.decode() for job_id in reply[4::2]]


def keys_of(jq: Client, *patterns: str) -> list[int]:
    return [len(jq.client.keys(jq.prefix.replace("{", "[{]") + pattern)) for pattern in patterns]


def tick_all(jq: Client) -> int:
    """Tick until nothing is due; return how often."""
    calls = 1
    while 0 <= jq.call("tick", 100)[1] <= jq.now:
        calls += 1
    return calls


# Turns


def test_groups_alternate_and_each_is_first_in_first_out(fair: Client) -> None:
    fill(fair, a=4, b=2)
    fair.submit("none-0", options=spec())
    assert fair.audit() == []
    assert leased(fair) == ["a-0", "b-0", "none-0", "a-1", "b-1", "a-2", "a-3"]
    assert fair.audit() == []
    assert keys_of(fair, "fr:*", "fn:*", "r:*") == [0, 0, 0]


def test_turns_go_on_from_one_lease_to_the_next_and_between_processes(fair: Client) -> None:
    fair.call("join", "p2", TTL_MS, "server", b"s" * 32, "", 0)
    fill(fair, a=4, b=2, c=1)
    assert leased(fair, 2) == ["a-0", "b-0"]
    assert leased(fair, 2, "p2") == ["c-0", "a-1"]
    assert leased(fair, 1) == ["b-1"]
    assert leased(fair, 3, "p2") == ["a-2", "a-3"]


def test_a_new_group_waits_for_at_most_one_job_of_each_other_group(fair: Client) -> None:
    fill(fair, a=5, b=5)
    assert leased(fair, 1) == ["a-0"]
    fill(fair, c=1)
    assert leased(fair, 3) == ["b-0", "c-0", "a-1"]


def test_a_group_that_was_cancelled_waits_no_longer_for_it(fair: Client) -> None:
    fill(fair, a=60, b=60)
    fair.call("cancel", "", 58, *(f"a-{number}" for number in range(58)))
    assert fair.audit() == []
    assert leased(fair, 4) == ["a-58", "b-0", "a-59", "b-1"]


def test_equal_names_of_two_owners_are_two_groups_with_any_characters(fair: Client) -> None:
    for owner in ("key:ann", "key:bob", None):
        for group in ("g", "g\0", "\1g", None):
            names = [f"{owner}{group!r}{number}" for number in range(2)]
            fair.submit(*names, options=in_group(group), given=claims(owner=owner))
    first, second = leased(fair, 12), leased(fair)
    assert [each[-1] for each in first + second] == ["0"] * 12 + ["1"] * 12
    assert fair.audit() == []


def test_a_job_that_is_given_back_is_first_in_its_group_again(fair: Client) -> None:
    fill(fair, a=3, b=2)
    assert leased(fair, 1) == ["a-0"]
    fair.call("give_back", "p1", 1, "a-0", 1)
    assert leased(fair) == ["b-0", "a-0", "b-1", "a-1", "a-2"]


def test_the_jobs_of_a_lost_process_come_back_in_their_groups(fair: Client) -> None:
    fill(fair, a=2, b=2)
    fair.call("join", "p2", TTL_MS, "server", b"s" * 32, "", 0)
    assert leased(fair, 3, "p2") == ["a-0", "b-0", "a-1"]
    fair.pass_time(TTL_MS)
    fair.call("beat", "p1", TTL_MS)
    fair.call("join", "p3", TTL_MS, "server", b"s" * 32, "", 0)
    tick_all(fair)
    assert fair.audit() == []
    again = leased(fair, process="p3")
    assert [each for each in again if each[0] == "a"] == ["a-0", "a-1"]
    assert [each for each in again if each[0] == "b"] == ["b-0", "b-1"]


def test_delayed_jobs_and_retries_enter_behind_the_groups_that_wait(fair: Client) -> None:
    fair.submit("late", options=in_group("c", delay_ms=500))
    fill(fair, a=2, b=2)
    assert leased(fair, 1) == ["a-0"]
    fair.nack("a-0", delay_ms=400)
    fair.pass_time(500)
    tick_all(fair)
    assert leased(fair) == ["b-0", "late", "a-1", "b-1", "a-0"]
    assert fair.audit() == []


def test_a_job_that_a_lease_meets_too_late_ends_and_has_been_the_turn_of_its_group(fair: Client) -> None:
    fair.submit("late", options=in_group("a", start_by_ms=500))
    fill(fair, a=2, b=2)
    fair.pass_time(500)
    assert leased(fair) == ["b-0", "a-0", "b-1", "a-1"]
    assert fair.state("late") == "x"
    assert fair.audit() == []


def test_the_same_submission_again_takes_no_turn(fair: Client) -> None:
    fill(fair, a=2, b=1)
    fill(fair, a=2)
    assert leased(fair) == ["a-0", "b-0", "a-1"]


# Limits


def test_types_with_limits_have_turns_of_their_own_and_hold_nothing_up(fair: Client) -> None:
    fair.call("set_types", 1, "mail", "", *OF_ONE, *UNLIMITED)
    for group in "ab":
        names = (f"{group}-{number}" for number in range(2))
        fair.submit(*names, options=in_group(group, kind="mail", limited=1))
    fill(fair, c=2, d=1)
    assert leased(fair) == ["a-0", "c-0", "d-0", "c-1"]
    assert fair.of_type("mail")["waiting"] == 3
    for job_id, following in (("a-0", "b-0"), ("b-0", "a-1"), ("a-1", "b-1")):
        fair.ack(job_id)
        assert leased(fair) == [following]
        assert fair.audit() == []
    assert keys_of(fair, "fr:*", "fn:*", "r:*") == [0, 0, 0]


@pytest.mark.parametrize("most", [1, 7])
@pytest.mark.parametrize("mixed", ["lanes", "types", "types with limits per group"])
def test_a_group_with_jobs_of_many_kinds_gets_no_more_than_its_share(fair: Client, mixed: str, most: int) -> None:
    kinds = {"lanes": [("k", 0), ("k", 0), ("k", 0)], "types": [(f"k{number}", 1) for number in range(9)]}.get(
        mixed, [("k0", 0), ("k1", 1), *((f"k{number}", 2) for number in range(2, 6))]
    )
    for number, (kind, limited) in enumerate(kinds):
        of_groups = (1000, 0, 0, 0) if limited == 2 else UNLIMITED
        fair.call("set_types", 1, kind, "", 1000, 0, 0, 0, *of_groups)
        lane = ("", "thread", "process")[number] if mixed == "lanes" else ""
        names = [f"a{number}-{each}" for each in range(20)]
        fair.submit(*names, options=in_group("a", kind=f"{kind}{lane}", limited=limited, lane=lane))
    fair.submit(*(f"b-{number}" for number in range(30)), options=in_group("b", kind="k0", limited=kinds[0][1]))
    started = [job_id[0] for _ in range(42 // most) for job_id in leased_of_all_lanes(fair, most)]
    assert started.count("a") == started.count("b") == 21
    assert fair.audit() == []


def test_groups_with_limits_take_turns_too(fair: Client) -> None:
    fair.call("set_types", 1, "mail", "", *UNLIMITED, 2, 0, 0, 0)
    for group in "ab":
        names = (f"{group}-{number}" for number in range(3))
        fair.submit(*names, options=in_group(group, kind="mail", limited=2))
    fill(fair, c=3)
    assert leased(fair, 3) == ["a-0", "b-0", "c-0"]
    assert fair.audit() == []
    assert sorted(leased(fair)) == ["a-1", "b-1", "c-1", "c-2"]
    fair.ack("a-0")
    assert leased(fair) == ["a-2"]
    assert fair.audit() == []


def test_a_sublist_does_not_keep_the_first_turn_while_its_only_group_has_jobs(fair: Client) -> None:
    fair.call("set_types", 1, "mail", "", *UNLIMITED, *UNLIMITED)
    fair.submit(*(f"mail-{number}" for number in range(4)), options=in_group("a", kind="mail", limited=1))
    fill(fair, b=4)
    assert [each[0] for each in leased(fair, 6)] == ["m", "b"] * 3
    assert fair.audit() == []


def test_jobs_of_a_type_in_quarantine_are_counted_in_their_lines(fair: Client) -> None:
    fair.set_queue(discipline="fair", capacity=30, workers=30, budget=1)
    fair.submit("x", options=in_group("a"))
    leased(fair)
    fair.nack("x", delay_ms=100_000)
    codes = [fair.submit(f"y{number}", options=in_group(f"g{number % 2}"))[0] for number in range(5)]
    assert codes == [1, 1, 1, -3, -3], "a tenth of the capacity"
    assert fair.of_type("echo")["waiting"] == 3
    assert fair.audit() == []
    fair.call("release", "op", "echo")
    assert leased(fair) == ["y0", "y1", "y2"]


def test_jobs_of_a_type_that_a_process_has_no_handler_for_keep_their_turns_for_another_one(fair: Client) -> None:
    fair.call("join", "p2", TTL_MS, "server", b"s" * 32, "", 1, "mail")
    fill(fair, a=2, b=1)
    assert leased(fair, process="p2") == []
    assert fair.audit() == []
    assert leased(fair) == ["a-0", "b-0", "a-1"]
    assert fair.audit() == []


def test_a_job_that_replaces_the_only_one_of_its_group_in_the_same_call_has_a_turn(fair: Client) -> None:
    given = claims(value="v", mode="replace")
    fair.submit("old", "new", options=in_group("a"), given=given)
    assert fair.audit() == []
    assert leased(fair) == ["new"]


def test_a_job_that_is_rejected_takes_no_turn(fair: Client) -> None:
    fair.set_bounds(size=100)
    assert fair.submit("large", options=in_group("a"), args=b"x" * 101) == [-2]
    assert fair.audit() == []
    assert keys_of(fair, "fr:*") == [0]


# Other orders


@pytest.mark.parametrize("discipline", ["fifo", "lifo"])
def test_a_change_of_the_discipline_keeps_all_jobs_with_and_without_limits(jq: Client, discipline: str) -> None:
    jq.call("set_types", 2, "mail", "", *UNLIMITED, *OF_ONE, "one", "", *OF_ONE, *UNLIMITED)
    settings = {"capacity": 2000, "workers": 2000}
    jq.set_queue(discipline=discipline, **settings)
    for number in range(600):
        kind, limited = (("echo", 0), ("mail", 2), ("one", 1))[number % 3]
        jq.submit(f"j{number:03d}", options=in_group(f"g{number // 3 % 100}", kind=kind, limited=limited))
    jq.set_queue(discipline="fair", **settings)
    assert 1 < tick_all(jq) < 40
    assert jq.audit() == []
    jq.set_queue(discipline=discipline, **settings)
    jq.set_queue(discipline="fair", **settings)
    jq.call("cancel", "", 2, "j000", "j002")
    assert jq.audit() == []
    jq.set_queue(discipline=discipline, **settings)
    tick_all(jq)
    assert jq.audit() == []
    assert keys_of(jq, "fr:*", "fn:*", "o:*") == [0, 0, 0]
    assert jq.of_queue()["queued"] == 598
    if discipline == "fifo":
        assert leased(jq, 3) == ["j001", "j003", "j004"]


# Positions, counts and costs


def test_a_position_assumes_other_groups_of_the_same_length(fair: Client) -> None:
    fill(fair, a=3, b=1, c=1)
    told = {each: fair.call("look", 1, each)[1] for each in ("a-0", "a-1", "a-2", "b-0")}
    assert {name: record[1] for name, record in told.items() if isinstance(record, list)} == {
        "a-0": 3,
        "a-1": 5,
        "a-2": 5,
        "b-0": 3,
    }


def test_the_oldest_job_is_found_among_all_groups(fair: Client) -> None:
    fill(fair, a=2)
    since = fair.now
    fair.pass_time(100)
    fill(fair, b=2)
    assert fair.of_queue()["oldest"] == since


def test_a_lease_costs_the_same_with_five_groups_and_with_five_thousand(fair: Client) -> None:
    costs = []
    for count in (5, 5000):
        for first in range(0, count, 50):
            for number in range(first, min(count, first + 50)):
                fair.submit(f"{count}-{number}", f"{count}+{number}", options=in_group(f"g{number}"))
        fair.client.config_resetstat()
        leased(fair, 4)
        called = fair.client.info("commandstats")
        costs.append(sum(int(each["calls"]) for name, each in called.items() if "fcall" not in name))
        while leased(fair):
            pass
    assert costs[1] <= costs[0] + 2


def test_a_queue_of_another_order_has_no_key_and_no_command_of_it(jq: Client) -> None:
    jq.client.config_resetstat()
    fill(jq, a=3, b=3)
    assert leased(jq) == ["a-0", "a-1", "a-2", "b-0", "b-1", "b-2"]
    assert keys_of(jq, "fr:*", "fn:*") == [0, 0]


# The core's order


@pytest.mark.parametrize("seed", range(12))
def test_groups_with_jobs_of_many_kinds_start_in_the_order_of_the_core(fair: Client, seed: int) -> None:
    random, order = Random(seed), Fair()
    kinds = [("echo", 0, ""), ("block", 0, "thread"), ("wide", 1, ""), ("other", 1, "thread"), ("group", 2, "")]
    for kind, limited, lane in kinds[2:]:
        of_groups = (1000, 0, 0, 0) if limited == 2 else UNLIMITED
        fair.call("set_types", 1, kind, lane, 1000, 0, 0, 0, *of_groups)
    for step in range(250):
        if random.random() < 0.6:
            group, (kind, limited, lane) = random.choice("abcde"), random.choice(kinds)
            names = [f"{group}{step}.{number}" for number in range(random.choice([1, 1, 1, 4]))]
            fair.submit(*names, options=in_group(group, kind=kind, limited=limited, lane=lane))
            for name in names:
                order.push(ready_job(name, group=group), now=0.0)
        else:
            expected = [order.pop(0.0).id[0] for _ in range(min(random.choice([1, 2, 7]), len(order)))]
            assert [each[0] for each in leased_of_all_lanes(fair, len(expected))] == expected
        assert fair.audit() == []


@pytest.mark.parametrize("seed", range(12))
def test_starts_are_in_the_order_of_the_core(fair: Client, seed: int) -> None:
    random, order = Random(seed), Fair()
    ready: dict[str, Job] = {}
    running: list[Job] = []
    for step in range(250):
        action = random.choices(["push", "pop", "cancel", "return"], [5, 4, 2, 1])[0]
        if action == "push":
            group = random.choice(["a", "b", "c", "d", None])
            names = [f"{group}{step}.{number}" for number in range(random.choice([1, 1, 1, 4]))]
            fair.submit(*names, options=in_group(group))
            for name in names:
                ready[name] = ready_job(name, group=group)
                order.push(ready[name], now=0.0)
        elif action == "pop":
            expected = [order.pop(0.0) for _ in range(min(random.choice([1, 2, 7]), len(order)))]
            names = [job.id for job in expected]
            assert leased(fair, len(names)) == names if names else True
            for job in expected:
                del ready[job.id]
            running = expected
        elif action == "cancel" and ready:
            name = random.choice(list(ready))
            assert order.remove(ready.pop(name))
            fair.call("cancel", "", 1, name)
        elif action == "return" and running:
            job = running[0]
            fair.call("give_back", "p1", 1, job.id, fair.record(job.id)["a"])
            ready[job.id] = job
            order.push(job, now=0.0, front=True)
            running = []
        assert fair.audit() == []
