"""Power cuts: a disk that may forget what was not synced, under a backend with a journal.

While one backend works, the disk is copied at random instants as a power cut would leave it: what was synced is there,
of all else any part. Each copy is then the disk of another backend, which must know all that had been promised by then.
"""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from random import Random
from typing import Literal, NamedTuple

from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.journal import Journal
from jobqueue.backend.journaled import JournaledBackend
from jobqueue.config import JournalSettings
from jobqueue.core.engine import Engine
from jobqueue.core.ids import IdIssuer
from jobqueue.core.job import JobId, JobSpec
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.report import Success
from jobqueue.errors import JobQueueError
from tests.backend.journal.faulty_disk import FaultyDisk

FOLDER = Path("/journal")
OFFSET_S = 1_000_000_000.0
INTERVAL_S = 0.05
SEGMENT_BYTES = 32 * 1024
"""So small that segments end, and snapshots begin, many times in a second."""

SYNC_S_MAX = 0.004
WORKERS, CLIENTS = 4, 8

Sync = Literal["always", "interval"]


class CutDisk(FaultyDisk):
    """A disk for several threads. A sync takes a while, and covers what was written before it began."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._random = random

    def cut(self) -> FaultyDisk:
        """Return what a power cut at this instant leaves."""
        with self._lock:
            keep, keep_cut = (self._random.choice((0.0, 0.5, 0.9, 1.0)) for _ in range(2))
            return self.after_crash(keep, Random(self._random.random()), keep_cut=keep_cut)

    def create(self, path: Path) -> int:
        with self._lock:
            return super().create(path)

    def open(self, path: Path, *, writable: bool = False) -> int:
        with self._lock:
            return super().open(path, writable=writable)

    def close(self, fd: int) -> None:
        with self._lock:
            super().close(fd)

    def allocate(self, fd: int, size_bytes: int) -> None:
        with self._lock:
            super().allocate(fd, size_bytes)

    def shorten(self, fd: int, size_bytes: int) -> None:
        with self._lock:
            super().shorten(fd, size_bytes)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        with self._lock:
            return super().read(fd, length, offset)

    def write(self, fd: int, data: bytes, offset: int) -> None:
        with self._lock:
            super().write(fd, data, offset)

    def sync_folder(self, fd: int) -> None:
        with self._lock:
            super().sync_folder(fd)

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            super().rename(source, target)

    def unlink(self, path: Path) -> None:
        with self._lock:
            super().unlink(path)

    def _sync(self, kind: str, fd: int) -> None:
        with self._lock:
            self._call(kind)
            file = self._file(fd)
            count, size = len(file.pending), file.size_pending
        time.sleep(self._random.uniform(0.0, SYNC_S_MAX))
        with self._lock:
            file._land(size, file.pending[:count])
            del file.pending[:count]


class Powered:
    """A backend with a journal on a disk, and what it has promised."""

    def __init__(self, disk: FaultyDisk, sync: Sync) -> None:
        now = asyncio.get_running_loop().time
        disk.locked = False
        folder = JournalFolder.open(FOLDER, disk)
        ids = IdIssuer(secret=folder.secret, run=folder.run)
        self.engine = Engine(queues={"default": QueuePolicy(capacity=100_000)}, ids=ids, rng=Random(1))
        self.journal = Journal(
            folder,
            JournalSettings(dir=str(FOLDER), sync=sync, interval_s=INTERVAL_S),
            ids=ids,
            now=now,
            offset_s=lambda: OFFSET_S,
            segment_bytes=SEGMENT_BYTES,
        )
        self.backend = JournaledBackend(self.engine, self.journal, now=now)
        self.accepted: list[tuple[float, JobId]] = []
        self.cancelled: list[tuple[float, JobId]] = []
        self.ran: list[tuple[JobId, int]] = []
        self._now = now

    async def restore(self) -> None:
        """Go on with what the disk tells."""
        await self.journal.restore(lambda spec: spec, lambda name: True)
        await self.journal.record()

    async def client(self, random: Random) -> None:
        """Submit jobs, and cancel some, for ever."""
        spec = JobSpec(type="echo", attempts_max=5)
        number = 0
        while True:
            number += 1
            receipt = await self.backend.submit(spec, b'{"value":%d}' % number)
            self.accepted.append((self._now(), receipt.job.id))
            await asyncio.sleep(random.uniform(0.0, 0.004))
            if random.random() < 0.1:
                try:
                    job = await self.backend.cancel(receipt.job.id)
                except JobQueueError:
                    continue
                if job.state == "cancelled":
                    self.cancelled.append((self._now(), job.id))

    async def worker(self, random: Random) -> None:
        """Run jobs, for ever."""
        while True:
            lease = await self.backend.lease()
            self.backend.pass_on()
            self.ran.append((lease.job_id, lease.attempt))
            await asyncio.sleep(random.uniform(0.0, 0.002))
            await self.backend.ack(lease.job_id, lease.attempt, Success(b"1"))

    def run_all(self) -> list[tuple[JobId, int]]:
        """Begin each job that waits; return the attempts."""
        ran = []
        while (lease := self.backend.lease_now()) is not None:
            ran.append((lease.job_id, lease.attempt))
        return ran


class Cut(NamedTuple):
    """A power cut: the disk that it leaves, and how much had been promised, and run, by then."""

    disk: FaultyDisk
    at: float
    accepted: int
    cancelled: int
    ran: int


class Losses(NamedTuple):
    """What power cuts have taken.

    Attributes:
        late_s: How late the loop and the disk's thread were at most.
        promised: Number of acknowledged submissions and cancels that were looked for, over all cuts.
        lost: Number of those that the next backend did not know.
        oldest_s: Age of the oldest of these when the power was cut.
        faults: What must never be.
    """

    promised: int
    lost: int
    oldest_s: float
    late_s: float
    faults: list[str]


async def cut_power(seed: int, sync: Sync, cuts: int) -> Losses:
    """Cut the power a number of times while jobs are submitted and run; look for all that was promised."""
    random = Random(seed)
    disk = CutDisk(random)
    powered = Powered(disk, sync)
    await powered.restore()
    tasks = [asyncio.create_task(powered.client(random)) for _ in range(CLIENTS)]
    tasks += [asyncio.create_task(powered.worker(random)) for _ in range(WORKERS)]
    taken: list[Cut] = []
    late_s = 0.0
    try:
        for _ in range(cuts):
            pause_s, began = random.uniform(0.001, 0.02), time.monotonic()
            await asyncio.sleep(pause_s)
            late_s = max(late_s, time.monotonic() - began - pause_s)
            counts = len(powered.accepted), len(powered.cancelled), len(powered.ran)
            taken.append(Cut(disk.cut(), asyncio.get_running_loop().time(), *counts))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        late_s += powered.journal.figures().commit_s_max or 0.0
        await powered.backend.stop()
    losses = [await _look(powered, cut, sync) for cut in taken]
    return Losses(
        sum(each.promised for each in losses),
        sum(each.lost for each in losses),
        max(each.oldest_s for each in losses),
        late_s,
        [fault for each in losses for fault in each.faults],
    )


async def _look(before: Powered, cut: Cut, sync: Sync) -> Losses:
    """Start a backend on the disk that a cut has left, and look for what was promised."""
    after = Powered(cut.disk, sync)
    await after.restore()
    try:
        accepted, cancelled = before.accepted[: cut.accepted], before.cancelled[: cut.cancelled]
        lost = [(at, id_) for at, id_ in accepted if after.engine.find(id_) is None]
        for at, id_ in cancelled:
            job = after.engine.find(id_)
            if job is not None and job.state != "cancelled":
                lost.append((at, id_))
        ran = set(before.ran[: cut.ran])
        faults = [f"began twice: {attempt}" for attempt in after.run_all() if attempt in ran]
    finally:
        await after.backend.stop()
    oldest_s = max((cut.at - at for at, _ in lost), default=0.0)
    return Losses(len(accepted) + len(cancelled), len(lost), oldest_s, 0.0, faults)
