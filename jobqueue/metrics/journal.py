"""The families of the journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.core.histogram import BUCKETS
from jobqueue.core.job import JobState
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies


def add_journal(families: QueueFamilies) -> None:
    """Add the samples of a queue that has a journal."""
    journal = families.journal
    if journal is None:
        return
    for spec, value in (
        (of.JOURNAL_FAILED, int(not journal.admits)),
        (of.JOURNAL_COMMITS, journal.commits_total),
        (of.JOURNAL_BYTES, journal.bytes_used),
        (of.JOURNAL_BYTES_MAX, journal.bytes_max),
        (of.JOURNAL_SEGMENTS, journal.segments),
        (of.JOURNAL_ERRORS, journal.errors_total),
    ):
        families[spec].add(value)
    families[of.JOURNAL_COMMIT].add_histogram(journal.commit_counts or (0,) * BUCKETS, journal.commit_sum_s)
    if journal.snapshot_s is not None:
        families[of.JOURNAL_SNAPSHOT].add(journal.snapshot_s)
    if journal.snapshot_at is not None:
        families[of.JOURNAL_SNAPSHOT_AT].add(journal.snapshot_at)
    for state in JobState:
        families[of.JOURNAL_RECOVERED].add(journal.recovered.get(state.value, 0), labelled(("state", state.value)))
