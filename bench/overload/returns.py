"""Returns: a thousand clients that obey Retry-After, and whether it is accurate.

A closed loop: each client wants one result after another, and pauses between them. Without a queue they would submit
twice the capacity; rejected clients wait for their Retry-After, and none gives up. Measured: does a returning client
find a free slot, and does a herd that was rejected at once come back at once?
"""

from __future__ import annotations

import math
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.job import JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.errors import Refused
from jobqueue.what_if.quantiles import quantiles
from jobqueue.what_if.simulated_queue import Attempt, SimulatedQueue
from jobqueue.what_if.visits import whole_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job import Job, JobId

CLIENTS = 1000
WORKERS = 50
WORK_S = 1.0
SLOTS = 200
REST_S = 9.0  # 1,000 clients, each with a job of 1 s every 10 s: 100 jobs per second, twice what 50 workers do
SPEC = JobSpec(type="work")


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The arrivals, and the precision of Retry-After.

    Attributes:
        herd_at: The time at which all arrive at once; None: independent arrivals within the first rest.
        busy: Number of clients that arrive before the herd, at random, so that the engine has measured its drain rate.
        whole_seconds: Retry-After as in HTTP's header, in whole seconds; else the problem's `retry_after_s`.
        constant_s: A Retry-After for all, instead of the engine's: for comparison.
        counted_from: When the figures begin; they end with the scene.
    """

    name: str
    herd_at: float | None = None
    busy: int = 0
    whole_seconds: bool = True
    constant_s: float | None = None
    counted_from: float


LASTS_S = 300.0
BUSY = 400  # clients, four fifths of what the workers can do

SCENES = (
    Scene(name="independent", counted_from=60.0),
    Scene(name="independent; fractional seconds", counted_from=60.0, whole_seconds=False),
    Scene(name="herd on a fresh server", herd_at=0.0, counted_from=0.0),
    Scene(name="herd on a fresh server; fractional seconds", herd_at=0.0, counted_from=0.0, whole_seconds=False),
    Scene(name="herd on a busy server", herd_at=60.0, busy=BUSY, counted_from=60.0),
    Scene(
        name="herd on a busy server; fractional seconds",
        herd_at=60.0,
        busy=BUSY,
        counted_from=60.0,
        whole_seconds=False,
    ),
    Scene(name="herd on a busy server; constant 5 s", herd_at=60.0, busy=BUSY, counted_from=60.0, constant_s=5.0),
)


class ReturnFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One scene in figures; None: no returns.

    Attributes:
        refused: The share of submissions of a new job that were rejected.
        first_return: The share of first returns that found a slot.
        returns_max: The most returns of one job until it was accepted.
        peak_to_mean: The most returns in one second, against the mean of a second.
        peak_to_mean_poisson: The same of a Poisson stream of as many returns: pure chance.
        peak_to_mean_tenth: As `peak_to_mean`, by tenths of a second.
        retry_after_s: Retry-After of the rejected: quantiles by name.
        busy: The share of the workers' time that went into work.
        returns_by_second: Number of returns in each second, from `returns_from_s` on.
    """

    scene: str
    refused: float
    first_return: float | None
    returns_max: int
    peak_to_mean: float | None
    peak_to_mean_poisson: float | None
    peak_to_mean_tenth: float | None
    retry_after_s: dict[str, float | None]
    busy: float
    returns_from_s: int
    returns_by_second: list[int]


def run_scene(scene: Scene, *, seed: str) -> ReturnFigures:
    """Simulate one scene, and return its figures."""
    return _Loop(scene, seed).figures()


class _Loop:
    def __init__(self, scene: Scene, seed: str) -> None:
        self._scene = scene
        self._rng = Random(f"{seed}/returns")
        self._queue = SimulatedQueue(QueuePolicy(capacity=SLOTS, workers=WORKERS), seed=seed, on_end=self._end)
        self._clients: dict[JobId, int] = {}
        self._tries: Counter[int] = Counter()  # by how many returns there were before
        self._accepted: Counter[int] = Counter()
        self._returned_at: list[float] = []
        self._retry_after_s: list[float] = []
        self._worked_s = 0.0

    def figures(self) -> ReturnFigures:
        scene, tries = self._scene, self._tries
        for client in range(CLIENTS):
            alone = scene.herd_at is None or client < scene.busy
            at = self._rng.uniform(0.0, REST_S) if alone else scene.herd_at or 0.0
            self._queue.at(at, self._submit, (client, 0))
        self._queue.run(LASTS_S)
        counted_s = LASTS_S - scene.counted_from
        by_second = Counter(int(at) for at in self._returned_at)
        return ReturnFigures(
            scene=scene.name,
            refused=1 - self._accepted[0] / tries[0],
            first_return=self._accepted[1] / tries[1] if tries[1] else None,
            returns_max=max(tries),
            peak_to_mean=peak_to_mean(self._returned_at, 1.0),
            peak_to_mean_poisson=poisson_peak_to_mean(self._returned_at, 1.0),
            peak_to_mean_tenth=peak_to_mean(self._returned_at, 0.1),
            retry_after_s=quantiles(self._retry_after_s),
            busy=self._worked_s / (WORKERS * counted_s),
            returns_from_s=int(scene.counted_from),
            returns_by_second=[by_second[second] for second in range(int(scene.counted_from), int(LASTS_S))],
        )

    def _submit(self, what: tuple[int, int]) -> None:
        client, returns = what
        now, counted = self._queue.now, self._queue.now >= self._scene.counted_from
        if counted:
            self._tries[returns] += 1
            if returns:
                self._returned_at.append(now)
        try:
            job = self._queue.submit(SPEC, (Attempt(self._rng.expovariate(1 / WORK_S)),))
        except Refused as refusal:
            retry_after_s = self._told(refusal)
            if counted:
                self._retry_after_s.append(retry_after_s)
            self._queue.at(now + retry_after_s, self._submit, (client, returns + 1))
        else:
            self._accepted[returns] += counted
            self._clients[job.id] = client

    def _told(self, refusal: Refused) -> float:
        if self._scene.constant_s is not None:
            return self._scene.constant_s
        return whole_seconds(refusal.retry_after_s) if self._scene.whole_seconds else refusal.retry_after_s

    def _end(self, job: Job) -> None:
        assert job.started_at is not None
        now = self._queue.now
        self._worked_s += max(0.0, now - max(job.started_at, self._scene.counted_from))
        self._queue.at(now + self._rng.expovariate(1 / REST_S), self._submit, (self._clients.pop(job.id), 0))


def peak_to_mean(instants: Sequence[float], width_s: float) -> float | None:
    """Return how many of the instants lie in the fullest slot of that width, against the mean from first to last."""
    if not instants:
        return None
    slots = Counter(int(at / width_s) for at in instants)
    return max(slots.values()) / (len(instants) / _slots(instants, width_s))


def poisson_peak_to_mean(instants: Sequence[float], width_s: float) -> float | None:
    """Return what `peak_to_mean` is, in the median, if as many instants fall by chance alone.

    The peak of n slots is at most k with the chance P(X <= k)^n, X being Poisson with the mean of a slot.
    """
    if not instants:
        return None
    slots = _slots(instants, width_s)
    mean = len(instants) / slots
    k, chance = 0, math.exp(-mean)
    below = chance
    while below**slots < 0.5:
        k += 1
        chance *= mean / k
        below += chance
    return k / mean


def _slots(instants: Sequence[float], width_s: float) -> int:
    return int(max(instants) / width_s) - int(min(instants) / width_s) + 1
