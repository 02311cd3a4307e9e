"""Assumptions of a forecast, in sentences: those that hold for it, of docs/explanation/what-if.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.what_if.visits import Returns

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.what_if.measured import Measured
    from jobqueue.what_if.question import Question
    from jobqueue.what_if.scale import Scale

_RETURNS = {
    Returns.OBEDIENT: "return when Retry-After says",
    Returns.DISOBEDIENT: "try again after 1 s, whatever Retry-After says",
    Returns.NEVER: "don't return",
}

REGULAR = 0.8
"""A dispersion below it means arrivals that are more regular than chance."""


def assumptions(question: Question, measured: Measured, scales: Sequence[Scale]) -> Iterator[str]:
    """Yield what the figures assume."""
    clients = question.clients
    yield "The queue begins empty, and the load lasts: nothing is told of a burst that ends."
    yield (
        f"A client waits {clients.patience_s:g} s for the start of its job on average, evenly from half to one and a "
        f"half of it, and cancels nothing when it leaves; rejected clients {_RETURNS[clients.returns]}."
    )
    yield "Run times are the same at any load: no handler gets slower, and the server's own work takes no time."
    if question.given.run_s is None:
        yield (
            "Run times are measured in buckets; within a bucket they are spread by a power law that keeps the measured "
            "mean, so waits for runs of equal length are overestimated."
        )
    else:
        yield f"Run times are spread exponentially around the given mean of {question.given.run_s:g} s."
    if measured.dispersion is None:
        yield "Arrivals are independent of each other (a Poisson process): no burst is known."
    elif measured.dispersion < REGULAR:
        yield "Arrivals were more regular than chance; they are simulated by chance, so waits are overestimated."
    else:
        yield "Bursts that last for seconds are those measured, and grow with the load; within a second there are none."
    if measured.totals["refused"] and not question.given.arrivals_per_s:
        yield "Each rejected submission counts as a client of its own: if they came back, the load is overstated."
    if not clients.samples:
        yield "All jobs have the same priority, no group and no deadline: priority and fair are fifo then."
    else:
        yield f"Priorities, groups and deadlines are those of the latest {len(clients.samples)} jobs."
    if (jobs := max(scale.jobs for scale in scales)) > 1.0:
        yield (
            f"One simulated job stands for up to {jobs:.3g} real ones: short waits below the capacity are "
            "overestimated."
        )
    yield "Other queues leave this one its workers; limits of callers and of the job store are not simulated."
