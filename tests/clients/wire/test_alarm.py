"""A sleep that can be cut short."""

from __future__ import annotations

import asyncio
import time

from clients.wire.alarm import Alarm


async def test_a_sleeper_wakes_when_it_is_due() -> None:
    began = time.monotonic()
    assert await Alarm().until(began + 0.05)
    assert time.monotonic() - began >= 0.045


async def test_what_is_due_already_is_not_slept_for() -> None:
    assert await Alarm().until(time.monotonic())


async def test_a_sleep_that_is_cut_ends_at_once() -> None:
    alarm = Alarm()
    sleeping = asyncio.create_task(alarm.until(time.monotonic() + 60))
    await asyncio.sleep(0)
    alarm.cut()
    assert await asyncio.wait_for(sleeping, 1) is False


async def test_a_sleep_that_is_cut_between_its_end_and_the_sleeper_s_turn_was_cut() -> None:
    alarm = Alarm()
    sleeping = asyncio.create_task(alarm.until(time.monotonic() + 0.01))
    await asyncio.sleep(0)
    # The timer ends the sleep, and what is put off from there runs before the sleeper does.
    asyncio.get_running_loop().call_later(0.01, alarm.cut)
    time.sleep(0.03)  # noqa: ASYNC251  # so that both are due in one turn of the loop
    assert await asyncio.wait_for(sleeping, 1) is False


async def test_a_cut_without_a_sleeper_does_not_spoil_the_next_sleep() -> None:
    alarm = Alarm()
    alarm.cut()
    assert await alarm.until(time.monotonic() + 0.01)
