"""The verdict: the bounds of a scenario, each with what was wanted and what was seen. One that is missed fails it."""

from __future__ import annotations

from itertools import pairwise

import msgspec

from bench.destructive.limits import MIB
from bench.destructive.samples import Sample, between, complete_share, most
from bench.destructive.tally import Tally, percentile

PEAK_BYTES_MAX = 200 * MIB
LEFT_BYTES_MAX = 25 * MIB
REST_S = 60.0
GAP_S_MAX = 0.5
SMALL_MS_MAX = 1000.0
COMPLETE_MIN = 0.95
FOREIGN_MAX = 0.15
"""Share of the time for which other programs may keep the loop from a CPU: beyond it, figures of time are theirs."""


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One promise, and its measurement.

    Attributes:
        of_time: It is a figure of time, which other programs on the machine spoil.
        judged: A miss counts.
    """

    what: str
    wanted: str
    seen: str
    kept: bool
    of_time: bool = False
    judged: bool = True

    @property
    def missed(self) -> bool:
        return self.judged and not self.kept

    @property
    def word(self) -> str:
        return "kept" if self.kept else "MISSED" if self.judged else "not judged"

    def __str__(self) -> str:
        return f"{self.word:<6}  {self.what}: {self.seen} (wanted: {self.wanted})"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen of one scenario.

    Attributes:
        baseline_bytes: Memory before the load.
        began, ended: Of the load, on the monotonic clock.
        rested_s: Seconds from the end of the load until the memory was back; None: it was not, in `REST_S`.
        small: The honest clients' figures, if there are any, which `tally` holds as well.
        exit_code: Of the server after SIGTERM; None: it had to be killed.
        internal_errors: By the server's log.
        killed: Processes of handlers that the scenario killed on purpose.
        quick: It judges no figure of time that other programs spoiled; a full run misses it.
    """

    samples: list[Sample]
    baseline_bytes: float
    began: float
    ended: float
    rested_s: float | None
    tally: Tally
    small: Tally | None = None
    exit_code: int | None = 0
    internal_errors: int = 0
    killed: int = 0
    small_ms_max: float = SMALL_MS_MAX
    follows: bool = True
    accounts: bool = True
    quick: bool = False

    @property
    def loaded(self) -> list[Sample]:
        return between(self.samples, self.began, self.ended)


def judge(run: Run) -> list[Bound]:
    """Compare one scenario with its bounds."""
    bounds = [
        _memory(run),
        _oom(run),
        _survival(run),
        _errors(run),
        _heartbeat(run),
        _refusals(run),
        _rest(run),
        *_conservation(run),
        _monitor(run),
    ]
    if run.small is not None:
        bounds.append(_small(run))
    foreign = foreign_share(run.loaded)
    if not run.quick or foreign <= FOREIGN_MAX:
        return bounds
    told = f"; other programs kept its loop from a CPU for {foreign:.0%} of the time"
    return [
        msgspec.structs.replace(each, judged=False, seen=each.seen + told) if each.of_time and not each.kept else each
        for each in bounds
    ]


def foreign_share(samples: list[Sample]) -> float:
    """Return the share of the time in which the loop waited for a CPU beyond its quota's throttling."""
    alive = [each for each in samples if each.alive]
    if len(alive) < 2:
        return 0.0
    first, last = alive[0], alive[-1]
    waited_s = last.wait_s - first.wait_s
    throttled_s = last.usage.throttled_s - first.usage.throttled_s
    return max(0.0, waited_s - throttled_s) / (last.at - first.at)


def _memory(run: Run) -> Bound:
    peak = most(run.samples, lambda each: each.memory_bytes)
    return Bound(
        what="peak memory of the server and its processes",
        wanted=f"≤ {PEAK_BYTES_MAX // MIB} MiB",
        seen=f"{peak / MIB:.0f} MiB",
        kept=0 < peak <= PEAK_BYTES_MAX,
    )


def _oom(run: Run) -> Bound:
    killed = round(most(run.samples, lambda each: each.usage.oom_kills))
    return Bound(what="oom_kill", wanted="0", seen=str(killed), kept=killed == 0)


def _survival(run: Run) -> Bound:
    alive = all(each.alive for each in run.loaded)
    if not alive:
        seen = "it died under the load"
    elif run.exit_code is None:
        seen = "it had to be killed"
    else:
        seen = f"exit {run.exit_code}"
    return Bound(
        what="alive to the end, and its exit at SIGTERM",
        wanted="exit 0",
        seen=seen,
        kept=alive and run.exit_code == 0,
    )


def _errors(run: Run) -> Bound:
    errors = run.tally.answers.get("500", 0)
    said = f": {run.tally.errors[0]}" if run.tally.errors else ""
    return Bound(
        what="answers of 500, by the clients and by the log",
        wanted="0 and 0",
        seen=f"{errors} and {run.internal_errors}{said}",
        kept=not errors and not run.internal_errors,
    )


