"""Freed memory is returned to the system, where memory is scarce."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import linecache
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING

import pytest

from jobqueue.runtime.freed_memory import EVERY_S, EVERY_S_MAX, FreedMemory, heap_trim
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 2**20


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Keep the collector from starting by itself in the block."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Heap:
    """A heap with a clock: a trim takes some time and returns what is free."""

    def __init__(self, used: int, free: int, took_s: float = 0.0) -> None:
        self.used, self.free, self.took_s = used, free, took_s
        self.now = 0.0
        self.trims: list[float] = []

    def trim(self) -> None:
        self.trims.append(asyncio.get_running_loop().time())
        self.now += self.took_s
        self.free = 0

    def resident(self) -> int:
        return self.used + self.free


def started(heap: Heap, memory_bytes: int = 256 * MIB) -> FreedMemory:
    freed = FreedMemory(memory_bytes, trim=heap.trim, resident=heap.resident, clock=lambda: heap.now)
    freed.start()
    return freed


@virtual_time
async def test_free_memory_is_returned_within_seconds() -> None:
    heap = Heap(used=70 * MIB, free=80 * MIB)
    freed = started(heap)
    await asyncio.sleep(EVERY_S + 0.1)
    freed.stop()
    assert heap.free == 0


@virtual_time
async def test_below_a_quarter_of_the_memory_no_trim_pauses_the_loop() -> None:
    heap = Heap(used=70 * MIB, free=80 * MIB)
    freed = started(heap, memory_bytes=1024 * MIB)
    await asyncio.sleep(600)
    freed.stop()
    assert heap.trims == []


@virtual_time
async def test_below_a_half_of_the_memory_a_trim_waits_until_the_process_is_idle() -> None:
    heap = Heap(used=70 * MIB, free=50 * MIB)
    loop, busy = asyncio.get_running_loop(), True
    freed = FreedMemory(
        256 * MIB,
        trim=heap.trim,
        resident=heap.resident,
        clock=lambda: heap.now,
        used=lambda: loop.time() * 0.5 if busy else 0.0,
    )
    freed.start()
    await asyncio.sleep(600)
    assert heap.trims == []
    heap.free = 60 * MIB
    await asyncio.sleep(EVERY_S)
    assert len(heap.trims) == 1
    heap.free, busy = 50 * MIB, False
    await asyncio.sleep(EVERY_S_MAX)
    freed.stop()
    assert heap.free == 0


@virtual_time
async def test_trims_that_return_little_come_ever_later() -> None:
    heap = Heap(used=150 * MIB, free=0)
    freed = started(heap)
    await asyncio.sleep(EVERY_S * 31)
    pauses = [later - sooner for sooner, later in itertools.pairwise(heap.trims)]
    assert pauses[0] == pytest.approx(2 * EVERY_S)
    assert pauses[-1] == pytest.approx(EVERY_S_MAX)
    heap.free = 80 * MIB
    await asyncio.sleep(EVERY_S_MAX + 0.1)
    assert heap.free == 0
    freed.stop()


@virtual_time
async def test_long_trims_take_a_small_part_of_the_time() -> None:
    heap = Heap(used=150 * MIB, free=80 * MIB, took_s=0.05)
    freed = started(heap)
    await asyncio.sleep(600)
    freed.stop()
    assert len(heap.trims) * heap.took_s <= 600 / 500 + heap.took_s


@virtual_time
async def test_after_the_longest_trim_the_next_comes_in_half_a_minute() -> None:
    heap = Heap(used=150 * MIB, free=80 * MIB, took_s=0.3)
    freed = started(heap)
    await asyncio.sleep(EVERY_S + EVERY_S_MAX + 0.1)
    freed.stop()
    assert len(heap.trims) == 2


class Cyclic:
    """An object of a cycle, which only the collector frees."""

    def __init__(self) -> None:
        self.itself = self


@virtual_time
async def test_garbage_in_cycles_goes_before_the_trim() -> None:
    heap = Heap(used=150 * MIB, free=0)
    seen: list[object] = []
    freed = FreedMemory(256 * MIB, trim=lambda: seen.append(left()), resident=heap.resident, clock=lambda: 0.0)
    with uncollected():
        left = weakref.ref(Cyclic())
        assert left() is not None
        freed.start()
        await asyncio.sleep(EVERY_S + 0.1)
    freed.stop()
    assert seen == [None]


@virtual_time
async def test_the_lines_of_source_that_tracebacks_read_are_dropped() -> None:
    freed = started(Heap(used=150 * MIB, free=0))
    assert linecache.getline(__file__, 1)
    await asyncio.sleep(EVERY_S + 0.1)
    freed.stop()
    assert not linecache.cache


@virtual_time
async def test_a_busy_process_collects_no_garbage_and_trims_for_a_small_part_of_the_time() -> None:
    heap = Heap(used=150 * MIB, free=0, took_s=0.2)
    loop, busy = asyncio.get_running_loop(), True
    freed = FreedMemory(
        256 * MIB,
        trim=heap.trim,
        resident=heap.resident,
        clock=lambda: heap.now,
        used=lambda: loop.time() * 0.5 if busy else 0.0,
    )
    with uncollected():
        left = weakref.ref(Cyclic())
        freed.start()
        await asyncio.sleep(EVERY_S + 90.1)
        assert len(heap.trims) == 1
        assert left() is not None
        busy = False
        await asyncio.sleep(EVERY_S)
        assert len(heap.trims) == 2
        assert left() is None
    freed.stop()


@virtual_time
async def test_caches_and_lasting_objects_are_renewed_before_the_trim_of_an_idle_process() -> None:
    heap = Heap(used=150 * MIB, free=0)
    steps: list[str] = []
    loop, busy = asyncio.get_running_loop(), True
    freed = FreedMemory(
        256 * MIB,
        trim=lambda: steps.append("trim"),
        resident=heap.resident,
        clock=lambda: 0.0,
        used=lambda: loop.time() * 0.5 if busy else 0.0,
    )
    freed.start(lambda: steps.append("caches"), lambda: steps.append("lines"))
    await asyncio.sleep(EVERY_S + 0.1)
    assert steps == ["trim"]
    busy = False
    await asyncio.sleep(EVERY_S_MAX)
    freed.stop()
    assert steps[1:4] == ["caches", "lines", "trim"]


@virtual_time
async def test_a_stopped_one_trims_no_more() -> None:
    heap = Heap(used=150 * MIB, free=80 * MIB)
    started(heap).stop()
    await asyncio.sleep(600)
    assert heap.trims == []


@virtual_time
async def test_without_malloc_trim_nothing_is_done() -> None:
    heap = Heap(used=150 * MIB, free=80 * MIB)
    freed = FreedMemory(256 * MIB, trim=None, resident=heap.resident)
    freed.start()
    await asyncio.sleep(600)
    freed.stop()
    assert heap.free == 80 * MIB


HOLES = """
from jobqueue.runtime.freed_memory import heap_trim, resident_bytes
from jobqueue.resources import return_freed_memory
return_freed_memory()
blocks = [bytearray(30_000) for _ in range(3000)]
for at in range(len(blocks)):
    if at % 50:
        blocks[at] = None
full = resident_bytes()
heap_trim()()
assert full - resident_bytes() > 40 * 2**20, (full, resident_bytes())
"""


@pytest.mark.skipif(heap_trim() is None, reason="malloc_trim needs glibc")
def test_a_trim_returns_pages_between_blocks_in_use() -> None:
    ran = subprocess.run([sys.executable, "-c", HOLES], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
