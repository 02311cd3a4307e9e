"""Fairness of early evictions: each takes from a caller that holds most, by a count of all records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobqueue.core.job import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jobqueue.core.job import Job
    from jobqueue.core.quotas import Quotas
    from tests.simulation.known import Known


def unfair(kept: Iterable[Known], evicted: Sequence[Job], quotas: Quotas, together_max: int) -> Iterator[str]:
    """Find records that were evicted early although another caller holds more.

    Args:
        kept: All records that are left.
        evicted: In the order of their evictions.
        quotas: A caller that has reached its own loses records, too.
        together_max: The number of jobs that it may have asked for at once.
    """
    kept = list(kept)
    jobs = [known.job for known in kept] + list(evicted)
    has_terminal = {known.job.caller for known in kept if not known.live}
    largest_bytes = max(job.size_bytes for job in jobs)
    # Of bytes: a record may have changed in the same operation.
    kinds: tuple[tuple[Callable[[Job], int], int], ...] = (
        (lambda _: 1, 0),
        (lambda job: job.size_bytes, 2 * largest_bytes),
        (lambda job: job.state is FAILED, 0),
    )
    held = []
    for amount, _ in kinds:
        counts: Counter[str | None] = Counter()
        for known in kept:
            counts[known.job.caller] += amount(known.job)
        held.append(counts)
    for job in reversed(evicted):
        has_terminal.add(job.caller)
        records_max = quotas.of(job.caller).records_max
        fair = records_max is not None and held[0][job.caller] + together_max >= records_max
        for counts, (amount, slack) in zip(held, kinds, strict=True):
            counts[job.caller] += amount(job)
            fair |= counts[job.caller] + slack >= max(counts[caller] for caller in has_terminal)
        if not fair:
            yield f"{job.id} of {job.caller} was evicted early, and others hold more: {held}"
