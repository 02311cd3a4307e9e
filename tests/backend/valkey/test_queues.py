"""Settings and pauses of queues that several servers share, in a real store."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.mirror import Mirror
from jobqueue.backend.valkey.queues import Queues
from jobqueue.core.events import Event, Paused, PolicyChanged, Released, Resumed
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.backend.valkey.process_calls import Connect


FIRST = QueuePolicy(capacity=10, workers=2, discipline=Discipline.PRIORITY, aging_s=1.5, patience_s=7.0)
SECOND = QueuePolicy(capacity=20)
PATCHED = QueuePolicy(capacity=30, workers=9)


class Server:
    """One server of a store."""

    def __init__(self, connect: Connect, sections: Mapping[str, QueuePolicy]) -> None:
        self.calls = connect()
        self.sections = sections
        clock = StoreClock(asyncio.get_running_loop().time)
        self.mirror = Mirror(self.calls, clock, sections, Random(1))
        self.told: list[Event] = []
        self.queues = Queues(self.calls, clock, self.mirror, self.told.append)

    async def join(self) -> Server:
        await self.queues.join(self.sections)
        return self

    def call(self, function: str, *args: Any) -> list[Any]:
        return self.calls.call(function, args).result()


async def server(connect: Connect, **sections: QueuePolicy) -> Server:
    return await Server(connect, sections or {"default": FIRST}).join()


@virtual_time
async def test_settings_come_back_unchanged(connect: Connect) -> None:
    one, two = await server(connect), await server(connect)
    assert one.queues.policies() == two.queues.policies() == {"default": FIRST}
    assert one.told == two.told == []
    _, _, ((_, *flat),) = one.call("config")
    config = dict(zip(flat[::2], flat[1::2], strict=True))
    assert (config[b"capacity"], config[b"workers"], config[b"discipline"]) == (10, 2, b"priority")
    assert (config[b"aging_ms"], config[b"retry_budget"]) == (1500, FIRST.retry_budget)


@virtual_time
async def test_a_change_holds_though_servers_start_with_the_same_configuration(connect: Connect) -> None:
    one, two = await server(connect), await server(connect)
    await one.queues.change_queue("default", PATCHED)
    assert one.told == [PolicyChanged("default", PATCHED)]
    three = await server(connect)
    assert three.queues.policies() == {"default": PATCHED}
    assert two.queues.policies() == {"default": FIRST}, "it has not heard of it yet"
    await two.mirror.refresh()
    assert two.queues.policies() == {"default": PATCHED}
    assert two.told == [PolicyChanged("default", PATCHED)]
    await two.mirror.refresh()
    assert len(two.told) == 1
    assert two.mirror.stats()[1][0].policy == PATCHED


@virtual_time
async def test_an_order_that_the_store_has_not_is_refused_before_anything_changes(connect: Connect) -> None:
    one = await server(connect)
    with pytest.raises(
        ValueError, match=r"adaptive does not fit backend: valkey: .*; use fifo, lifo, priority or fair"
    ):
        await one.queues.change_queue("default", QueuePolicy(discipline=Discipline.ADAPTIVE))
    await one.mirror.refresh()
    assert one.queues.policies() == {"default": FIRST}


@virtual_time
async def test_another_configuration_wins_once(connect: Connect) -> None:
    one = await server(connect)
    await one.queues.change_queue("default", PATCHED)
    two = await server(connect, default=SECOND)
    assert two.queues.policies() == {"default": SECOND}
    await one.queues.change_queue("default", PATCHED)
    three = await server(connect, default=SECOND)
    assert three.queues.policies() == {"default": PATCHED}
    await three.queues.configure_queue("default", FIRST)
    assert three.told == [PolicyChanged("default", FIRST)]
    await three.queues.configure_queue("default", FIRST)
    assert len(three.told) == 1


@virtual_time
async def test_settings_that_only_a_later_version_can_read_leave_the_present_ones(connect: Connect) -> None:
    one = await server(connect)
    later = msgspec.msgpack.encode({"capacity": 99, "discipline": "by-cost", "new": 1})
    one.call("set_queue", "default", "", 0, later, 99, 5, 1, "fifo", -1, 0)
    await one.mirror.refresh()
    assert one.queues.policies() == {"default": FIRST}
    readable = msgspec.msgpack.encode({"capacity": 99, "new": 1})
    one.call("set_queue", "default", "", 0, readable, 99, 5, 1, "fifo", -1, 0)
    await one.mirror.refresh()
    assert one.queues.policies() == {"default": QueuePolicy(capacity=99)}
    two = await server(connect)
    assert two.queues.policies() == one.queues.policies(), "its section was known"


@virtual_time
async def test_a_queue_of_other_servers_alone_is_left_to_them(connect: Connect) -> None:
    await server(connect, default=FIRST, theirs=SECOND)
    one = await server(connect, default=FIRST)
    assert [stats.name for stats in one.mirror.stats()[1]] == ["default"]


@virtual_time
async def test_a_pause_is_that_of_all_servers_and_ends_by_itself(connect: Connect) -> None:
    one, two = await server(connect), await server(connect)
    now = one.mirror.now()
    await one.queues.pause("default", reason="deploy", for_s=60.0, by="key:ops")
    (told,) = one.told
    assert isinstance(told, Paused)
    assert (told.pause.since, told.pause.until) == (pytest.approx(now), pytest.approx(now + 60.0))  # type: ignore[comparison-overlap]  # approximately
    assert (told.pause.reason, told.pause.by) == ("deploy", "key:ops")
    (stats,) = two.mirror.stats()[1]
    assert stats.paused
    assert stats.pause == told.pause
    await asyncio.sleep(1)
    await two.queues.pause("default")
    again = two.mirror.stats()[1][0].pause
    assert again is not None
    assert (again.since, again.until, again.reason) == (told.pause.since, None, None)
    await two.queues.resume("default", by="key:ops")
    await two.queues.resume("default", by="key:ops")
    assert two.told[1:] == [Resumed("default", "key:ops")]
    await asyncio.sleep(1)
    assert one.mirror.stats()[1][0].pause is None


@virtual_time
async def test_a_type_without_quarantine_is_not_released(connect: Connect) -> None:
    one = await server(connect)
    assert not await one.queues.release("t")
    one.call("join", "p", 10**9, "one", b"s" * 32, "", 0)
    await one.queues.change_queue("default", QueuePolicy(retry_budget=1))
    one.told.clear()
    spec = bytes.fromhex("9aa174a0000000c0c0c001c0")
    one.call("submit", "default", 0, 1, "j" * 22, 100, spec, b"{}", b"")
    assert one.call("lease", "p", 0, 1, 1, "", 1, "default")[4] == b"j" * 22
    one.call("nack", "p", 1, "j" * 22, 1, "handler_error", "boom", "", 1, 1, 0)
    await one.mirror.refresh()
    (quarantined,) = one.mirror.quarantined()
    assert (quarantined.type, quarantined.failures) == ("t", 1)
    assert "boom" in quarantined.reason
    assert await one.queues.release("t")
    assert one.told == [Released("t", on_request=True)]
    assert one.mirror.quarantined() == []
