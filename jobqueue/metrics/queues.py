"""The families of one queue's service: its queues, types, limiters, records, files and pools.

Rules:

1. They are read at the scrape. What a queue counts by type is read queue by queue, and the event loop goes on in
   between, so that a scrape of thousands of series holds up no request.
2. An exemplar is a job with a record that is still held, and the duration that the record tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.attempt_outcome import ATTEMPT_OUTCOMES
from jobqueue.core.counting.counts import NO_DURATIONS, TypeCounts
from jobqueue.core.histogram import BOUNDS_S
from jobqueue.errors import Draining, QueueFull, RateLimited, Refused, StatusesFull, TypeQuarantined
from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import Family, labelled

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from jobqueue.backend.journal.figures import JournalFigures
    from jobqueue.backend.store import StoreFigures
    from jobqueue.core.counting.counts import Durations, QueueCounts
    from jobqueue.core.counting.stats import QueueStats
    from jobqueue.core.job import Job
    from jobqueue.core.schedule_counts import ScheduleFigures
    from jobqueue.metrics.catalogue import Spec
    from jobqueue.metrics.family import Example
    from jobqueue.publishing import Publishing
    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.service import Service
    from jobqueue.snapshot import ServiceSnapshot

REASONS: Final[dict[type[Refused], str]] = {
    QueueFull: "queue-full",
    StatusesFull: "statuses-full",
    TypeQuarantined: "type-quarantined",
    RateLimited: "quota-exceeded",
    Draining: "draining",
}
"""Why a queue rejects a submission: the types of the problems."""

NO_COUNTS: Final = TypeCounts(
    waiting=0,
    running=0,
    submitted_total=0,
    retried_total=0,
    started_total=0,
    succeeded_total=0,
    failed_total=0,
    cancelled_total=0,
    expired_total=0,
    same_key_total=0,
    same_value_total=0,
    runs={},
)

STEP_WORK: Final = 200
"""Histograms that are added up in a step, about a millisecond."""

_LOWER: Final = (-1.0, *BOUNDS_S)
_UPPER: Final = (*BOUNDS_S, float("inf"))


class _Type:
    """What all queues have counted of one type."""

    __slots__ = ("runs", "same_key", "same_value")

    def __init__(self) -> None:
        self.runs: dict[str, list[Durations]] = {}
        self.same_key = self.same_value = 0

    def add(self, counts: TypeCounts) -> None:
        self.same_key += counts.same_key_total
        self.same_value += counts.same_value_total
        for outcome, durations in counts.runs.items():
            self.runs.setdefault(outcome, []).append(durations)


class QueueFamilies:
    """The families of one scrape, filled queue by queue.

    Args:
        with_examples: Whether histograms have exemplars, which are ids of jobs.
    """

    def __init__(self, service: Service, *, with_examples: bool) -> None:
        self._service = service
        # Each has its value from the record at hand.
        self._with_examples = with_examples and not service.backend.shared
        self._families: dict[Spec, Family] = {spec: Family(spec) for spec in of.CATALOGUE}
        self._snapshot = service.snapshot()
        self._types = {each.name: _Type() for each in self._snapshot.types}
        self._names = {name: labelled(("type", name)) for name in self._types}

    def steps(self) -> Iterator[None]:
        """Fill them, in steps of bounded work: a queue, or some types."""
        snapshot = self._snapshot
        self._add_service(snapshot)
        home: dict[str, list[str]] = {}
        for each in snapshot.types:
            home.setdefault(each.queue, []).append(each.name)
        for stats in snapshot.queues:
            yield
            self._add_queue(stats, self._service.counts(stats.name), home.get(stats.name, ()))
        work = 0
        for name, counted in self._types.items():
            self._add_type(name, counted)
            work += 2 + sum(map(len, counted.runs.values()))
            if work >= STEP_WORK:
                work = 0
                yield

    @property
    def filled(self) -> Iterable[Family]:
        """All families, in the order of the catalogue; some may be empty."""
        return self._families.values()

    @property
    def journal(self) -> JournalFigures | None:
        """The figures of the journal; None: there is none."""
        return self._snapshot.journal

    @property
    def topics(self) -> Publishing:
        """What was published, and its subscribers."""
        return self._service.topics

    @property
    def schedules(self) -> ScheduleFigures:
        """The figures of all schedules together."""
        return self._snapshot.schedules

    @property
    def webhooks(self) -> Sequence[TargetFigures]:
        """The figures of each receiver of webhooks."""
        return self._snapshot.webhooks

    @property
    def shared_store(self) -> StoreFigures | None:
        """The figures of the store that holds the jobs; None: they are in this process."""
        return self._snapshot.shared_store

    def __getitem__(self, spec: Spec) -> Family:
        return self._families[spec]

    def _add_service(self, snapshot: ServiceSnapshot) -> None:
        settings, store = snapshot.settings, snapshot.store
        for spec, value in (
            (of.STARTED, snapshot.started_at),
            (of.DRAINING, int(snapshot.draining)),
            (of.DEGRADED, len(snapshot.degraded)),
            (of.RECORDS_MAX, settings.statuses.jobs_max),
            (of.RECORD_BYTES, store.bytes_used),
            (of.RECORD_BYTES_MAX, settings.statuses.bytes_max),
            (of.SPOOL_BYTES, snapshot.spool.bytes_used),
            (of.SPOOL_BYTES_MAX, settings.spool.bytes_max),
            (of.SPOOL_ERRORS, snapshot.spool.errors_total),
        ):
            self[spec].add(value)
        bound, deleted = store.evicted_early_total, store.deleted_total
        threads, processes = snapshot.threads, snapshot.processes
        for spec, label, values in (
            (of.RECORDS, "state", {"live": store.live, "terminal": store.terminal}),
            (
                of.EVICTED,
                "reason",
                {"ttl": store.evicted_total - bound - deleted, "bound": bound, "deleted": deleted},
            ),
            (of.THREADS, "state", {"busy": threads.busy, "idle": threads.idle, "abandoned": threads.abandoned}),
            (of.PROCESSES, "state", {"busy": processes.busy, "idle": processes.idle}),
            (of.RESTARTS, "reason", processes.restarts),
        ):
            for name, count in values.items():
                self[spec].add(count, labelled((label, name)))
        for limiter in snapshot.limiters:
            labels = labelled(("kind", limiter.kind), ("name", limiter.name))
            self[of.LIMITER_HELD].add(limiter.held, labels)
            self[of.LIMITER_WAITING].add(limiter.waiting, labels)
            if limiter.permits is not None:
                self[of.LIMITER_PERMITS].add(limiter.permits, labels)
        quarantined = {each.type for queue in snapshot.queues for each in queue.quarantined}
        for name, labels in self._names.items():
            self[of.QUARANTINED].add(int(name in quarantined), labels)

    def _add_queue(self, stats: QueueStats, counts: QueueCounts, registered: Iterable[str]) -> None:
        policy, labels = stats.policy, labelled(("queue", stats.name))
        self[of.CAPACITY].add(policy.capacity, labels)
        self[of.WORKERS].add(policy.workers, labels)
        self[of.WEIGHT].add(policy.weight, labels)
        self[of.PAUSED].add(int(stats.paused), labels)
        live = (stats.waiting, stats.delayed, stats.queued, stats.running)
        for state, count in zip(("waiting", "delayed", "queued", "running"), live, strict=True):
            self[of.JOBS].add(count, f'{labels},state="{state}"')
        if stats.oldest_queued_at is not None:
            self[of.OLDEST].add(self._service.wall(stats.oldest_queued_at), labels)
        self[of.RETRIED].add(stats.retried_total, labels)
        for kind, reason in REASONS.items():
            self[of.REFUSED].add(counts.refused.get(kind, 0), f'{labels},reason="{reason}"')
        self._add_durations(of.WAIT, [counts.waits], labels, _waited)
        for name in dict.fromkeys((*registered, *counts.types)):
            self._add_type_of_queue(name, counts.types.get(name, NO_COUNTS), labels)

    def _add_type_of_queue(self, name: str, counts: TypeCounts, queue: str) -> None:
        known = self._types.get(name)
        if known is None:
            return  # a type is registered before it has a job
        known.add(counts)
        labels = f"{queue},{self._names[name]}"
        self[of.SUBMITTED].add(counts.submitted_total, labels)
        self[of.STARTED_JOBS].add(counts.started_total, labels)
        ended = self[of.ENDED]
        ended.add(counts.succeeded_total, f'{labels},state="succeeded"')
        ended.add(counts.failed_total, f'{labels},state="failed"')
        ended.add(counts.cancelled_total, f'{labels},state="cancelled"')
        ended.add(counts.expired_total, f'{labels},state="expired"')

    def _add_type(self, name: str, counted: _Type) -> None:
        labels, runs = self._names[name], counted.runs
        self[of.DEDUPLICATED].add(counted.same_key, f'{labels},by="key"')
        self[of.DEDUPLICATED].add(counted.same_value, f'{labels},by="unique"')
        for outcome in ATTEMPT_OUTCOMES:
            durations = runs.get(outcome, ())
            of_outcome = f'{labels},outcome="{outcome}"'
            self[of.ATTEMPTS].add(sum([each.count for each in durations]), of_outcome)
            if durations or outcome == "succeeded":
                self._add_durations(of.RUN, durations or (NO_DURATIONS,), of_outcome, _ran)

    def _add_durations(
        self, spec: Spec, durations: Iterable[Durations], labels: str, measure: Callable[[Job], float | None]
    ) -> None:
        first, *others = durations
        counts, sum_s = first.counts, first.sum_s
        if others:
            counts = tuple(map(sum, zip(counts, *(each.counts for each in others), strict=True)))
            sum_s += sum(each.sum_s for each in others)
        examples = self._examples(first, measure) if self._with_examples else ()
        self[spec].add_histogram(counts, sum_s, labels, examples)

    def _examples(self, durations: Durations, measure: Callable[[Job], float | None]) -> list[Example | None]:
        found: list[Example | None] = []
        for bucket, job_id in enumerate(durations.examples):
            job = None if job_id is None else self._service.local.find(job_id)
            duration_s = None if job is None else measure(job)
            if job is None or duration_s is None or not _LOWER[bucket] < duration_s <= _UPPER[bucket]:
                found.append(None)
            else:
                found.append((job.id, duration_s))
        return found


def _waited(job: Job) -> float | None:
    return None if job.started_at is None else job.started_at - job.run_at


def _ran(job: Job) -> float | None:
    return None if job.started_at is None or job.finished_at is None else job.finished_at - job.started_at
