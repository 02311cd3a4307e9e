"""A twin: the engine and the functions of the store, driven by the same random operations and compared after each.

Where an order is not settled by both (which job is returned to the front first, which of two offers comes first), the
store's choice is taken, and the engine must accept it. Instants are multiples of 1/8 s, which are exact in both.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any, Final

import msgspec

from jobqueue.core.engine import Engine
from jobqueue.core.ids import IdIssuer
from jobqueue.core.job import (
    DELAYED,
    QUEUED,
    RUNNING,
    Job,
)
from jobqueue.core.policy import Limits, QueuePolicy
from jobqueue.core.quotas import Quotas
from tests.backend.valkey.stored import stored
from tests.backend.valkey.twin_configs import Config
from tests.backend.valkey.twin_turns import Group, Turns
from tests.stores import Functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.rate import Rate

STEP_MS: Final = 125
TTL_MS: Final = 60_000
PROCESSES: Final = 2
TICKS_MAX: Final = 300
LETTERS: Final = {
    "delayed": "d",
    "queued": "q",
    "running": "r",
    "succeeded": "s",
    "failed": "f",
    "cancelled": "c",
    "expired": "x",
}


class Mismatch(AssertionError):
    """The two differ; its text says where, after which operation."""


class Twin:
    """Both, with the operations by name. Attributes: operations: The number of operations so far."""

    def __init__(self, store: Functions, config: Config, seed: int) -> None:
        self.store, self.config, self.random = store, config, Random(seed)
        self.engine = Engine(
            queues=config.queues,
            ids=IdIssuer(secret=b"s" * 16, run=5000),
            rng=Random(seed),
            bounds=config.bounds,
            quotas=Quotas(config.quota),
        )
        # Beyond `failed_max` the store evicts the failed job that was submitted first: it lists them so.
        self.engine.store.next_failed_out = self.first_failed  # type: ignore[method-assign]
        self.operations = 0
        self.log: list[str] = []
        self.joined = 0
        self.processes: list[str] = []
        self.holders: dict[str, str] = {}
        self.returned: set[str] = set()
        self.turns = Turns()
        self.names: dict[str, Callable[[], str]] = {
            name.removeprefix("do_"): getattr(self, name) for name in dir(self) if name.startswith("do_")
        }
        self.jobs: dict[str, Job] = {}
        self.submitted: list[list[str | bytes | int]] = []
        bounds = config.bounds
        store.call(
            "set_bounds",
            bounds.jobs_max,
            bounds.failed_max,
            bounds.bytes_max,
            round(bounds.ttl_s * 1000),
            round(bounds.failed_ttl_s * 1000),
            1000,
        )
        for name, policy in config.queues.items():
            self.set_queue(name, policy)
        for name, limits in config.limits.items():
            limits = limits or Limits()
            of_type = bounds_of(limits.concurrency, limits.rate)
            of_groups = bounds_of(limits.group_concurrency, limits.group_rate)
            store.call("set_types", 1, name, "", *of_type, *of_groups)
        for _ in range(PROCESSES):
            self.join()

    @property
    def now(self) -> float:
        return self.store.now / 1000

    def run(self, operations: int) -> None:
        """Do this many operations, each compared."""
        names, weights = list(self.config.operations), list(self.config.operations.values())
        for name in self.random.choices(names, weights, k=operations):
            if self.config.moving:
                self.pass_time(STEP_MS)
            self.operations += 1
            self.log.append(f"{self.operations} at {self.store.now}: {name}")
            self.log[-1] += f" {self.names[name]()}"
            self.note_groups()
            self.tick()
            self.note_groups()
            self.compare()

    def fail(self, text: str) -> None:
        raise Mismatch("\n".join([text, *self.log[-12:]]))

    # -- calls

    def call(self, name: str, *args: str | bytes | int) -> list[Any]:
        """Call a function, sometimes twice: the second reply may differ only as a resend's does."""
        return self.store.call(name, *args)

    def again(self) -> bool:
        return self.random.random() < 0.2

    def join(self) -> None:
        self.joined += 1
        self.processes.append(f"p{self.joined}")
        self.call("join", self.processes[-1], TTL_MS, "server", b"s" * 32, "", 0)

    def set_queue(self, name: str, policy: QueuePolicy) -> None:
        aging = -1 if policy.aging_s is None else round(policy.aging_s * 1000)
        rest = (policy.discipline.value, aging, policy.retry_budget)
        self.call("set_queue", name, "", 0, b"", policy.capacity, policy.workers, policy.weight, *rest)

    def pick(self, *states: str) -> Job | None:
        """Return a random job of these states; any record if none is named."""
        jobs = [job for job in self.jobs.values() if not states or job.state in states]
        return self.random.choice(jobs) if jobs else None

    # -- turns

    def note_groups(self) -> None:
        """Note which groups have a job that may start. One with a job that is too late may lose a turn for it."""
        queued = [job for job in self.jobs.values() if job.state is QUEUED]
        ready = {(job.spec.queue, group_of(job)) for job in queued}
        self.turns.note(ready - {(job.spec.queue, group_of(job)) for job in queued if self.is_late(job)})

    def is_late(self, job: Job) -> bool:
        """Whether a queued job's start-by is over: the next tick ends it, or a lease that meets it before."""
        return job.attempt == 0 and job.start_by_at is not None and job.start_by_at <= self.now

    def take_turn(self, queue: str, job: Job) -> None:
        """Compare a start in a fair queue with its law; which of two groups enters first, the store decides."""
        self.note_groups()  # since the last time some may have become late
        fault = self.turns.start(queue, group_of(job))
        waiting = self.engine.queue_states[queue].waiting
        for other in self.jobs.values():
            same = other.spec.queue == queue and other.state is QUEUED and group_of(other) == group_of(job)
            same = same and (other.spec.type == job.spec.type or not self.config.wide)
            settled = not self.is_late(other) and not {job.id, other.id} & self.returned
            if same and settled and waiting[other.id] < waiting[job.id]:
                fault = fault or f"{other.id} waits longer in its group"
        if fault is not None:
            self.fail(f"the store leases {job.id}: {fault}")

    # -- comparison

    def tick(self) -> None:
        """Both do what is due; the engine evicts by the quarter second, so it is told what is gone."""
        for _ in range(100):
            at = self.engine.tick(self.now)
            if at is None or at > self.now:
                break
        for _ in range(TICKS_MAX):
            reply = self.call("tick", self.random.choice([1, 7, 100]))
            for each in reply[4]:
                self.evict(each.decode())
            if reply[1] == -1 or reply[1] > self.store.now:
                break
        else:
            self.fail("there is always one more tick due")
        self.engine.take_events()

    def evict(self, job_id: str) -> None:
        job = self.engine.find(job_id)
        if job is None:
            return
        if job.live or job.finished_at is None or job.finished_at + self.engine.store.ttl_s(job) > self.now:
            self.fail(f"the store evicted {job_id}, which is {job.state} in the engine, and its TTL is not over")
        self.engine._transitions.evict([job], early=False)

    def compare(self) -> None:
        """Compare every record and all counts, and audit the store."""
        ids = list(self.jobs)
        held: set[str] = set()
        for first in range(0, len(ids), 64):
            some = ids[first : first + 64]
            for job_id, record in zip(some, self.store.call("look", 1, *some)[1:], strict=True):
                job = self.engine.find(job_id)
                if (record is None) != (job is None):
                    held_by = "the engine" if job is not None else "the store"
                    self.fail(f"only {held_by} holds {job_id}")
                if record is not None and job is not None:
                    held.add(job_id)
                    self.compare_record(job, stored(record))
        self.jobs = {job_id: job for job_id, job in self.jobs.items() if job_id in held}
        self.returned &= held
        self.compare_counts()
        faults = self.store.audit()
        if faults:
            self.fail("\n".join(faults))

    def compare_record(self, job: Job, record: dict[str, Any]) -> None:
        def ms(at: float | None) -> int:
            return -1 if at is None else round(at * 1000)

        error = msgspec.msgpack.decode(record["E"]) if record["E"] else None
        job_error = None if job.extras is None or job.error is None else [job.error.code.value, job.error.message]
        mine = {
            "s": LETTERS[job.state.value],
            "v": job.version,
            "a": job.attempt,
            "n": job.attempts_before,
            "c": ms(job.created_at),
            "d": ms(job.run_at),
            "t": ms(job.start_by_at),
            "o": ms(job.started_at),
            "f": ms(job.finished_at),
            "st": str(job.stopping or "") if job.state is RUNNING else "",
            "A": job.args,
            "R": job.result or b"",
            "hr": int(job.result is not None),
            "P": "" if job.progress is None else job.progress.note,
            "H": [each.attempt for each in job.history or ()],
            "error": job_error,
        }
        theirs = {**record, "error": error, "H": attempts_of(record["H"])}
        for name in ("s", "st", "P"):
            theirs[name] = theirs[name].decode()
        differs = {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
        if differs:
            self.fail(f"{job.id} (engine, store): {differs}")

    def compare_counts(self) -> None:
        _, totals, queues, types, _ = self.store.call("counts")
        found = as_dict(totals)
        engine, store = self.engine, self.engine.store
        mine = {
            "live": store.live,
            "terminal": store.terminal,
            "bytes": store.bytes_used,
            "live_bytes": store.live_bytes,
            "accepted": engine.totals().accepted,
            "evicted": engine.totals().evicted,
            "evicted_early": engine.totals().evicted_early,
            "deleted": engine.totals().deleted,
        }
        differs = {name: (mine[name], found[name]) for name in mine if mine[name] != found[name]}
        for name, *flat in queues:
            counts, state = as_dict(flat), engine.queue_states[name.decode()]
            for each in (DELAYED, QUEUED, RUNNING):
                if counts[each.value] != state.counts[each]:
                    differs[f"{name.decode()} {each}"] = state.counts[each], counts[each.value]
            if (counts["paused_at"] >= 0) != state.paused:
                differs[f"{name.decode()} paused"] = state.paused, counts["paused_at"]
        quarantined = {each.type: (round(each.until * 1000), each.failures) for each in engine.quarantine.all()}
        theirs = {}
        for name, *flat in types:
            gate = as_dict(flat)
            if gate["until"] >= 0:
                theirs[name.decode()] = gate["until"], gate["fails"]
        if quarantined != theirs:
            differs["quarantined"] = quarantined, theirs
        if differs:
            self.fail(f"counts (engine, store): {differs}")


def bounds_of(concurrency: int | None, rate: Rate | None) -> tuple[int, int, int, int]:
    """Return limits as `set_types` takes them."""
    if rate is None:
        return concurrency or 0, 0, 0, 0
    return concurrency or 0, rate.count, round(rate.period_s * 1000), rate.burst_max


def group_of(job: Job) -> Group:
    return job.owner, job.spec.group


def as_dict(flat: list[Any]) -> dict[str, Any]:
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def attempts_of(history: bytes) -> list[int]:
    found = []
    while history:
        length = int.from_bytes(history[:4], "big")
        found.append(msgspec.msgpack.decode(history[4 : 4 + length])[0])
        history = history[4 + length :]
    return found
