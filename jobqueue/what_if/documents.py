"""The document of a forecast: its parts, in their order."""

from __future__ import annotations

from typing import Annotated

import msgspec

Amount = Annotated[float, msgspec.Meta(ge=0.0)]


class ForecastFigureDocument(msgspec.Struct, frozen=True):
    """A figure, and its spread: the least and the greatest of the seeds.

    Attributes:
        mean: The mean of the seeds.
        min: The least of them.
        max: The greatest of them.
    """

    mean: Amount
    min: Amount
    max: Amount


class WaitsDocument(msgspec.Struct, frozen=True):
    """Quantiles of waits in seconds; null: nothing started.

    Attributes:
        p50: The median.
        p95: What 95 % are below.
        p99: What 99 % are below.
    """

    p50: Amount | None
    p95: Amount | None
    p99: Amount | None


class RunTimesDocument(msgspec.Struct, frozen=True):
    """Run times in seconds, as they are simulated.

    Attributes:
        mean: Their mean, which is the measured one.
        p50: The median, estimated within its bucket.
        p95: What 95 % are below, estimated likewise.
    """

    mean: Amount
    p50: Amount
    p95: Amount


class MeasuredTypeDocument(msgspec.Struct, frozen=True):
    """A type of jobs of the queue.

    Attributes:
        type: The handler's registered name.
        share: Its share of the submissions.
        run_s: Its run times.
        failed_share: The share of its attempts that failed.
    """

    type: str
    share: Amount
    run_s: RunTimesDocument
    failed_share: Amount


class MeasuredQueueDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What the queue did in the window that was measured: the basis of the forecast.

    Attributes:
        window_s: Seconds of the window; 0: nothing was measured.
        given: Which of `arrivals_per_s` and `run_s` were given with the request instead.
        arrivals_per_s: Accepted submissions, and those rejected for lack of room.
        dispersion: The variance of the arrivals in a second over their mean: 1 for chance alone, more for bursts; null:
            not measured.
        succeeded_per_s: Jobs that succeeded.
        expired_per_s: Jobs that expired.
        refused_share: The share of the submissions that were rejected for lack of room.
        failed_share: The share of the attempts that failed.
        run_s: Run times.
        wait_s: Waits of the attempts that started.
        types: The most frequent types, at most 20.
    """

    window_s: int
    given: list[str]
    arrivals_per_s: Amount
    dispersion: Amount | None
    succeeded_per_s: Amount
    expired_per_s: Amount
    refused_share: Amount
    failed_share: Amount
    run_s: RunTimesDocument
    wait_s: WaitsDocument
    types: list[MeasuredTypeDocument]


class SimulatedClientsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What is assumed of clients.

    Attributes:
        patience_s: Mean time that a client waits for the start of its job.
        returns: When a rejected client tries again.
        samples: Real jobs of which simulated ones have priority, group and deadline; 0: they have none.
    """

    patience_s: Amount
    returns: str
    samples: int


class SimulatedTimeDocument(msgspec.Struct, frozen=True, kw_only=True):
    """How much was simulated.

    Attributes:
        warm_s: Simulated seconds of load before those that count.
        seconds: Simulated seconds that count.
        seeds: Trials of each setting under each load.
        jobs: Clients of all trials together.
        jobs_each: Real jobs for which one simulated job stands, for each load.
        took_s: Seconds of real time.
        complete: Whether the time was enough for all seeds.
    """

    warm_s: Amount
    seconds: Amount
    seeds: int
    jobs: int
    jobs_each: list[Amount]
    took_s: Amount
    complete: bool


class ComparedSettingsDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a queue.

    Attributes:
        discipline: The order in which its jobs start.
        capacity: How many live jobs it holds.
        workers: How many of its jobs run at once.
        patience_s: How long a job of an `adaptive` queue waits before it expires.
    """

    discipline: str
    capacity: int
    workers: int
    patience_s: Amount


class ForecastCellDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One setting under one load.

    Attributes:
        load: The multiple of the arrivals.
        offered_per_s: Clients that came.
        goodput_per_s: Jobs that succeeded, and had started before the patience of their client ended.
        late_per_s: Jobs that succeeded, and had started later: work for nothing.
        failed_per_s: Jobs that failed.
        expired_per_s: Jobs that expired.
        refused_share: The share of the submissions that were rejected.
        utilisation: The share of the workers' time in which they ran jobs.
        wait_s: Waits of the attempts that started, of all seeds together.
        wait_p95_s: The spread of one of these quantiles; null: none started with some seed.
    """

    load: Amount
    offered_per_s: Amount
    goodput_per_s: ForecastFigureDocument
    late_per_s: ForecastFigureDocument
    failed_per_s: ForecastFigureDocument
    expired_per_s: ForecastFigureDocument
    refused_share: ForecastFigureDocument
    utilisation: ForecastFigureDocument
    wait_s: WaitsDocument
    wait_p95_s: ForecastFigureDocument | None


class AlternativeDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One setting of the queue.

    Attributes:
        settings: All that matter here.
        changes: The names of those that differ from the present ones; none: these are the present ones.
        live: Whether `PATCH /v1/queues/{name}` can make the change; else it takes the settings file, and a reload.
        cells: What became of it, for each load; null: the time was used up before.
    """

    settings: ComparedSettingsDocument
    changes: list[str]
    live: bool
    cells: list[ForecastCellDocument | None]


class ForecastDocument(msgspec.Struct, frozen=True, kw_only=True):
    """What would happen to a queue, by its settings and its load.

    Attributes:
        queue: Its name.
        measured: What it did lately.
        clients: What is assumed of its clients.
        simulated: How much was simulated.
        loads: Multiples of the arrivals.
        alternatives: The settings that were compared, the present ones first.
        assumptions: What the figures assume, in sentences.
    """

    queue: str
    measured: MeasuredQueueDocument
    clients: SimulatedClientsDocument
    simulated: SimulatedTimeDocument
    loads: list[Amount]
    alternatives: list[AlternativeDocument]
    assumptions: list[str]
