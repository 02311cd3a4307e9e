"""An independent account of the limits, by events: permits, rates, pools, quarantines.

It answers two questions: did a job start too early, and does any limit hold a job back?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobqueue.core.limits.circuit_breaker import PROBE_S_MAX, PROBE_S_MIN

if TYPE_CHECKING:
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.rate import Rate
    from tests.simulation.known import Known

EPSILON_S = 1e-6


@dataclass(slots=True)
class Tokens:
    """A textbook token bucket: at most `count` tokens, refilled at one per `period_s / count`."""

    rate: Rate
    level: float
    at: float

    def take(self, now: float) -> bool:
        self.level = self.level_at(now) - 1
        self.at = now
        return self.level > -EPSILON_S

    def level_at(self, now: float) -> float:
        return min(float(self.rate.count), self.level + (now - self.at) * self.rate.count / self.rate.period_s)


@dataclass(slots=True)
class CircuitBreaker:
    """A quarantined type: the end and length of its wait, and the probes started since."""

    until: float
    wait_s: float
    probes: set[str] = field(default_factory=set)


class Limits:
    """The auditor's account of limits.

    Args:
        pools: The size of each pool.
    """

    def __init__(self, pools: dict[str, int]) -> None:
        self._pools = pools
        self._tokens: dict[tuple[str, ...], Tokens] = {}
        self.running: dict[str, Known] = {}
        self.quarantines: dict[str, CircuitBreaker] = {}

    def start(self, known: Known, now: float) -> Iterator[str]:
        """Count a started job; yield each limit that it exceeds."""
        spec = known.job.spec
        self.running[known.job.id] = known
        for bound, count, where in self._counted(spec):
            if count > bound:
                yield f"{known} is the {count}. to run {where}, which may have {bound}"
        for tokens, where in self._buckets(spec, now):
            if not tokens.take(now):
                yield f"{known} started too soon for {tokens.rate} {where}"
        quarantine = self.quarantines.get(spec.type)
        if quarantine is not None:
            if now < quarantine.until - EPSILON_S:
                yield f"{known} started, and {spec.type} is in quarantine until {quarantine.until}"
            if self._probes(quarantine) - {known.job.id}:
                yield f"{known} is the second probe of {spec.type} at once"
            quarantine.probes.add(known.job.id)

    def quarantine(self, job_type: str, until: float, now: float) -> Iterator[str]:
        """Begin a quarantine, or extend one after a failed probe; yield its errors."""
        before = self.quarantines.get(job_type)
        wait_s = PROBE_S_MIN if before is None else min(PROBE_S_MAX, 2 * before.wait_s)
        if abs(until - now - wait_s) > EPSILON_S:
            yield f"{job_type} is quarantined for {until - now} s, not {wait_s}"
        if before is not None and not self._probes(before):
            yield f"{job_type} is quarantined again, and none of its probes has failed"
        self.quarantines[job_type] = CircuitBreaker(until, wait_s)

    def release(self, job_type: str) -> Iterator[str]:
        """End a quarantine; yield its errors."""
        quarantine = self.quarantines.pop(job_type, None)
        if quarantine is None or not self._probes(quarantine):
            yield f"{job_type} was released, and none of its probes has succeeded"

    def stop(self, known: Known, *, outcome: bool) -> Iterator[str]:
        """Remove a job that stopped running; yield an error if it was a probe with an ignored outcome."""
        quarantine = self.quarantines.get(known.job.spec.type)
        if outcome and quarantine is not None and known.job.id in self._probes(quarantine):
            yield f"{known} was the probe of {known.job.spec.type}, but the quarantine ignored its outcome"
        self.running.pop(known.job.id, None)

    def hold_back(self, job: Job, now: float) -> bool:
        """Return whether a limit keeps a job from starting now, given a free worker."""
        spec = job.spec
        quarantine = self.quarantines.get(spec.type)
        if quarantine is not None and (now < quarantine.until or self._probes(quarantine)):
            return True
        return any(count >= bound for bound, count, _ in self._counted(spec)) or any(
            tokens.level_at(now) < 1 + EPSILON_S for tokens, _ in self._buckets(spec, now)
        )

    def count(self, among: Callable[[JobSpec], bool]) -> int:
        """Count the running jobs of a kind."""
        return sum(among(known.job.spec) for known in self.running.values())

    def _counted(self, spec: JobSpec) -> Iterator[tuple[int, int, str]]:
        """Yield each bound on running jobs, the number of running jobs, and the scope."""
        if spec.pool is not None:
            yield self._pools[spec.pool], self.count(lambda other: other.pool == spec.pool), f"in pool {spec.pool}"
        limits = spec.limits
        if limits is not None and limits.concurrency is not None:
            yield limits.concurrency, self.count(lambda other: other.type == spec.type), f"of {spec.type}"
        if limits is not None and limits.group_concurrency is not None and spec.group is not None:
            in_group = self.count(lambda other: other.type == spec.type and other.group == spec.group)
            yield limits.group_concurrency, in_group, f"of {spec.type} in group {spec.group}"

    def _buckets(self, spec: JobSpec, now: float) -> Iterator[tuple[Tokens, str]]:
        limits = spec.limits
        if limits is not None and limits.rate is not None:
            yield self._bucket(limits.rate, now, spec.type), f"of {spec.type}"
        if limits is not None and limits.group_rate is not None and spec.group is not None:
            yield self._bucket(limits.group_rate, now, spec.type, spec.group), f"of {spec.type} in group {spec.group}"

    def _bucket(self, rate: Rate, now: float, *of: str) -> Tokens:
        tokens = self._tokens.get(of)
        if tokens is None:
            tokens = self._tokens[of] = Tokens(rate, float(rate.count), now)
        return tokens

    def _probes(self, quarantine: CircuitBreaker) -> set[str]:
        """Return the probes that still run."""
        quarantine.probes = {job_id for job_id in quarantine.probes if job_id in self.running}
        return quarantine.probes
