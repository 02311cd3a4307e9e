"""A world for the journal: an engine under random operations, with a recorder that hears its events.

world = World(seed)
for _ in range(200):
    world.step()
    world.check()   # a replay of all bytes written so far is equal to the engine
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jobqueue.backend.journal.gathered import Gathered
from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.recorder import Recorder
from jobqueue.backend.journal.schedule_book import ScheduleBook
from jobqueue.backend.journal.snapshot_walk import SnapshotWalk
from jobqueue.core.events import Event
from jobqueue.core.job import RUNNING, IdempotencyKey, Job, JobSpec, Unique, Uniqueness
from jobqueue.core.lineage import Link
from jobqueue.core.policy import Discipline, Limits, QueuePolicy
from jobqueue.core.record import changed
from jobqueue.core.report import ErrorCode, Failure, Progress, Success
from jobqueue.core.restore import Restoration
from jobqueue.core.schedule import SchedulePause
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.errors import JobQueueError
from tests.backend.journal.differences import differences
from tests.core.making import Driver

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.submit import Asked

OFFSET_S = 1_700_000_000.0
QUEUES = {
    "default": QueuePolicy(capacity=12, workers=4, retry_budget=0),
    "other": QueuePolicy(capacity=6, workers=2, retry_budget=0),
}
BOUNDS = StoreBounds(jobs_max=20, failed_max=3, bytes_max=30_000, ttl_s=7.0, failed_ttl_s=13.0)
HANDLERS = {
    "plain": JobSpec(type="plain", attempts_max=2),
    "limited": JobSpec(type="limited", limits=Limits(concurrency=1), timeout_s=3.0, attempts_max=3),
    "pooled": JobSpec(type="pooled", pool="process", attempts_max=1),
}
MODES = ("return", "reject", "replace", "debounce")


def spec_of(stored: JobSpec) -> JobSpec:
    """Return a stored spec with the limits and the pool of its handler."""
    default = HANDLERS[stored.type]
    return changed(stored, limits=default.limits, pool=default.pool)


class JournalDriver(Driver):
    """A driver that passes each event on, with the live record as it is then."""

    hear: Callable[[Event], None]

    def note_events(self) -> None:
        for event in self.engine.take_events():
            self.hear(event)


class World:
    """The engine, and what its journal holds.

    Attributes:
        snapshot: The bodies of the last snapshot; empty before the first one.
        log: The bodies since the beginning, or since the snapshot was begun.
        book: What is kept of schedules.
    """

    def __init__(self, seed: int) -> None:
        self.rng, self._rng_of_schedules = Random(seed), Random(seed)
        self.gathered = Gathered()
        self.snapshot: list[bytes] = []
        self.log: list[bytes] = []
        self.book = ScheduleBook()
        self._begin(1000.0)
        self.recorder.begin(self.driver.now, starts=[])
        self.recorder.process(self.driver.now)
        self.starts = [self.driver.now + OFFSET_S]

    def _begin(self, now: float) -> None:
        """Begin with an empty engine."""
        self.driver = JournalDriver(queues=QUEUES, bounds=BOUNDS, pools={"process": 2})
        self.driver.now = now
        self.engine, self.ids = self.driver.engine, self.driver.engine._ids
        self._next: tuple[list[bytes], list[bytes], SnapshotWalk] | None = None
        self.recorder = Recorder(
            self.gathered,
            engine=self.engine,
            ids=self.ids,
            configured=QUEUES.__getitem__,
            offset_s=OFFSET_S,
        )
        self.driver.hear = self.recorder.hear
        self.book.begin(self.book.kept, self.recorder)

    def restart(self, *, clean: bool, after_s: float = 0.0) -> Restoration:
        """Stop, or crash, and go on with what the journal has."""
        self.commit()
        if clean:
            if self.rng.random() < 0.5:
                self.drain()
            while self._next is not None:
                self.go_on_with_snapshot()
            self.begin_snapshot()
            while self._next is not None:
                self.go_on_with_snapshot()
            self.recorder.clean(self.driver.now)
            self.commit()
        image = self.image()
        assert image.clean is clean
        self._begin(self.driver.now + after_s)
        if image.position:
            self.ids.go_on(image.position, has_owners=image.has_owners)
        restoration = Restoration(self.engine, image.found(), knows_type=HANDLERS.__contains__)
        while restoration.go_on(self.driver.now):
            pass
        self.recorder.begin(self.driver.now, starts=image.starts)
        self.recorder.process(self.driver.now)
        self.starts = [*image.starts, self.driver.now + OFFSET_S]
        for event in restoration.take_events():
            self.recorder.hear(event)
        self.driver.note_events()
        self.commit()
        if not clean:
            self.begin_snapshot()
        return restoration

    def drain(self) -> None:
        """Give all attempts back, as a drain does that keeps the jobs."""
        shut_down = self.engine.begin_shut_down(keep=True)
        while shut_down.go_on(self.driver.now):
            pass
        for job in [job for job in self.engine.newest_first(None) if job.state is RUNNING]:
            self.engine.stopped(job.id, attempt=job.attempt, now=self.driver.now)
        self.driver.note_events()

    @property
    def in_snapshot(self) -> bool:
        """Whether a snapshot is being written."""
        return self._next is not None

    # -- steps

    def step(self) -> None:
        """Do a random operation, and commit its records."""
        acts = (
            self.submit,
            self.submit,
            self.submit,
            self.start,
            self.start,
            self.run,
            self.finish,
            self.finish,
            self.act,
        )
        act = self.rng.choice(
            (
                *acts,
                self.submit_together,
                *(self.submit_after,) * 2,
                self.act_on_flow,
                self.act,
                self.advance,
                self.steer,
            )
        )
        with suppress(JobQueueError):
            act()
        self.driver.note_events()
        self.schedule()
        if self._next is None and self.rng.random() < 0.05:
            self.begin_snapshot()
        elif self._next is not None:
            self.go_on_with_snapshot()
        self.commit()

    def commit(self) -> None:
        for body in [body.data for body in self.gathered.take()]:
            self.log.append(body)
            if self._next is not None:
                self._next[1].append(body)

    def begin_snapshot(self) -> None:
        """Begin a log, and the snapshot that belongs to it."""
        self.commit()
        bodies: list[bytes] = []
        sink = SimpleNamespace(write=bodies.append)
        writer = SnapshotWalk(
            self.engine,
            self.ids,
            sink,
            configured=QUEUES.__getitem__,
            offset_s=OFFSET_S,
            starts=self.starts,
            portion=self.rng.choice((1, 2, 5, 50)),
            schedules=self.book.kept,
        )
        self._next = bodies, [], writer
        self.recorder.begin(self.driver.now, starts=self.starts)

    def go_on_with_snapshot(self) -> None:
        assert self._next is not None
        bodies, log, writer = self._next
        if self.rng.random() < 0.5 and not writer.go_on(self.driver.now):
            self.commit()
            self.snapshot, self.log, self._next = bodies, log, None

    # -- operations

    def submit(self) -> None:
        self.engine.submit(*self.submission(), now=self.driver.now)

    def submit_together(self) -> None:
        many = [self.submission() for _ in range(self.rng.randint(1, 4))]
        self.engine.submit_together(many, now=self.driver.now)

    def schedule(self) -> None:
        rng = self._rng_of_schedules
        if rng.random() < 0.9:
            return
        id = rng.choice((None, "ann")), rng.choice(("nightly", "hourly"))
        match rng.choice(("define", "note", "note", "forget")):
            case "define":
                self.book.define(id, caller="ann", given=b"%d" % rng.randrange(100))
            case "note":
                pause = rng.choice((None, SchedulePause(since=1.5), SchedulePause(since=2.25, by="ann")))
                self.book.note(id, reached=float(rng.randrange(10**6)), pause=pause)
            case "forget":
                self.book.forget(id)

    def submit_after(self) -> None:
        rng, held = self.rng, list(self.engine.newest_first(None))
        many = [self.submission() for _ in range(rng.randint(1, 3))]
        links = [
            Link(
                tuple(job.id for job in rng.sample(held, min(len(held), rng.randint(0, 3)))),
                tuple(each for each in range(n) if rng.random() < 0.5),
                rng.choice(("cancel", "cancel", "run")),
                rng.choice((None, f"name{rng.randrange(10**6)}")),
            )
            for n in range(len(many))
        ]
        flow = rng.choice((None, None, *self.engine.flows.all()))
        if rng.random() < 0.5:
            self.engine.submit_flow(many, links, now=self.driver.now)
        else:
            self.engine.submit_together(many, links, flow=flow.id if flow else None, now=self.driver.now)

    def act_on_flow(self) -> None:
        flows = self.engine.flows
        if found := flows.all():
            flow_id = self.rng.choice(found).id
            if self.rng.randrange(3):
                flows.retry(flow_id, now=self.driver.now)
            else:
                self.driver.cancel_flow(flow_id)

    def submission(self) -> Asked:
        rng = self.rng
        handler = HANDLERS[rng.choice(tuple(HANDLERS))]
        delay_s = rng.choice((0.0, 0.0, 0.0, 1.5, 6.0))
        options: dict[str, Any] = {
            "delay_s": delay_s,
            "run_at": self.driver.now + delay_s if delay_s and rng.random() < 0.3 else None,
            "queue": rng.choice(("default", "default", "other")),
            "priority": rng.choice((0, 0, 3)),
            "group": rng.choice((None, None, "g")),
            "start_by_s": rng.choice((None, None, None, 8.0)),
            "ttl_s": rng.choice((None, None, 2.0)),
            "traceparent": rng.choice((None, None, "00-1-2-01")),
            "callback": rng.choice((None, None, None, "https://example.com/")),
            "scheduled": rng.choice((None, None, None, ("nightly", 1_772_445_600.0), ("nightly", None))),
        }
        spec = changed(handler, **options)
        spec = handler if spec == handler else changed(spec, own=True)
        upload = None
        if rng.random() < 0.1:
            upload = Upload("folder", {"part": (StoredFile("folder/0", "text/plain", 3, "a.txt"),)})
        args = b"%d" % rng.randrange(10**6)
        return spec, args, upload, self.identity(args, upload)

    def identity(self, args: bytes, upload: Upload | None) -> Uniqueness | None:
        rng = self.rng
        caller, owner = rng.choice((None, "ann", "bob")), rng.choice((None, None, "ann"))
        if rng.random() < 0.4:
            return None if caller is None else Uniqueness(caller, plain=True, owner=owner)
        unique = None
        if rng.random() < 0.7:
            mode = rng.choice(MODES if upload is None else MODES[:3])
            unique = Unique(rng.choice(("u", "v")), mode)  # type: ignore[arg-type]  # one of the modes
        key = IdempotencyKey(rng.choice("klmnop"), args) if rng.random() < 0.5 else None
        return Uniqueness(caller, unique, key, owner=owner)

    def start(self) -> None:
        job = self.driver.start_next()
        if job is not None and self.rng.random() < 0.3:
            self.engine.report(job.id, attempt=job.attempt, progress=Progress(0.5, "half"))

    def run(self) -> None:
        """Start a job, and end it within the same step."""
        job = self.driver.start_next()
        if job is not None:
            self.succeed(job)

    def succeed(self, job: Job) -> None:
        file = StoredFile("folder/result", "text/plain", 9) if self.rng.random() < 0.2 else None
        success = Success(b"r" * self.rng.choice((1, 300)), file)
        self.engine.ack(job.id, attempt=job.attempt, success=success, now=self.driver.now)

    def finish(self) -> None:
        job = self.pick("running")
        if job is None:
            return
        now, rng = self.driver.now, self.rng
        kind = rng.choice(("ack", "ack", "failed", "failed", "final", "crashed"))
        if kind == "ack":
            self.succeed(job)
            return
        code = ErrorCode.WORKER_CRASHED if kind == "crashed" else ErrorCode.HANDLER_ERROR
        failure = Failure(code, "böse", rng.choice((None, 0.0, 2.0)), kind == "final", rng.choice((None, "trace")))
        self.engine.nack(job.id, attempt=job.attempt, failure=failure, now=now)

    def act(self) -> None:
        now = self.driver.now
        job = self.pick(self.rng.choice(("delayed", "queued", "running", "failed", "failed", "")))
        if job is None:
            return
        match self.rng.choice(("cancel", "delete", "retry", "retry", "run_now")):
            case "cancel":
                self.engine.cancel(job.id, now=now)
            case "delete":
                self.engine.delete(job.id)
            case "retry":
                self.engine.retry(job.id, now=now)
            case _:
                self.engine.run_now(job.id, now=now)

    def advance(self) -> None:
        self.driver.advance(self.rng.choice((0.001, 0.25, 1.0, 4.0)))

    def steer(self) -> None:
        rng, now = self.rng, self.driver.now
        queue = rng.choice(tuple(QUEUES))
        match rng.choice(("pause", "resume", "resume", "policy")):
            case "pause":
                reason, by = rng.choice((None, "a reason")), rng.choice((None, "ann"))
                self.engine.pauses.begin(queue, reason=reason, for_s=rng.choice((None, 2.0)), by=by, now=now)
            case "resume":
                self.engine.pauses.end(queue, by="ann")
            case _:
                discipline = rng.choice((*Discipline, Discipline.FIFO))
                policy = QueuePolicy(capacity=rng.randint(2, 12), workers=rng.randint(1, 4), discipline=discipline)
                self.engine.set_policy(queue, policy if rng.random() < 0.7 else QUEUES[queue], now=now)

    def pick(self, state: str) -> Job | None:
        """Return a random job in this state, or in any."""
        found = [job for job in self.engine.newest_first(None) if not state or job.state == state]
        return self.rng.choice(found) if found else None

    # -- the check

    def image(self, *, twice: bool = False) -> Image:
        image = Image(spec_of, offset_s=OFFSET_S)
        for body in (*self.snapshot, *self.log) * (1 + twice):
            image.apply(body)
        return image

    def check(self, *, twice: bool = False) -> Image:
        """Check that the journal is equal to the engine; return its image."""
        image = self.image(twice=twice)
        found = differences(image, self.engine, self.ids, now=self.driver.now, configured=QUEUES)
        assert (different := next(found, None)) is None, different
        assert image.schedules == self.book.kept
        return image
