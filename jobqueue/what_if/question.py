"""The question: what a simulation is asked, as the server hands it to the process that answers it."""

from __future__ import annotations

import msgspec

from jobqueue.core.policy import QueuePolicy  # msgspec reads it from the annotations
from jobqueue.what_if.measured import Recorded  # as above
from jobqueue.what_if.trial import Clients  # as above


class Given(msgspec.Struct, frozen=True):
    """What is assumed instead of measured: the arrivals, or the mean run time, or both."""

    arrivals_per_s: float | None = None
    run_s: float | None = None


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A question.

    Attributes:
        present: The settings of the queue.
        policies: The settings to compare it with; none: those of `alternatives`.
        pools: Permits by pool name.
        workers_max: What runs at once in all queues together; None: no bound of its own.
        loads: Multiples of the measured arrivals.
        seconds: Simulated seconds that are measured; None: by the patience and the run times.
        recorded: The history; None: there is none, and all is given.
        time_s: Seconds that the answer may take.
    """

    queue: str
    present: QueuePolicy
    policies: list[QueuePolicy]
    pools: dict[str, int]
    workers_max: int | None
    loads: list[float]
    seconds: float | None
    seed: int
    clients: Clients
    recorded: Recorded | None
    given: Given
    time_s: float
