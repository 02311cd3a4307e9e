"""Samples and runs for tests: a healthy server, changed where a test says so."""

from __future__ import annotations

from typing import Any

from bench.destructive.block import Beat
from bench.destructive.cgroup import Usage
from bench.destructive.limits import MIB
from bench.destructive.samples import Sample
from bench.destructive.tally import Tally
from bench.destructive.verdict import Run


def sample(
    at: float, *, beat: dict[str, float] | None = None, usage: dict[str, Any] | None = None, **own: Any
) -> Sample:
    """Return a sample of a server that has accepted 5 jobs, all of which have ended."""
    counts = {"at": at - 0.02, "beats": at * 20, "gap_s_max": 0.06, "accepted": 5, "terminal": 5, "succeeded": 5}
    figures = {"anonymous_bytes": 80 * MIB, "charged_bytes": 90 * MIB, "periods": round(at * 10)}
    fields = {
        "alive": True,
        "rss_bytes": 70 * MIB,
        "cpu_s": at / 2,
        "wait_s": (at - 100) / 4,
        "threads": 3,
        "descriptors": 20,
        "processes": 3,
    }
    return Sample(
        at=at, **{**fields, **own}, beat=Beat(**{**counts, **(beat or {})}), usage=Usage(**{**figures, **(usage or {})})
    )


def samples(count: int = 100, **changes: Any) -> list[Sample]:
    """Return ten samples a second from 100 s on."""
    return [sample(100 + number / 10, **changes) for number in range(count)]


def run(**changes: Any) -> Run:
    """Return a run of ten seconds, a load in its middle, in which every bound is kept."""
    fields: dict[str, Any] = {
        "samples": samples(),
        "baseline_bytes": 75.0 * MIB,
        "began": 102.0,
        "ended": 108.0,
        "rested_s": 0.1,
        "tally": Tally(requests=10, accepted=5, ended={"succeeded": 5}, answers={"202": 5, "200": 5}),
    }
    return Run(**{**fields, **changes})
