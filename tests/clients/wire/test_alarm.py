"""The interruptible sleep."""

from __future__ import annotations

import asyncio
import time

from clients.wire.alarm import Alarm


async def test_until_returns_true_at_its_deadline() -> None:
    began = time.monotonic()
    assert await Alarm().until(began + 0.05)
    assert time.monotonic() - began >= 0.045


async def test_until_returns_immediately_after_its_deadline() -> None:
    assert await Alarm().until(time.monotonic())


async def test_cut_ends_a_sleep_immediately() -> None:
    alarm = Alarm()
    sleeping = asyncio.create_task(alarm.until(time.monotonic() + 60))
    await asyncio.sleep(0)
    alarm.cut()
    assert await asyncio.wait_for(sleeping, 1) is False


async def test_cut_after_the_deadline_but_before_the_wake_up_still_counts() -> None:
    alarm = Alarm()
    sleeping = asyncio.create_task(alarm.until(time.monotonic() + 0.01))
    await asyncio.sleep(0)
    # The timer ends the sleep, and callbacks scheduled then run before the sleeping task.
    asyncio.get_running_loop().call_later(0.01, alarm.cut)
    time.sleep(0.03)  # noqa: ASYNC251 - makes both due in one loop iteration
    assert await asyncio.wait_for(sleeping, 1) is False


async def test_cut_without_a_sleeper_does_not_affect_the_next_sleep() -> None:
    alarm = Alarm()
    alarm.cut()
    assert await alarm.until(time.monotonic() + 0.01)
