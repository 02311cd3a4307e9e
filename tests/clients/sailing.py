"""A fleet of one process, run in the test's own loop."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING, Any

from clients.counters import Counters
from clients.fleet import Fleet
from clients.options import Options
from clients.report import Report, report_of

if TYPE_CHECKING:
    from tests.clients.stub import Stub


def options(stub: Stub, **changes: Any) -> Options:
    """A fleet that is small, and soon done."""
    defaults = {"clients": 1, "jobs": 3, "poll_s": 0.02, "spawn_rate": 1000.0, "duration_s": 0.2, "grace_s": 5.0}
    return Options(**{"url": stub.url, **defaults, **changes})


async def sail(stub: Stub, **changes: Any) -> Report:
    """Go the whole course; the figures add up."""
    wanted = options(stub, **changes)
    counters = Counters()
    before = time.monotonic()
    gc.collect()  # as the fleet does when it starts: after many tests that takes as long as a small fleet's course
    started = time.monotonic() + 1.5 * (time.monotonic() - before)
    await Fleet(wanted, counters, part=0, starts_at=started).run()
    counters.check()
    return report_of(wanted, counters, elapsed_s=time.monotonic() - started, cpu_s=0.0)
