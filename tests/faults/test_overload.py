"""Faults by load: a herd that ignores Retry-After, and a caller that takes all."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from tests.faults.measuring import Vitals, seen, until
from tests.faults.storm import Storm, p99_ms

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Serve

RUN_S = 0.05


async def test_a_herd_that_ignores_retry_after_does_not_take_the_goodput(serve: Serve, runs: Path) -> None:
    workers = 4
    server = serve(f"queues.default.workers={workers}", "queues.default.capacity=20")
    vitals = Vitals(server)
    herd = Storm(server.url, clients=100, seconds=RUN_S, obeys=False)
    async with herd.raging():
        await until(lambda: herd.statuses[503] > 100, "a herd")
        began, before = time.monotonic(), len(herd.life_s)
        await asyncio.sleep(4.0)
        goodput = (len(herd.life_s) - before) / (time.monotonic() - began)
        refused_per_s = herd.statuses[503] / (time.monotonic() - began)
        grown_mib = vitals.grown_mib
    counts = herd.history.check(runs)
    assert (counts.faults, herd.unanswered, set(herd.statuses) - {200, 202, 503}) == ([], 0, set())
    assert goodput > 0.5 * workers / RUN_S
    assert server.stop() == 0
    seen(
        "herd",
        f"{refused_per_s:,.0f} rejections/s, p99 {p99_ms(herd.refuse_s):.0f} ms seen by 100 clients of one process;"
        f" goodput {goodput:.0f}/s of {workers / RUN_S:.0f}/s; {counts.accepted} accepted = {counts.ended} ended, none"
        f" of {counts.refused:,} rejected ran; memory grew by {grown_mib:.0f} MiB",
    )


async def test_an_elephant_does_not_crowd_out_fifty_mice(serve: Serve, runs: Path) -> None:
    settings = ("queues.default.workers=4", "queues.default.capacity=200", "queues.default.discipline=fair")
    server = serve(*settings, "limits.caller_jobs_max=20")
    options = {"clients": 30, "seconds": 0.02, "obeys": False, "pause_s": 0.005}
    elephant = Storm(server.url, **options, job={"group": "elephant"}, address="127.0.0.2")  # type: ignore[arg-type]
    mice = [
        Storm(server.url, clients=1, seconds=0.02, pause_s=0.3, job={"group": f"m{n}"}, address=f"127.0.1.{n}")
        for n in range(1, 51)
    ]
    async with elephant.raging():
        await until(lambda: elephant.statuses[429] > 20, "an elephant")
        async with contextlib.AsyncExitStack() as stack:
            for mouse in mice:
                await stack.enter_async_context(mouse.raging())
                await asyncio.sleep(0.01)
            await until(lambda: all(len(mouse.life_s) >= 3 for mouse in mice), "three jobs of each mouse")
            for mouse in mice:
                mouse.stop()
    lives_s = [life_s for mouse in mice for life_s in mouse.life_s]
    for storm in (elephant, *mice):
        counts = storm.history.check(runs)
        faults = [each for each in counts.faults if not each.startswith("ran, and was never sent")]
        assert (faults, storm.unanswered) == ([], 0)
    assert [dict(mouse.statuses) for mouse in mice if set(mouse.statuses) - {200, 202}] == []
    assert set(elephant.statuses) <= {200, 202, 429}
    assert max(lives_s) < 5.0
    assert server.stop() == 0
    seen(
        "elephant",
        f"50 mice: {len(lives_s)} jobs, 0 rejected, life p99 {p99_ms(lives_s):.0f} ms; the elephant:"
        f" {elephant.statuses[202]} accepted, {elephant.statuses[429]} times 429 (caller_jobs_max, discipline fair)",
    )
