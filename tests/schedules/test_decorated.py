"""Tests of `@queue.every` and `@queue.cron`: what they accept, and what they refuse at once or at the start."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobQueue
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable


async def started(queue: JobQueue) -> dict[str, Any]:
    """Return the schedules of a queue, by name, as it starts."""
    async with queue:
        return {name: definition.given for (_, name), definition in queue.service.schedules.runner.definitions.items()}


async def test_a_handler_may_have_several_schedules() -> None:
    queue = JobQueue()

    @queue.every(timedelta(minutes=5), name="often", args={"depth": 1})
    @queue.cron("0 3 * * *", tz="Europe/Berlin")
    @queue.handler
    async def sweep(depth: int = 0) -> None: ...

    schedules = await started(queue)
    assert (schedules["often"].every_s, bytes(schedules["often"].args)) == (300.0, b'{"depth":1}')
    assert (schedules["sweep"].cron, schedules["sweep"].tz) == ("0 3 * * *", "Europe/Berlin")


@pytest.mark.parametrize("interval", ["90m", "1h30m", 5400, 5400.0, timedelta(hours=1.5)])
async def test_an_interval_is_a_text_a_number_or_a_timedelta(interval: Any) -> None:
    queue = JobQueue()
    queue.every(interval)(queue.handler(name="sweep")(lambda: None))
    assert (await started(queue))["sweep"].every_s == 5400.0


@pytest.mark.parametrize(
    ("decorate", "told"),
    [
        (lambda queue: queue.every(0), ">= 1"),
        (lambda queue: queue.every("0s"), ">= 1"),
        (lambda queue: queue.every("1.5s"), "whole number of seconds"),
        (lambda queue: queue.every("soon"), "such as '5m'"),
        (lambda queue: queue.every(float("nan")), "such as '5m'"),
        (lambda queue: queue.cron("0 0 30 2 *"), "/cron: it never comes"),
        (lambda queue: queue.cron("0 0 * *"), "/cron: a cron notation is five fields"),
        (lambda queue: queue.cron("0 0 * * *", tz="Mars/Olympus"), "/tz: there is no time zone 'Mars/Olympus'"),
        (lambda queue: queue.cron("0 0 * * *", tz="Europe"), "/tz: there is no time zone 'Europe'"),
        (lambda queue: queue.cron("0 0 * * *", tz="../etc/passwd"), "/tz"),
        (lambda queue: queue.every(60, catch_up="all"), "/catch_up: all needs overlap: queue"),
        (lambda queue: queue.every(60, jitter_s=61), "/jitter_s: at most the interval"),
        (lambda queue: queue.every(60, overlap="twice"), "/overlap"),
        (lambda queue: queue.every(60, name="a b"), "a name has 1 to 100"),
        (lambda queue: queue.every(60, args=5), "args is a mapping"),
        (lambda queue: queue.every(60, args={"a": object()}), "/args: JSON can't represent"),
        (lambda queue: queue.every(60, args={"a": "x" * 20_000}), "/args: at most 4096 bytes"),
        (lambda queue: queue.every(60)(lambda: None), "it is no handler yet"),
    ],
)
def test_a_schedule_without_a_meaning_is_refused_at_once(decorate: Callable[[JobQueue], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        decorate(JobQueue())


def test_an_unknown_option_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(TypeError, match="did you mean 'jitter_s'"):
        JobQueue().every(60, jiter_s=1)  # type: ignore[call-arg]  # that is the fault


async def test_the_start_names_all_faults_that_concern_handlers() -> None:
    queue = JobQueue()

    @queue.every(60, args={"depth": "x"})
    @queue.every(60, name="other", queue="nowhere")
    @queue.every(60, name="other")
    @queue.handler
    async def sweep(depth: int = 0) -> None: ...

    with pytest.raises(ConfigError) as error:
        await queue.start()
    told = "\n".join(error.value.faults)
    assert "schedules.sweep: /args/depth" in told
    assert "schedules.other: there are two schedules of this name" in told
    assert len(error.value.faults) == 2
    assert not queue.running
