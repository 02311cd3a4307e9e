"""Faults of the network: resets and slices, through a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.measuring import Vitals, seen
from tests.faults.proxy import Proxy
from tests.faults.storm import Storm, p99_ms

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import Serve


async def test_resets_of_a_third_of_the_requests_lose_and_double_no_job(serve: Serve, runs: Path) -> None:
    server = serve()
    proxy = Proxy(server.url, resets=0.3)
    vitals = Vitals(server)
    async with proxy.serving() as url:
        storm = await Storm(url, clients=20, seconds=0.01, keys=True, host=server.url[7:]).run(3.0)
    counts = storm.history.check(runs)
    assert (counts.faults, counts.unknown) == ([], 0)
    assert counts.accepted == counts.ended == counts.succeeded > 50
    assert 0.2 < proxy.reset / proxy.requests < 0.4
    await vitals.descriptors_are_back()
    assert server.stop() == 0
    seen(
        "resets",
        f"{proxy.reset} of {proxy.requests} requests reset; {counts.accepted} accepted = {counts.succeeded} succeeded,"
        f" each ran once; no descriptor left",
    )


async def test_slices_of_one_byte_change_no_answer(serve: Serve, runs: Path) -> None:
    server = serve()
    proxy = Proxy(server.url, slice_bytes=1)
    async with proxy.serving() as url:
        storm = await Storm(url, clients=5, host=server.url[7:]).run(2.0)
    counts = storm.history.check(runs)
    assert (counts.faults, counts.unknown, counts.refused, storm.unanswered) == ([], 0, 0, 0)
    assert counts.accepted == counts.succeeded > 5
    assert server.stop() == 0
    seen(
        "slices",
        f"{proxy.slices:,} slices of one byte; {counts.accepted} accepted = {counts.succeeded} succeeded;"
        f" life of a job p99 {p99_ms(storm.life_s):.0f} ms",
    )
