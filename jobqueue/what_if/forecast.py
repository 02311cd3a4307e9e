"""The forecast: trials of every setting under every load, with several seeds, as one document.

Rules:

1. The number of simulated jobs is fixed by the question, not by the time that they take: the same question, with the
   same seed, has the same answer. Only when the time is used up are seeds missing, and the document says so.
2. Seeds are the outer loop: what the time allows is a whole table, with fewer seeds.
3. A figure is the mean of its seeds, and its spread their least and greatest: two figures with spreads that overlap
   are not told apart. Quantiles are those of the waits of all seeds together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.what_if.alternatives import default_alternatives
from jobqueue.what_if.arrivals import rates_of
from jobqueue.what_if.assumptions import assumptions
from jobqueue.what_if.documents import (
    AlternativeDocument,
    ComparedSettingsDocument,
    ForecastCellDocument,
    ForecastDocument,
    ForecastFigureDocument,
    MeasuredQueueDocument,
    MeasuredTypeDocument,
    RunTimesDocument,
    SimulatedClientsDocument,
    SimulatedTimeDocument,
    WaitsDocument,
)
from jobqueue.what_if.measured import NotMeasured, given, measure
from jobqueue.what_if.quantiles import SHARES, quantiles
from jobqueue.what_if.question import Given
from jobqueue.what_if.run_times import GivenRunTimes
from jobqueue.what_if.scale import scale_for
from jobqueue.what_if.trial import Crowd, OutOfTime, Span, Trial
from jobqueue.what_if.visits import PAUSE_S, Returns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.core.policy import QueuePolicy
    from jobqueue.what_if.measured import Measured
    from jobqueue.what_if.question import Question
    from jobqueue.what_if.run_times import RunTimes
    from jobqueue.what_if.scale import Scale
    from jobqueue.what_if.trial import TrialFigures

SEEDS: Final = 3

TRIES_MAX: Final = 120_000
"""Submissions of all trials together, roughly."""

ARRIVALS_MIN: Final = 200
"""Clients of one trial, at least."""

SECONDS_MAX: Final = 86_400.0

TYPES_MAX: Final = 20

LIVE: Final = frozenset({"discipline", "capacity", "workers"})
"""What `PATCH /v1/queues/{name}` changes, of what is compared."""


class Forecast:
    """The answer to one question.

    Args:
        clock: Returns seconds; the time is counted from now on.

    Raises:
        NotMeasured: The history has too little, and nothing was given instead.
    """

    def __init__(self, question: Question, clock: Callable[[], float]) -> None:
        self._question, self._clock = question, clock
        self._began_at = clock()
        self._measured = _basis(question)
        present = _bounded(question.present, question.workers_max)
        at_once = at_once_of(present, self._measured, question.pools)
        run_s, patience_s = self._measured.run_times.mean_s, question.clients.patience_s
        policies = question.policies and [question.present, *question.policies]
        self._policies = list(dict.fromkeys(policies)) or default_alternatives(
            question.present, at_once=at_once, run_s=run_s, patience_s=patience_s
        )
        self._span = _span(question.seconds, patience_s, run_s, self._measured.arrivals_per_s)
        self._scales = [self._scale(load, at_once) for load in question.loads]
        self._jobs = 0

    def _scale(self, load: float, at_once: int) -> Scale:
        measured, question = self._measured, self._question
        trials = SEEDS * len(self._policies) * len(question.loads)
        busy = load * measured.arrivals_per_s * measured.run_times.mean_s / at_once
        tries = _tries(busy, question.clients.returns, question.clients.patience_s)
        arrivals = max(ARRIVALS_MIN, TRIES_MAX / trials / tries)
        excess = load * measured.arrivals_per_s * self._span.until / arrivals
        # Up to twice as many are simulated as they are: a scale changes more than it saves.
        return (
            scale_for(excess, _permits_min(self._policies, measured, question)) if excess > 2.0 else scale_for(1.0, 1)
        )

    def answer(self) -> ForecastDocument:
        """Run all trials that the time allows."""
        question = self._question
        trials: dict[tuple[int, int], list[TrialFigures]] = {}
        complete, seeds = True, 0
        try:
            for seed in range(SEEDS):
                self._run(f"{question.seed}/{seed}", trials)
                seeds += 1
        except OutOfTime:
            complete = False
        return ForecastDocument(
            queue=question.queue,
            measured=_measured_document(self._measured, question),
            clients=SimulatedClientsDocument(
                patience_s=question.clients.patience_s,
                returns=question.clients.returns,
                samples=len(question.clients.samples),
            ),
            simulated=SimulatedTimeDocument(
                warm_s=self._span.warm_s,
                seconds=self._span.measured_s,
                seeds=max(seeds, min(1, len(trials))),
                jobs=self._jobs,
                jobs_each=[round(scale.jobs, 3) for scale in self._scales],
                took_s=round(self._clock() - self._began_at, 3),
                complete=complete,
            ),
            loads=question.loads,
            alternatives=[self._alternative(number, policy, trials) for number, policy in enumerate(self._policies)],
            assumptions=[*assumptions(question, self._measured, self._scales)],
        )

    def _run(self, seed: str, trials: dict[tuple[int, int], list[TrialFigures]]) -> None:
        """Add a trial of each setting under each load. Raises OutOfTime."""
        question = self._question
        for column, (load, scale) in enumerate(zip(question.loads, self._scales, strict=True)):
            crowd = Crowd(self._measured, question.clients, load, scale, self._span, seed)
            for row, policy in enumerate(self._policies):
                bounded = _bounded(policy, question.workers_max)
                figures = Trial(bounded, question.pools, crowd, self._is_over).run()
                self._jobs += len(crowd.guests)
                trials.setdefault((row, column), []).append(figures)

    def _is_over(self) -> bool:
        return self._clock() - self._began_at > self._question.time_s

    def _alternative(
        self, row: int, policy: QueuePolicy, trials: dict[tuple[int, int], list[TrialFigures]]
    ) -> AlternativeDocument:
        present = self._question.present
        names = ("discipline", "capacity", "workers", "patience_s")
        changes = [name for name in names if getattr(policy, name) != getattr(present, name)]
        return AlternativeDocument(
            settings=ComparedSettingsDocument(**{name: getattr(policy, name) for name in names}),
            changes=changes,
            live=LIVE.issuperset(changes),
            cells=[_cell(load, trials.get((row, column))) for column, load in enumerate(self._question.loads)],
        )


def _basis(question: Question) -> Measured:
    """Return what was measured, with what was given instead. Raises NotMeasured."""
    arrivals_per_s, run_s = question.given.arrivals_per_s, question.given.run_s
    if arrivals_per_s is not None and run_s is not None:
        return given(arrivals_per_s, GivenRunTimes(run_s))
    if question.recorded is None:
        raise NotMeasured("the queue has no history")
    measured = measure(question.recorded)
    if arrivals_per_s is not None:
        # As bursty as they were.
        factor = arrivals_per_s / measured.arrivals_per_s
        counts = [factor * rate for rate in rates_of(measured.counts)]
        return msgspec.structs.replace(measured, counts=counts)
    if run_s is not None:
        run_times = GivenRunTimes(run_s)
        types = [msgspec.structs.replace(each, run_times=run_times) for each in measured.types]
        return msgspec.structs.replace(measured, run_times=run_times, types=types)
    return measured


def _bounded(policy: QueuePolicy, workers_max: int | None) -> QueuePolicy:
    if workers_max is None or policy.workers <= workers_max:
        return policy
    return msgspec.structs.replace(policy, workers=workers_max)


def at_once_of(policy: QueuePolicy, measured: Measured, pools: dict[str, int]) -> int:
    """Return how many jobs of the queue run at once, at most."""
    used, sum_of_types = set[str](), 0
    for each in measured.types:
        limits = each.options.limits
        if each.options.pool is not None:
            used.add(each.options.pool)
        elif limits is not None and limits.concurrency is not None:
            sum_of_types += limits.concurrency
        else:
            return policy.workers
    return min(policy.workers, sum_of_types + sum(pools[name] for name in used))


def _permits_min(policies: Sequence[QueuePolicy], measured: Measured, question: Question) -> int:
    """Return the least of what bounds how many jobs run at once."""
    permits = [_bounded(policy, question.workers_max).workers for policy in policies]
    for each in measured.types:
        if each.options.pool is not None:
            permits.append(question.pools[each.options.pool])
        if each.options.limits is not None and each.options.limits.concurrency is not None:
            permits.append(each.options.limits.concurrency)
    return min(permits)


def _span(seconds: float | None, patience_s: float, run_s: float, arrivals_per_s: float) -> Span:
    """Return the simulated time: long enough for waits to reach the patience, for runs, and for some arrivals."""
    if seconds is None:
        seconds = min(SECONDS_MAX, max(4 * patience_s, 20 * run_s, ARRIVALS_MIN / arrivals_per_s))
    return Span(0.75 * seconds, seconds)


def _tries(busy: float, returns: Returns, patience_s: float) -> float:
    """Estimate how often a client tries, if the work is `busy` times what the queue can do."""
    if busy <= 1.0 or returns is Returns.NEVER:
        return 1.0
    more = min(30.0, patience_s / PAUSE_S) if returns is Returns.DISOBEDIENT else 1.0
    return 1.0 + more * (1.0 - 1.0 / busy)


def _cell(load: float, trials: list[TrialFigures] | None) -> ForecastCellDocument | None:
    if not trials:
        return None
    p95s = [value for each in trials if (value := quantiles(each.waits_s)["p95"]) is not None]
    waits = quantiles(wait for each in trials for wait in each.waits_s)
    return ForecastCellDocument(
        load=load,
        offered_per_s=round(sum(each.offered_per_s for each in trials) / len(trials), 3),
        goodput_per_s=_figure([each.goodput_per_s for each in trials]),
        late_per_s=_figure([each.late_per_s for each in trials]),
        failed_per_s=_figure([each.failed_per_s for each in trials]),
        expired_per_s=_figure([each.expired_per_s for each in trials]),
        refused_share=_figure([each.refused_share for each in trials]),
        utilisation=_figure([each.utilisation for each in trials]),
        wait_s=WaitsDocument(*(None if wait is None else round(wait, 4) for wait in waits.values())),
        wait_p95_s=_figure(p95s) if len(p95s) == len(trials) else None,
    )


def _figure(values: Sequence[float]) -> ForecastFigureDocument:
    mean = sum(values) / len(values)
    return ForecastFigureDocument(round(mean, 4), round(min(values), 4), round(max(values), 4))


def _measured_document(measured: Measured, question: Question) -> MeasuredQueueDocument:
    both = question.given.arrivals_per_s is not None and question.given.run_s is not None
    tried = measured.totals["submitted"] + measured.totals["refused"]
    waits = [measured.waits.quantile_s(share) for share in SHARES.values()]
    dispersion = measured.dispersion
    types = sorted(measured.types, key=lambda each: -each.share)[:TYPES_MAX]
    return MeasuredQueueDocument(
        window_s=0 if both else measured.window_s,
        given=[name for name in Given.__struct_fields__ if getattr(question.given, name) is not None],
        arrivals_per_s=round(measured.arrivals_per_s, 3),
        dispersion=None if dispersion is None else round(dispersion, 2),
        succeeded_per_s=round(measured.per_s("succeeded"), 3),
        expired_per_s=round(measured.per_s("expired"), 3),
        refused_share=round(measured.totals["refused"] / (tried or 1), 4),
        failed_share=round(sum(each.share * each.fails for each in measured.types), 4),
        run_s=_run_times_document(measured.run_times),
        wait_s=WaitsDocument(*(None if wait is None else round(wait, 4) for wait in waits)),
        types=[
            MeasuredTypeDocument(
                each.options.name, round(each.share, 4), _run_times_document(each.run_times), round(each.fails, 4)
            )
            for each in types
        ],
    )


def _run_times_document(run_times: RunTimes) -> RunTimesDocument:
    values = (run_times.mean_s, run_times.quantile_s(0.5), run_times.quantile_s(0.95))
    return RunTimesDocument(*(round(value, 6) for value in values))
