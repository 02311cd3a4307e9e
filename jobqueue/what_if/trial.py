"""A trial: one setting of a queue under one load, with the chance of one seed."""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.job import JobSpec, JobState, Uniqueness
from jobqueue.what_if.arrivals import instants, rates_of
from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue
from jobqueue.what_if.visits import Returns, Visits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jobqueue.core.job import Job
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.what_if.measured import Measured, MeasuredType
    from jobqueue.what_if.scale import Scale
    from jobqueue.what_if.visits import Visit

CHECKS: Final = 200
"""How often in a trial the time is checked."""


class OutOfTime(Exception):
    """The simulation has used up its time."""


class Guest(msgspec.Struct, frozen=True, gc=False):
    """A client: its arrival, the end of its patience, its job."""

    at: float
    leaves_at: float
    spec: JobSpec
    uniqueness: Uniqueness
    attempts: tuple[Attempt, ...]


class Sample(msgspec.Struct, frozen=True):
    """The options of one real job, and its caller and owner: simulated ones of its type have the same."""

    type: str
    priority: int = 0
    group: str | None = None
    start_by_s: float | None = None
    caller: str | None = None
    owner: str | None = None


class Clients(msgspec.Struct, frozen=True, kw_only=True):
    """What is assumed of clients.

    Attributes:
        patience_s: Mean time that a client waits for the start of its job, from its first try; evenly distributed from
            half to one and a half of it.
        samples: Options of real jobs; none: all have the defaults.
    """

    patience_s: float
    returns: Returns = Returns.OBEDIENT
    samples: list[Sample] = []  # msgspec copies an empty one


class Span(msgspec.Struct, frozen=True):
    """Simulated time: the warm-up and, after it, the measured time, in seconds."""

    warm_s: float
    measured_s: float

    @property
    def until(self) -> float:
        return self.warm_s + self.measured_s


class TrialFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One trial. Rates and shares are of its measured time, in real jobs.

    Attributes:
        waits_s: The wait of each attempt that started.
        utilisation: The share of the workers' time in which they ran jobs.
    """

    offered_per_s: float
    goodput_per_s: float
    late_per_s: float
    failed_per_s: float
    expired_per_s: float
    refused_share: float
    utilisation: float
    waits_s: list[float]


class Crowd:
    """The clients of all trials of one load and seed: every setting meets the same ones, with the same work."""

    def __init__(
        self, measured: Measured, clients: Clients, factor: float, scale: Scale, span: Span, seed: str
    ) -> None:
        self.factor, self.scale, self.span, self.seed = factor, scale, span, seed
        self._measured, self._clients = measured, clients

    @cached_property
    def guests(self) -> Sequence[Guest]:
        return tuple(self._draw())

    @property
    def returns(self) -> Returns:
        return self._clients.returns

    def _draw(self) -> Iterator[Guest]:
        rng = Random(f"{self.seed}/clients/{self.factor}")
        types = self._measured.types
        cumulative = list(accumulate(each.share for each in types))
        specs = [self._specs(each) for each in types]
        rates, numbers = rates_of(self._measured.counts), range(len(types))
        for at in instants(rates, self.factor / self.scale.jobs, until=self.span.until, rng=rng):
            leaves_at = at + self._clients.patience_s * rng.uniform(0.5, 1.5)
            (number,) = rng.choices(numbers, cum_weights=cumulative)
            yield Guest(at, leaves_at, *rng.choice(specs[number]), self._attempts(types[number], rng))

    def _attempts(self, of: MeasuredType, rng: Random) -> tuple[Attempt, ...]:
        attempts = []
        for _ in range(of.options.attempts_max):
            succeeds = rng.random() >= of.fails
            attempts.append(Attempt(of.run_times.draw_s(rng) * self.scale.run_factor, succeeds))
            if succeeds:
                break
        return tuple(attempts)

    def _specs(self, of: MeasuredType) -> list[tuple[JobSpec, Uniqueness]]:
        samples = self._clients.samples
        alike = [each for each in samples if each.type == of.options.name] or samples or [Sample(of.options.name)]
        limits = self.scale.limits(of.options.limits)
        return [
            (
                JobSpec(
                    type=of.options.name,
                    priority=each.priority,
                    group=each.group,
                    start_by_s=each.start_by_s,
                    attempts_max=of.options.attempts_max,
                    backoff=of.options.backoff,
                    limits=limits,
                    pool=of.options.pool,
                ),
                Uniqueness(caller=each.caller, plain=True, owner=each.owner),
            )
            for each in alike
        ]


class Trial:
    """One setting of a queue, under the load of a crowd.

    Args:
        policy, pools: The settings, unscaled.
        is_over: Whether the time is used up.
    """

    def __init__(
        self, policy: QueuePolicy, pools: Mapping[str, int], crowd: Crowd, is_over: Callable[[], bool]
    ) -> None:
        self._crowd, self._is_over = crowd, is_over
        self._policy = crowd.scale.policy(policy)
        self._from, self._until = crowd.span.warm_s, crowd.span.until
        self._arrived = self._tries = self._accepted = 0
        self._in_time = self._late = self._failed = self._expired = 0
        self._busy_s = 0.0
        self._waits_s: list[float] = []
        self._queue = SimulatedQueue(
            self._policy,
            seed=crowd.seed,
            on_end=self._end,
            on_start=self._start,
            pools=crowd.scale.pools(pools),
        )
        self._visits = Visits(
            self._queue,
            crowd.guests,
            job_of=self._job_of,
            returns=crowd.returns,
            on_arrival=self._arrive,
        )
        for number in range(1, CHECKS):
            self._queue.at(number * self._until / CHECKS, self._check, None)

    def run(self) -> TrialFigures:
        """Simulate it, and return its figures. Raises OutOfTime."""
        state = self._queue.queue_state
        self._queue.run(self._from)
        accepted, refused = state.submitted_total, state.refused_total
        self._queue.run(self._until)
        accepted, refused = state.submitted_total - accepted, state.refused_total - refused
        span_s, jobs = self._until - self._from, self._crowd.scale.jobs
        return TrialFigures(
            offered_per_s=self._arrived * jobs / span_s,
            goodput_per_s=self._in_time * jobs / span_s,
            late_per_s=self._late * jobs / span_s,
            failed_per_s=self._failed * jobs / span_s,
            expired_per_s=self._expired * jobs / span_s,
            refused_share=refused / ((accepted + refused) or 1),
            utilisation=self._busy_s / (self._policy.workers * span_s),
            waits_s=self._waits_s,
        )

    def _check(self, _: None) -> None:
        if self._is_over():
            raise OutOfTime

    @property
    def _measuring(self) -> bool:
        return self._queue.now >= self._from

    def _arrive(self, visit: Visit[Guest]) -> None:
        self._arrived += self._measuring

    def _job_of(self, guest: Guest) -> tuple[JobSpec, Sequence[Attempt], Uniqueness]:
        return guest.spec, guest.attempts, guest.uniqueness

    def _start(self, job: Job, attempt: Attempt) -> None:
        now = self._queue.now
        self._busy_s += max(0.0, min(now + attempt.run_s, self._until) - max(now, self._from))
        if self._measuring:
            self._waits_s.append(now - max(job.created_at, job.run_at))

    def _end(self, job: Job) -> None:
        visit = self._visits.end(job)
        if not self._measuring:
            return
        if job.state is JobState.SUCCEEDED:
            assert job.started_at is not None
            if job.started_at <= visit.client.leaves_at:
                self._in_time += 1
            else:
                self._late += 1
        elif job.state is JobState.FAILED:
            self._failed += 1
        elif job.state is JobState.EXPIRED:
            self._expired += 1
