"""Writer: gathers records on the loop, and commits them to the log in groups.

Rules:

1. Records gather during an iteration of the loop, and are one frame, which the loop writes into the page cache. The
   kernel or a thread syncs it. `always`: at once if an answer waits for it, else within `UNWAITED_S`; what gathers
   meanwhile is the next frame, written when the sync has ended, or a moment later (`held_commit`). `interval`: every
   `interval_s`. The loop never waits for a sync.
2. A record is *kept* when it is as durable as the policy promises: synced, or written.
3. The next segment is made while the current one has room. Where none can be made, the journal is *full*: nothing more
   should be admitted, and what is admitted goes on to be logged.
4. A file whose write or sync has failed is never written, synced or trusted again: the kernel may have dropped what it
   could not write, and the next sync would succeed. The journal has *failed*, and records are dropped, until a segment
   begins anew in a fresh file, behind a snapshot of everything. So it has, too, when anything is raised between the
   gathering of records and their sync: a number may be used up, and without its frame the log would have a hole.
5. A call of the disk that takes `STALL_S` *stalls* the journal until it ends, as do `STALLED_BYTES` that wait for one.
6. A wait for what is kept ends at once when the journal fails, or stalls, or is full and has no room for the record.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, Literal

from jobqueue.backend.journal.batch import Batch, Begin, batches_of
from jobqueue.backend.journal.begun_segments import BegunSegments
from jobqueue.backend.journal.commit_times import CommitTimes
from jobqueue.backend.journal.disk_thread import DiskThread, settle
from jobqueue.backend.journal.gathered import Gathered
from jobqueue.backend.journal.held_commit import HeldCommit
from jobqueue.backend.journal.kept_waits import KeptWaits
from jobqueue.backend.journal.log_files import OpenedLog, SegmentSync, close_all, open_log
from jobqueue.backend.journal.segment import SEGMENT_BYTES
from jobqueue.backend.journal.spares import Spares
from jobqueue.backend.journal.trouble import Trouble, Troubles, failure, told
from jobqueue.backend.journal.watched_thread import STALL_S, WatchedThread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jobqueue.backend.journal.disk_thread import RunsCalls
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.reading import LogEnd
    from jobqueue.backend.journal.records import Record
    from jobqueue.backend.journal.tail import PlacedFrame
    from jobqueue.errors import JournalFailed

UNWAITED_S: Final = 0.01
"""Seconds after which records are synced with `always` that no answer waits for: starts and ends of attempts."""

STALLED_BYTES: Final = 64 * 1024 * 1024
GIVEN_UP_BYTES: Final = 4 * STALLED_BYTES
"""Bytes of records that wait for the disk: above the first the journal stalls, above the second it fails."""


class Writer:
    """The end of the log. Every method is for the loop's thread, and none waits for a sync.

    Attributes:
        records: What gathers in this iteration of the loop, by `append`. While it isn't empty, small records may be
            added to it as well.
        kept_together: As `LocalBackend.kept_together`; bound directly, as each submission has a call.
        kept: Number of records that are kept, the first ones of those that were appended.
        times: How long commits took; in `interval` the syncs.
        bytes_written_total: Bytes of all frames.
    """

    def __init__(
        self,
        folder: JournalFolder,
        opened: OpenedLog,
        thread: RunsCalls,
        troubles: Troubles,
        interval_s: float | None,
        bytes_max: int,
        segment_bytes: int,
    ) -> None:
        self.kept = 0
        self.times = CommitTimes()
        self.bytes_written_total = 0
        self._folder = folder
        self._disk = folder.disk
        self._disk_thread = WatchedThread(
            thread,
            on_stalled=self._on_stalled,
            before_report=self._before_report,
            after_report=self._after_report,
        )
        self._troubles = troubles
        self._interval_s = interval_s
        self._loop = asyncio.get_running_loop()
        self._tail = opened.tail
        self._spares = Spares(
            folder,
            opened,
            troubles,
            bytes_max=bytes_max,
            segment_bytes=segment_bytes,
            submit=self._disk_thread.submit,
            on_made=self.commit,
        )
        # What gathers now, and how many records were appended before.
        self._gathered = Gathered()
        self.records = self._gathered.records
        self._appended_before = 0
        # What has gathered and waits for its place, in order; the bytes of it.
        self._pending: deque[Batch] = deque()
        self._pending_bytes = 0
        # Number of records that are written. The number of failures tells the thread's reports from later ones.
        self._written = 0
        self._failures = 0
        self._syncing = False
        self._waits = KeptWaits(self._loop.call_exception_handler, self._wait_together)
        self.kept_together = self._waits.together
        self._begun = BegunSegments()
        self._held = HeldCommit(self._waits, self.commit)
        self._dropping = self._closed = False
        self._turn: asyncio.Handle | None = None
        self._sync_timer: asyncio.TimerHandle | None = None
        self._errors_total = 0
        self._spares.look()

    @classmethod
    async def open(
        cls,
        folder: JournalFolder,
        end: LogEnd,
        *,
        sync: Literal["always", "interval"],
        bytes_max: int,
        on_failed: Callable[[Trouble], None],
        on_recovered: Callable[[], None],
        interval_s: float = 0.05,
        segment_bytes: int = SEGMENT_BYTES,
        thread: RunsCalls | None = None,
    ) -> Writer:
        """Cut a log at its end, and open it there. Raises JournalError.

        Args:
            sync: `always`: a record is kept when it is synced. `interval`: when it is written.
            bytes_max: Bound of the folder's size. The segment that a snapshot goes on with may exceed it for a while.
            on_failed: Called when the writer gets into trouble, or from one kind of it into another.
            on_recovered: Called when it is out of it.
            interval_s: Seconds between two syncs of `interval`. Defaults to 0.05.
            segment_bytes: Size of a segment. Defaults to 64 MiB.
            thread: Runs the calls of the disk. Defaults to a thread of its own, with syncs in the kernel.
        """
        thread = thread or DiskThread()
        opening: asyncio.Future[OpenedLog] = asyncio.get_running_loop().create_future()
        thread.submit(partial(open_log, folder, end, segment_bytes, bytes_max), partial(settle, opening))
        try:
            log, troubles = await opening, Troubles(on_failed, on_recovered)
            interval = None if sync == "always" else interval_s
            return cls(folder, log, thread, troubles, interval, bytes_max, segment_bytes)
        except BaseException:
            await thread.close()
            raise

    @property
    def trouble(self) -> Trouble | None:
        """Why nothing should be admitted; None: there is no reason."""
        return self._troubles.worst

    @property
    def bytes_used(self) -> int:
        """Size of all segments and snapshots, when the last segment was made or removed."""
        return self._spares.bytes_used

    @property
    def segments(self) -> int:
        """Number of segments, the spare included."""
        return self._spares.segments

    @property
    def errors_total(self) -> int:
        """Failed calls of the disk."""
        return self._errors_total + self._spares.errors_total

    # -- appending

    @property
    def appended(self) -> int:
        """Number of records that were appended."""
        return self._appended_before + len(self._gathered)

    def append(self, record: Record) -> None:
        """Take a record of any size."""
        self._gathered.all_small = False
        self.append_small(record)

    def append_small(self, record: Record) -> None:
        """Take a small record, as `Gathered.append_small`."""
        if self._dropping:
            self._appended_before += 1
            return
        self.records.append(record)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._end_turn)

    def commit(self) -> None:
        """Commit now what has gathered, unless what was committed before has to be synced first."""
        self._held.end()
        if not (self._dropping or self._awaits_sync):
            try:
                self._close_batch()
                self._write()
            except BaseException as error:
                self._fail(error)

    def when_kept(self, done: Callable[[JournalFailed | None], None]) -> None:
        """Call `done`, later, when all that was appended so far is kept, or with the error if it can't be."""
        troubles, appended = self._troubles, self.appended
        if self.kept >= appended and not troubles.failed:
            self._loop.call_soon(self._waits.end, done, None)
        elif (troubles.failed or troubles.stalled or troubles.full) and (hopeless := self._hopeless()):
            self._loop.call_soon(self._waits.end, done, failure(hopeless))
        else:
            self._waits.add((appended, done))
            if self._turn is None:  # what it waits for may be written, and not be synced soon
                self._turn = self._loop.call_soon(self._end_turn)

    def _wait_together(self, tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
        """Return the list of what waits from now on: that of what gathers, if that is sure to be kept."""
        gathers = self.records and self._turn is not None and self._troubles.worst is None
        waiting = self._waits.begin_together(tell) if gathers else None
        if waiting is None:
            waiting = []
            self.when_kept(partial(tell, waiting))
        return waiting

    def begin_segment(self, first_records: Sequence[Record], *, anew: bool = False) -> asyncio.Future[int]:
        """Begin a segment with these records; return its number, once they are on the disk.

        What was appended before is in segments below it. The future gets JournalFailed if there can be none: the
        journal has failed, or stalls, or has no room. What was appended is logged nonetheless, where that is possible.

        Args:
            anew: It may follow a failure: it takes a snapshot of everything, and `resume`, until records are kept.
        """
        number: asyncio.Future[int] = self._loop.create_future()
        if self._dropping and not (anew and self._troubles.failed):
            number.set_exception(failure(self._troubles.failed or "it is closed"))
            return number
        try:
            self._close_batch()
            begin = Begin(number, self._dropping)
            self._dropping = False
            for record in first_records:
                self.append(record)
            self._close_batch(begin)
        except BaseException as error:
            self._fail(error)
            if not number.done():
                number.set_exception(failure(self._troubles.failed))
        self.commit()
        return number

    def resume(self) -> bool:
        """End the failure: a segment has begun anew, and its snapshot is on the disk. False if it has failed again."""
        if self._dropping:
            return False
        self._troubles.failed = ""
        if not (self._pending or self._awaits_sync or self._gathered):
            self._keep(self.appended)
        self._judge()
        return True

    def remove_before(self, number: int) -> asyncio.Future[None]:
        """Remove the segments and snapshots below a number: a snapshot tells what they tell. It may get OSError."""
        return self._spares.remove_before(number)

    async def close(self) -> None:
        """Commit and sync everything, and end. Raises JournalFailed if not all is on the disk.

        It waits for a bounded time. If the disk still doesn't answer, the folder stays locked until the process ends.
        """
        if self._closed:
            return
        try:
            error = await self._finish()
        except BaseException:  # compiled by mypyc 2.4, a `finally` that awaits may raise the error of an earlier call
            await self._end()
            raise
        await self._end()
        if error is not None or self._troubles.failed:
            raise error or failure(self._troubles.failed)

    async def _finish(self) -> JournalFailed | None:
        """Commit and sync everything; return why not all is kept."""
        error: JournalFailed | None = None
        self.commit()
        if not self._troubles.failed and self.kept < self.appended:
            kept: asyncio.Future[JournalFailed | None] = self._loop.create_future()
            self.when_kept(kept.set_result)
            error = await kept
        if not (self._troubles.failed or self._troubles.stalled) and self._tail.synced < self._tail.lsn:
            synced: asyncio.Future[int] = self._loop.create_future()
            self._begun.add(self._tail.lsn - 1, 0, synced)
            self._sync()
            await synced
        return error

    async def _end(self) -> None:
        """End the thread, and close the files."""
        self._dropping = self._closed = True
        self._spares.close()
        self._held.end()
        for timer in (self._sync_timer, self._turn):
            if timer is not None:
                timer.cancel()
        if not await self._disk_thread.close():
            self._folder.keep_locked()
            raise failure(f"journal folder {self._folder.path}: the disk has not answered for {STALL_S:g} s")
        spares = [] if self._tail.spare is None else [self._tail.spare]
        close_all(self._disk, [*self._tail.abandon(), *spares])

    # -- committing

    @property
    def _awaits_sync(self) -> bool:
        """Whether what was written last is yet to be synced before more is."""
        return self._syncing and self._interval_s is None

    def _end_turn(self) -> None:
        self._turn = None
        if not self._held.is_early:
            self.commit()
        if self.records:  # they wait for a sync
            try:
                self._gathered.end_iteration()
            except BaseException as error:
                self._fail(error)
        waiting_bytes = self._pending_bytes + self._gathered.size_bytes
        if waiting_bytes > STALLED_BYTES:
            self._check_backlog(waiting_bytes)

    def _close_batch(self, begin: Begin | None = None) -> None:
        """Let what gathers be a frame. Args: begin: The segment that begins with it."""
        if not self._gathered and begin is None:
            return
        appended = self.appended
        batches = batches_of(self._gathered, self._appended_before, begin)
        self._pending.extend(batches)
        self._pending_bytes += sum([len(batch.body) for batch in batches])
        self._appended_before = appended
        self._waits.end_together(appended)

    def _place(self) -> tuple[Batch, PlacedFrame] | None:
        """Give the next batch its place; None if there is none, or no place yet."""
        if not self._pending:
            return None
        batch = self._pending[0]
        begin = batch.begin
        frame = self._tail.place(batch.body, begins=begin is not None, anew=begin is not None and begin.anew)
        if frame is None:
            self._spares.look(batch, must_begin=any(each.begin for each in self._pending))
            return None
        if begin is not None:
            self._begun.add(frame.lsn, frame.segment.number, begin.number)
        self._pending.popleft()
        self._pending_bytes -= len(batch.body)
        return batch, frame

    def _write(self) -> None:
        """Write what waits into the page cache, and have it synced: at once, or within the interval."""
        began = perf_counter()
        while (placed := self._place()) is not None:
            batch, frame = placed
            data = frame.encode()
            self._disk.write(frame.segment.fd, data, frame.offset)
            self.bytes_written_total += len(data)
            self._written = batch.last
            if self._interval_s is not None:
                self._keep(batch.last)
        if self._begun or (self._interval_s is None and self._waits):
            self._sync(began)
        elif self._sync_timer is None and self._tail.synced < self._tail.lsn and not self._syncing:
            self._sync_timer = self._loop.call_later(self._interval_s or UNWAITED_S, self._sync)
        if self._tail.spare is None and not self._pending:  # else it is made for what waits
            self._spares.look()

    def _sync(self, began: float | None = None) -> None:
        """Have all that is written synced, unless that is under way. Args: began: When the commit was begun."""
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        if not self._syncing and self._tail.synced < self._tail.lsn:
            self._syncing = True
            try:
                retired, current = self._tail.take_retired(), self._tail.current
                on_synced = partial(self._on_synced, self._failures, self._tail.lsn, self._written)
                self._disk_thread.sync(SegmentSync(self._disk, retired, current, began or perf_counter()), on_synced)
            except BaseException as error:
                self._fail(error)

    def _on_synced(self, failures: int, lsn: int, written: int, seconds: float | None, error: Exception | None) -> None:
        if failures != self._failures:
            return
        self._syncing = False
        if seconds is None:
            self._fail(error)
            return
        self.times.add(seconds)
        self._tail.synced = lsn
        self._begun.settle(lsn)
        self._keep(written)
        if self._interval_s is not None or self._syncing or not self._held.begin():
            self.commit()

    # -- trouble

    def _fail(self, error: BaseException | None) -> None:
        """Give up the file, and drop all records from now on. What isn't an Exception is raised again, at the end."""
        self._errors_total += 1
        self._failures += 1
        self._troubles.failed = f"journal folder {self._folder.path}: it can't be written: {told(error)}"
        self._end_begins(self._troubles.failed)
        self._drop()
        self._begun = BegunSegments()
        self._syncing = False
        if self._sync_timer is not None:
            self._sync_timer.cancel()
            self._sync_timer = None
        self._disk_thread.submit(partial(close_all, self._disk, self._tail.abandon()), lambda result, error: None)
        self._judge()
        if error is not None and not isinstance(error, Exception):
            raise error

    def _drop(self) -> None:
        """Drop what waits, and what comes."""
        self._dropping = True
        self._pending.clear()
        self._pending_bytes = 0
        self._appended_before += len(self._gathered)
        self._gathered.clear()

    def _end_begins(self, reason: str) -> None:
        """End the waits for segments that are to begin."""
        for batch in self._pending:
            if batch.begin and not batch.begin.number.done():
                batch.begin.number.set_exception(failure(reason))
        self._begun.fail(reason)

    def _give_up_begins(self) -> None:
        """If there is no room for a segment that is to begin, its records are logged in the one before."""
        begins = [batch for batch in self._pending if batch.begin] if self._spares.has_refused else []
        is_anew = False
        for batch in begins:
            begin, batch.begin = batch.begin, None
            if begin is not None and not begin.number.done():
                begin.number.set_exception(failure(self._troubles.full))
            is_anew = is_anew or (begin is not None and begin.anew)
        if is_anew:
            self._drop()
        elif begins:
            self.commit()

    def _check_backlog(self, waiting_bytes: int) -> None:
        if waiting_bytes > GIVEN_UP_BYTES:
            self._fail(OSError(0, f"{waiting_bytes:,} bytes wait to be written"))
        elif not self._troubles.stalled:
            self._troubles.stalled = f"journal folder {self._folder.path}: {waiting_bytes:,} bytes wait to be written"
            self._judge()

    def _before_report(self) -> None:
        """The disk has answered."""
        if self._pending_bytes + self._gathered.size_bytes <= STALLED_BYTES:
            self._troubles.stalled = ""

    def _after_report(self) -> None:
        if not self._closed:
            self._judge()

    def _on_stalled(self) -> None:
        self._troubles.stalled = f"journal folder {self._folder.path}: the disk has not answered for {STALL_S:g} s"
        self._judge()

    def _hopeless(self) -> str:
        """Return why what was appended won't be kept soon; empty if it will."""
        return (
            self._troubles.failed
            or self._troubles.stalled
            or (self._troubles.full if self._pending and not self._awaits_sync else "")
        )

    def _judge(self) -> None:
        """Tell of a change of the trouble, and end the waits that it makes hopeless."""
        self._give_up_begins()
        if hopeless := self._hopeless():
            self._waits.fail(partial(failure, hopeless))
        if self._troubles.stalled:
            self._end_begins(self._troubles.stalled)
        self._troubles.judge()

    def _keep(self, count: int) -> None:
        self.kept = kept = max(self.kept, count)
        self._waits.end_up_to(kept)