def _heartbeat(run: Run) -> Bound:
    """Judge the gaps under the load: a longer one before, at the start, says nothing of it."""
    before = most((each for each in run.samples if each.at < run.began), lambda each: each.beat.gap_s_max)
    told = most(run.loaded, lambda each: each.beat.gap_s_max)
    if told <= before:  # no shorter one is told: the beats of successive samples bound it, a sample too long at most
        beats_at = [each.beat.at for each in run.loaded]
        told = max((after - at for at, after in pairwise(beats_at)), default=0.0)
    gap_s = max(told, most((each for each in run.loaded if each.alive), lambda each: each.age_s))
    beats = most(run.samples, lambda each: each.beat.beats)
    return Bound(
        what="longest gap of the heartbeat",
        wanted=f"≤ {GAP_S_MAX * 1000:.0f} ms",
        seen=f"{gap_s * 1000:.0f} ms{_throttling(run)}" if beats else "it never beat",
        kept=beats > 0 and gap_s <= GAP_S_MAX,
        of_time=True,
    )


def _throttling(run: Run) -> str:
    """Say how much of the time was not the server's own: that of its quota, and that of other programs."""
    loaded = [each for each in run.loaded if each.alive]
    if len(loaded) < 2:
        return ""
    first, last = loaded[0], loaded[-1]
    waited = (last.wait_s - first.wait_s) / (last.at - first.at)
    periods = last.usage.periods - first.usage.periods
    if not periods:
        return f", its loop waited for a CPU {waited:.0%} of the time"
    share = (last.usage.throttled - first.usage.throttled) / periods
    return f", throttled in {share:.0%} of the periods, its loop waited for a CPU {waited:.0%} of the time"


def _refusals(run: Run) -> Bound:
    return Bound(
        what="rejections (429, 503) without Retry-After",
        wanted="0",
        seen=f"{run.tally.bare_refusals:,} of {run.tally.refused:,}",
        kept=not run.tally.bare_refusals,
    )


def _rest(run: Run) -> Bound:
    after = between(run.samples, run.ended, float("inf"))
    least = min((each.memory_bytes for each in after if each.alive), default=0)
    base = f"{run.baseline_bytes / MIB:.0f} MiB before"
    if run.rested_s is None:
        seen = f"{least / MIB:.0f} MiB at the least, {base}"
    else:
        seen = f"after {run.rested_s:.0f} s, {base}"
    return Bound(
        what="memory back after the load",
        wanted=f"within {LEFT_BYTES_MAX // MIB} MiB of before, in {REST_S:.0f} s",
        seen=seen,
        kept=run.rested_s is not None,
    )


def _conservation(run: Run) -> list[Bound]:
    off = sum(not each.beat.balanced for each in run.samples)
    last = run.samples[-1].beat if run.samples else None
    accepted = int(last.accepted) if last is not None else 0
    seen_202 = run.tally.accepted
    bounds = [
        Bound(
            what="accepted = delayed + queued + running + terminal + evicted",
            wanted="in each sample",
            seen=f"off in {off:,} of {len(run.samples):,}",
            kept=off == 0 and bool(run.samples),
        ),
        Bound(
            what="jobs accepted, by the server and by the clients",
            wanted="equal, but for submissions without an answer" if run.accounts else "at least the honest clients'",
            seen=f"{accepted:,} and {seen_202:,} ({run.tally.unknown:,} without an answer)",
            kept=seen_202 <= accepted and (not run.accounts or accepted <= seen_202 + run.tally.unknown),
        ),
        _ends(run),
    ]
    return bounds


def _ends(run: Run) -> Bound:
    ended = sum(run.tally.ended.values()) if run.follows else run.tally.accepted
    states = ", ".join(f"{count:,} {state}" for state, count in sorted(run.tally.ended.items()))
    left = run.tally.accepted - ended - run.tally.gone - run.tally.lost_count
    lost = f"; {run.tally.lost[0]}" if run.tally.lost else ""
    return Bound(
        what="accepted jobs that were not seen to end",
        wanted="0",
        seen=f"{run.tally.lost_count + max(0, left):,} of {run.tally.accepted:,} ({states or 'none ended'}"
        f"{f', {run.tally.gone:,} evicted' if run.tally.gone else ''}){lost}",
        kept=not run.tally.lost_count and left <= 0,
    )


def _monitor(run: Run) -> Bound:
    share = complete_share(run.samples)
    return Bound(
        what="samples of the monitor that are there",
        wanted=f"≥ {COMPLETE_MIN:.0%}",
        seen=f"{share:.1%} of {len(run.samples):,}",
        kept=share >= COMPLETE_MIN,
        of_time=True,
    )


def _small(run: Run) -> Bound:
    assert run.small is not None
    p50, p99 = (percentile(run.small.waits_ms, share) for share in (0.5, 0.99))
    seen = "none ended" if p99 is None else f"{p99:,.0f} ms (p50 {p50:,.0f}) of {len(run.small.waits_ms):,}"
    return Bound(
        what="small jobs, from an accepted submission to its seen end, p99",
        wanted=f"≤ {run.small_ms_max:,.0f} ms",
        seen=seen,
        kept=p99 is not None and p99 <= run.small_ms_max,
        of_time=True,
    )
