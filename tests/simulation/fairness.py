"""Fairness of early evictions: each takes from a caller that holds most, by a count of all records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from jobqueue.core.job import FAILED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jobqueue.core.job import Job
    from tests.simulation.known import Known


def unfair(kept: Iterable[Known], evicted: Sequence[Job]) -> Iterator[str]:
    """Find records that were evicted early although another caller holds more.

    Args:
        kept: All records that are left.
        evicted: In the order of their evictions.
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
        fair = False
        for counts, (amount, slack) in zip(held, kinds, strict=True):
            counts[job.caller] += amount(job)
            fair |= counts[job.caller] + slack >= max(counts[caller] for caller in has_terminal)
        if not fair:
            yield f"{job.id} of {job.caller} was evicted early, and others hold more: {held}"
