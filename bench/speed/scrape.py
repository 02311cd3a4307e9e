"""Cost of a scrape of the metrics: its time, and the longest step, during which no request is answered.

    python -m bench.speed.scrape

5 queues with 20 types, 50 with 200, and these where each type has had jobs in each queue: the most series that they
can have. The least of several rounds, since other programs run beside it; in CPU time of this thread.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from bench.measure.spread import table
from jobqueue import JobQueue
from jobqueue.config import QueueSettings, Settings
from jobqueue.metrics.exposition import OPENMETRICS, TEXT, Exposition

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 15
TARGET_MS = {(5, 20): 10.0, (50, 200): 50.0}
"""What a scrape may take, in milliseconds, by queues and types; with each type in its own queue."""


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """What one form costs, in milliseconds."""

    queues: int
    types: int
    everywhere: bool
    form: str
    lines: int
    scrape_ms: float
    step_ms: float


async def costs(queues: int, types: int, *, everywhere: bool) -> list[Cost]:
    """Measure both forms. Args: everywhere: Each type has had a job in each queue."""
    queue = JobQueue(Settings(queues={f"queue_{number}": QueueSettings() for number in range(queues)}))

    async def handler() -> None: ...

    for number in range(types):
        queue.handler(name=f"type_{number}", queue=f"queue_{number % queues}")(handler)
    async with queue:
        for name in (f"type_{number}" for number in range(types)):
            where = queue.service.settings.queues if everywhere else (None,)
            handles = [await queue.submit(name, queue=each) for each in where]
            for handle in handles:
                await handle.wait()
        exposition = Exposition(queue.service)
        return [_cost(exposition, form, queues, types, everywhere) for form in (TEXT, OPENMETRICS)]


def _cost(exposition: Exposition, form: str, queues: int, types: int, everywhere: bool) -> Cost:
    rounds, lines = [], 0
    for _ in range(ROUNDS):
        text: list[str] = []
        rounds.append([*_timed(exposition.steps(text, form, with_examples=True))])
        lines = "".join(text).count("\n")
    return Cost(
        queues=queues,
        types=types,
        everywhere=everywhere,
        form=form.partition(";")[0],
        lines=lines,
        scrape_ms=min(map(sum, rounds)),
        step_ms=min(map(max, rounds)),
    )


def _timed(steps: Iterator[None]) -> Iterator[float]:
    """Yield the milliseconds of each step."""
    ended = False
    while not ended:
        began = time.thread_time()
        ended = next(steps, 0) == 0
        yield (time.thread_time() - began) * 1000


def main() -> None:
    found = [
        cost
        for queues, types, everywhere in ((5, 20, False), (50, 200, False), (50, 200, True))
        for cost in asyncio.run(costs(queues, types, everywhere=everywhere))
    ]
    rows = [
        [
            f"{cost.queues} queues, {cost.types} types{', each in each' if cost.everywhere else ''}",
            cost.form,
            f"{cost.lines:,}",
            f"{cost.scrape_ms:.1f}",
            f"{cost.step_ms:.1f}",
        ]
        for cost in found
    ]
    print(table(["", "form", "lines", "scrape, ms", "longest step, ms"], rows))
    for cost in found:
        target_ms = TARGET_MS[cost.queues, cost.types]
        if not cost.everywhere and cost.scrape_ms > target_ms:
            raise SystemExit(f"a scrape of {cost.queues} queues takes more than {target_ms} ms")


if __name__ == "__main__":
    main()
