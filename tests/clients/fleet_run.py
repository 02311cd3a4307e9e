"""Runs of a fleet of one process in the event loop of the test."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from clients.counters import Counters
from clients.fleet import Fleet
from clients.options import Options
from clients.report import Report, report_of

if TYPE_CHECKING:
    from tests.clients.stub import Stub

START_S = 0.1
"""Delay of the clients' start after the fleet's, so that their submissions and its checks (both each second) don't fall
together."""


def options(stub: Stub, **changes: Any) -> Options:
    """Return the options of a small and short run."""
    defaults = {"clients": 1, "jobs": 3, "poll_s": 0.02, "spawn_rate": 1000.0, "duration_s": 0.5, "grace_s": 5.0}
    return Options(**{"url": stub.url, **defaults, **changes})


async def run_fleet(stub: Stub, **changes: Any) -> Report:
    """Run a fleet to its end, check its counters and return its report."""
    wanted = options(stub, **changes)
    counters = Counters()
    started = time.monotonic() + START_S
    await Fleet(wanted, counters, part=0, starts_at=started).run()
    counters.check()
    return report_of(wanted, counters, elapsed_s=time.monotonic() - started, cpu_s=0.0)
