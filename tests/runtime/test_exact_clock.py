from __future__ import annotations

import asyncio
import time

import pytest

from jobqueue.runtime.exact_clock import exact_clock
from jobqueue.testing import VirtualLoop


def test_the_clock_on_uvloop_has_finer_steps_than_that_of_the_loop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop doesn't exist here")
    loop = uvloop.new_event_loop()
    clock = exact_clock(loop)
    before, by_loop, after = clock(), loop.time(), clock()
    loop.close()
    assert clock is time.monotonic
    assert by_loop == round(by_loop, 3), "else the loop's own would do"
    assert before - 0.001 < by_loop <= after


def test_loops_of_asyncio_keep_their_own_clock() -> None:
    for loop in (VirtualLoop(), asyncio.new_event_loop()):
        assert exact_clock(loop) == loop.time
        loop.close()
