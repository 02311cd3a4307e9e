"""The servers of a store, and those that were lost: told by each of the others until another one takes the place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.store import MISSING_S
from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.roster import Lost, Roster, without_successor
from jobqueue.core.job import JobSpec
from jobqueue.log import EventMessage
from jobqueue.testing import virtual_time
from tests.backend.valkey.backends import TTL_S, pass_time
from tests.backend.valkey.scripted import ScriptedCalls

if TYPE_CHECKING:
    from tests.backend.valkey.backends import Fleet, Server

SEEN_S = 2.5
"""Within this time each server has read a change."""


def missing(server: Server) -> list[str]:
    return [each.name for each in server.backend.figures().missing]


@virtual_time
async def test_each_server_tells_all_servers_and_which_is_its_own(fleet: Fleet) -> None:
    one = await fleet.server(info="box-7:4711")
    await pass_time(1)
    two = await fleet.server(info="box-8:1")
    await pass_time(SEEN_S)
    members = one.backend.figures().members
    assert [(each.name, each.own) for each in members] == [("box-7:4711", True), ("box-8:1", False)]
    assert members[1].joined_at - members[0].joined_at == pytest.approx(1.0, abs=0.1)
    assert [each.own for each in two.backend.figures().members] == [False, True]


@virtual_time
async def test_a_lost_server_is_missing_to_all_others_with_its_jobs_and_last_sign_of_life(fleet: Fleet) -> None:
    dead, one, two = [await fleet.server(info=f"box:{pid}") for pid in range(3)]
    for _ in range(2):
        await dead.submit()
        await dead.leased()
    await pass_time(1)
    at = dead.backend.now()
    dead.freeze()
    await pass_time(TTL_S + SEEN_S)
    for other in (one, two):
        (lost,) = other.backend.figures().missing
        assert (lost.name, lost.jobs) == ("box:0", 2)
        assert at - TTL_S / 5 - 0.1 <= lost.heard_at <= at + 0.1
        assert [each.name for each in other.backend.figures().members] == ["box:1", "box:2"]


@virtual_time
async def test_a_server_that_joins_takes_the_place_of_one_missing_server(fleet: Fleet) -> None:
    *dead, one = [await fleet.server(info=f"box:{pid}") for pid in range(3)]
    for each in dead:
        each.freeze()
    await pass_time(TTL_S + SEEN_S)
    assert missing(one) == ["box:0", "box:1"]
    await fleet.server(info="box:3")
    await pass_time(SEEN_S)
    assert missing(one) == ["box:1"]


@virtual_time
async def test_a_server_that_was_started_again_before_its_end_was_noticed_is_never_missing(fleet: Fleet) -> None:
    dead, one = await fleet.server(), await fleet.server()
    dead.freeze()
    await pass_time(1)
    await fleet.server()
    for _ in range(round(TTL_S) + 5):
        await pass_time(1)
        assert missing(one) == []


@virtual_time
async def test_a_suspended_server_is_missing_until_it_goes_on(fleet: Fleet) -> None:
    frozen, one = await fleet.server(info="box:0"), await fleet.server()
    frozen.freeze()
    await pass_time(TTL_S + SEEN_S)
    assert missing(one) == ["box:0"]
    frozen.thaw()
    await pass_time(SEEN_S)
    assert (missing(one), missing(frozen)) == ([], [])


@virtual_time
async def test_a_server_that_leaves_in_order_is_not_missing(fleet: Fleet) -> None:
    leaving, one = await fleet.server(), await fleet.server()
    await leaving.backend.stop()
    await pass_time(TTL_S + SEEN_S)
    assert missing(one) == []
    assert len(one.backend.figures().members) == 1


@virtual_time
async def test_a_missing_server_is_reported_for_fifteen_minutes(fleet: Fleet) -> None:
    dead, one = await fleet.server(info="box:0"), await fleet.server()
    dead.freeze()
    await pass_time(MISSING_S - TTL_S)
    assert missing(one) == ["box:0"]
    await pass_time(TTL_S + 1)
    assert missing(one) == []


@virtual_time
async def test_a_server_with_other_handlers_is_logged_once_with_some_types(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.server(info="box:0", types=[JobSpec(type="both"), JobSpec(type="old")])
    await fleet.server(info="box:1", types=[JobSpec(type="both"), JobSpec(type="new")])
    await fleet.server(info="box:2", types=[JobSpec(type="both"), JobSpec(type="old")])
    await fleet.server(info="box:3")
    await pass_time(3 * SEEN_S)
    messages = [record.msg for record in caplog.records if isinstance(record.msg, EventMessage)]
    fields = [message.fields for message in messages if message.event == "store.handlers_differed"]
    told = sorted((each["server"], each["only_here"], each["only_there"]) for each in fields)
    assert told == [("box:0", ["new"], ["old"])] + 2 * [("box:1", ["old"], ["new"])] + [("box:2", ["new"], ["old"])]
    assert "a valkey.namespace of their own" in fields[0]["hint"]


@virtual_time
async def test_of_many_lost_servers_the_latest_twenty_are_kept(fleet: Fleet) -> None:
    one = await fleet.server()
    for pid in range(23):
        (await fleet.server(info=f"box:{pid}")).freeze()
    await pass_time(TTL_S + SEEN_S)
    assert len(missing(one)) == 20


@virtual_time
async def test_the_servers_are_read_once_a_change_and_again_after_an_error() -> None:
    calls = ScriptedCalls()
    calls.scripts["servers"] = lambda _: [[[b"n", 5, b"box:1", [], []]], []]
    roster = Roster(calls, StoreClock(lambda: 0.0), str)
    for processes, joins, asked in ((1, 1, 1), (1, 1, 1), (2, 2, 2), (1, 2, 3), (1, 3, 4)):
        roster.see(processes, joins)
        assert calls.count("servers") == asked
    assert [each.name for each in roster.servers()] == ["box:1"]


@pytest.mark.parametrize(
    ("lost", "joins", "left"),
    [
        ([(0, 10)], [0, 9], [10]),
        ([(10, 10)], [0, 10], [10]),
        ([(0, 10)], [0, 11], []),
        ([(0, 10), (0, 20)], [0, 0, 15], [20]),
        ([(0, 10), (0, 20)], [0, 0, 25], [20]),
        ([(0, 10), (12, 20)], [0, 12, 21], []),
        ([], [0, 5], []),
    ],
)
def test_each_join_takes_the_place_of_the_server_that_was_lost_first(
    lost: list[tuple[int, int]], joins: list[int], left: list[int]
) -> None:
    entries = [Lost(joined, heard, b"", 0) for joined, heard in lost]
    assert [each.heard for each in without_successor(entries[::-1], joins)] == left
