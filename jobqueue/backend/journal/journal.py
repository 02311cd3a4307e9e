"""Journal: keeps the jobs of a backend in a folder, and brings back those of the process before.

It joins the parts of this package: what the folder tells is restored, what the backend's events tell is recorded, and
snapshots keep the log short.

Rules:

1. Nothing is recorded before all is restored, and nothing in the folder is changed before it is known to be good.
2. While nothing can be kept, no job is admitted, and no change is begun. Attempts go on, and statuses are answered.
3. After a failure of the disk a segment begins anew, behind a snapshot of everything; only then jobs are admitted
   again.
4. A clean stop ends with a snapshot, and with a record that says so. A process that ends in another way leaves
   neither, and the next one takes running attempts for crashed.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from jobqueue.backend.journal import job_files, journal_log
from jobqueue.backend.journal.figures import JournalFigures
from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.recorder import Recorder
from jobqueue.backend.journal.recovery import Read, Turns, read_folder, without_collections
from jobqueue.backend.journal.schedule_book import ScheduleBook
from jobqueue.backend.journal.segment import SEGMENT_BYTES
from jobqueue.backend.journal.snapshot_pause import SnapshotPause
from jobqueue.backend.journal.snapshotting import Snapshotting
from jobqueue.backend.journal.trouble import RETRY_AFTER_S
from jobqueue.backend.journal.writer import Writer
from jobqueue.core.events import Ended
from jobqueue.core.restore import Restoration, UnknownJobs
from jobqueue.errors import JournalError, JournalFailed, JournalFull

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobqueue.backend.journal.disk_thread import RunsCalls
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.trouble import Trouble
    from jobqueue.backend.memory import MemoryBackend
    from jobqueue.config import JournalSettings
    from jobqueue.core.engine import Engine
    from jobqueue.core.events import Event
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import Job, JobSpec
    from jobqueue.core.policy import QueuePolicy
    from jobqueue.errors import Refused

WATCH_S: Final = 1.0
"""How often it is asked whether a snapshot is due, and what the wall clock says."""

REVIVE_S: Final = (1.0, 2.0, 5.0, 10.0)
"""Pauses before the tries to go on after a failure; the last one is that before all others."""

UNCLEAN_WITHIN_S: Final = 60.0
"""Time in which starts that followed a crash are counted."""


class Journal:
    """The journal of one backend.

    Args:
        folder: Locked by this process; `unlock` closes it.
        ids: Issues the ids of the backend: it goes on where the process before has left off.
        now: The engine's clock.
        offset_s: Returns the seconds from that clock to Unix seconds.
        segment_bytes: Size of a segment. Defaults to 64 MiB.
        thread: Runs the writer's calls of the disk. Defaults to a thread of its own, with syncs in the kernel.

    Attributes:
        with_files: The restored jobs that have files.
        policies: Settings of queues that were changed in use, and hold on.
        schedules: What is kept of schedules.
        troubled, waits: As of `Keeper`.
        when_kept: As `Keeper.when_kept`; bound directly, as each submission has a call.
        unclean_starts: Starts within `UNCLEAN_WITHIN_S` that followed no clean stop, this one included.
    """

    def __init__(
        self,
        folder: JournalFolder,
        settings: JournalSettings,
        *,
        ids: IdIssuer,
        now: Callable[[], float],
        offset_s: Callable[[], float],
        segment_bytes: int = SEGMENT_BYTES,
        thread: RunsCalls | None = None,
    ) -> None:
        self.with_files: list[Job] = []
        self.policies: dict[str, QueuePolicy] = {}
        self.schedules = ScheduleBook()
        self.unclean_starts = 0
        self._folder, self._settings, self._ids = folder, settings, ids
        self._now, self._offset_s = now, offset_s
        self._segment_bytes, self._disk_thread = segment_bytes, thread
        self._backend: MemoryBackend | None = None
        self._engine: Engine | None = None
        self._writer: Writer | None = None
        self._closed = False
        self.troubled = self.waits = False
        self.when_kept: Callable[[Callable[[JournalFailed | None], None]], None] = self._refuse_wait
        self._recorder: Recorder | None = None
        self._snapshots: Snapshotting | None = None
        self._configured: dict[str, QueuePolicy] = {}
        # When processes began since the last clean stop, in Unix seconds: the latest of them.
        self._starts: list[float] = []
        self._crashed = False
        self._read = Read()
        self._restored_share = 0.0
        self._recovered: dict[str, int] = {}
        self._recovered_s: float | None = None
        self._began_at = 0.0
        # What was read, and what its restoration has changed, between `restore` and `record`.
        self._restored: tuple[Image, list[Event]] | None = None
        self._read_log_bytes = self._written_at_snapshot = 0
        self._troubled_at: float | None = None
        self._pause = SnapshotPause(segment_bytes, lambda: 0 if self._engine is None else self._engine.store.bytes_used)
        self._tries = 0
        self._working: asyncio.Task[None] | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._reviving: asyncio.TimerHandle | None = None

    def attach(self, backend: MemoryBackend, engine: Engine) -> None:
        """Take over the backend to be kept, and its engine, before anything happens in it."""
        self._backend, self._engine = backend, engine
        self._configured = {name: state.policy for name, state in engine.queue_states.items()}

    # -- recovery

    @property
    def progress(self) -> float:
        """How much of what is found has been restored, from 0 to 1."""
        return (self._read.share + self._restored_share) / 2

    async def restore(self, spec_of: Callable[[JobSpec], JobSpec], knows_type: Callable[[str], bool]) -> None:
        """Bring back what the folder tells, in portions. The folder is not changed before `record`.

        Args:
            spec_of: Returns the spec that a job of this one has in this process.
            knows_type: Whether a type has a handler.

        Raises:
            JournalError, JournalDamaged: The folder can't be used as it is.
        """
        engine = self._engine
        assert engine is not None, "a backend has an engine"
        self._began_at = self._now()
        image = Image(spec_of, offset_s=self._offset_s())
        with without_collections():
            await read_folder(self._folder, image, self._read, segment_bytes=self._segment_bytes)
            self._restored = image, await self._bring_back(image, engine, knows_type)

    async def record(self, begun: Callable[[Sequence[Job]], None] = lambda ended: None) -> None:
        """Record what `restore` has changed, and all events from then on; return once the former is kept.

        Args:
            begun: Called once all is recorded, with the jobs that the restoration has ended. What it changes in the
                backend is kept in the same frame as these ends, or none of it is.

        Raises:
            JournalError: Nothing can be written.
        """
        backend, engine, restored, self._restored = self._backend, self._engine, self._restored, None
        assert backend is not None, "it keeps a backend"
        assert engine is not None, "a backend has an engine"
        assert restored is not None, "`restore` comes first"
        settings, (image, events), end = self._settings, restored, self._read.end
        if end.torn_bytes:
            file = self._folder.segment_path(end.segment)
            journal_log.torn_tail(file, offset=end.offset, dropped_bytes=end.torn_bytes)
        self._writer = writer = await Writer.open(
            self._folder,
            end,
            sync=settings.sync,
            bytes_max=settings.bytes_max,
            interval_s=settings.interval_s,
            on_failed=self._on_trouble,
            on_recovered=self._on_recovered,
            segment_bytes=self._segment_bytes,
            thread=self._disk_thread,
        )
        self.when_kept, backend.kept_together = writer.when_kept, writer.kept_together
        journal_log.opened(
            self._folder.path, sync=settings.sync, segments=writer.segments, size_bytes=writer.bytes_used
        )
        self._record(image, events, engine, backend, writer)
        begun([event.job for event in events if isinstance(event, Ended)])
        writer.commit()
        if writer.kept < writer.appended:
            kept: asyncio.Future[JournalFailed | None] = asyncio.get_running_loop().create_future()
            writer.when_kept(kept.set_result)
            if (error := await kept) is not None:
                raise JournalError(str(error))
        self._recovered_s = self._now() - self._began_at
        if self._read.records:
            journal_log.recovered(
                self._recovered, records=self._read.records, seconds=self._recovered_s, clean=image.clean
            )

    async def _bring_back(self, image: Image, engine: Engine, knows_type: Callable[[str], bool]) -> list[Event]:
        """Put what was read into the engine; return what that has changed."""
        if image.position:
            self._ids.go_on(image.position, has_owners=image.has_owners)
        lost = await self._find_files(image)
        restoration = Restoration(
            engine, image.found(), knows_type=knows_type, fail_unknown=self._settings.unknown == "fail"
        )
        turns = Turns()
        try:
            while restoration.go_on(self._now()):
                self._restored_share = restoration.done
                await turns.end()
        except UnknownJobs as error:
            raise JournalError(
                f"journal folder {self._folder.path}: {error}; "
                "configure them, or let these jobs fail with journal.unknown: fail"
            ) from error
        self._restored_share = 1.0
        if restoration.unknown_queues or restoration.unknown_types:
            journal_log.unknown(restoration.unknown_queues, restoration.unknown_types)
        self._recovered = {str(state): count for state, count in restoration.counts.items() if count}
        self.policies = restoration.policies
        return [*map(Ended, lost), *restoration.take_events()]

    async def _find_files(self, image: Image) -> list[Job]:
        """Let jobs have their files where they are now; return those that have failed, since some are missing."""
        self.with_files = with_files = [job for job in image.jobs.values() if job.upload or job.file]
        if not with_files:
            return []
        job_files.move_to(self._folder.files, with_files)
        lost = await asyncio.to_thread(job_files.with_missing, with_files)
        for job in lost:
            job_files.fail(job, self._now())
        if lost:
            journal_log.files_lost(len(lost))
        return lost

    def _record(
        self, image: Image, events: list[Event], engine: Engine, backend: MemoryBackend, writer: Writer
    ) -> None:
        """Record what the restoration has changed, and all events from now on."""
        now = self._now()
        unix_s = now + self._offset_s()
        self._starts, self._crashed = [*image.starts, unix_s], not image.clean
        # The first of them followed a clean stop, or was long ago.
        self.unclean_starts = sum(unix_s - start <= UNCLEAN_WITHIN_S for start in self._starts[1:])
        self._recorder = recorder = Recorder(
            writer, engine=engine, ids=self._ids, configured=self._configured.__getitem__, offset_s=self._offset_s()
        )
        self._snapshots = Snapshotting(
            self._folder,
            engine,
            self._ids,
            now=self._now,
            offset_s=self._offset_s,
            configured=self._configured.__getitem__,
            schedules=lambda: self.schedules.kept,
        )
        self.waits = True
        self.schedules.begin(image.schedules, recorder)
        self._read_log_bytes = self._read.log_bytes
        recorder.begin(now, starts=image.starts)
        recorder.process(now)
        for event in events:
            recorder.hear(event)
        for kind, hear in recorder.listeners.items():
            backend.subscribe(hear, kind)
        if not image.clean:
            # Pages that were read need not be on disk: they are written again, with what the crash has changed.
            self._work(self._compact())
        self._watch()

    def _stop_timers(self) -> None:
        for timer in (self._watching, self._reviving):
            if timer is not None:
                timer.cancel()

    # -- keeping

    def check(self) -> None:
        """As `Keeper.check`."""
        if self._closed:
            raise self._not_open("it is closed")
        trouble = None if self._writer is None else self._writer.trouble
        if self.troubled and trouble is not None:
            raise JournalFailed(trouble.reason, RETRY_AFTER_S)

    def settle(self) -> bool:
        """As `Keeper.settle`: the writer commits at the end of this iteration of the loop."""
        writer = self._writer
        if self._closed:
            raise self._not_open("it is closed")
        return writer is None or writer.kept >= writer.appended

    def kept_together(self, tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
        """As `Keeper.kept_together`."""
        assert self._writer is not None, "nothing is accepted before and after"
        return self._writer.kept_together(tell)

    def _refuse_wait(self, done: Callable[[JournalFailed | None], None]) -> None:
        """As `when_kept` while there is no writer."""
        reason = "it is closed" if self._closed else "it is not open"
        asyncio.get_running_loop().call_soon(done, self._not_open(reason))

    def _not_open(self, reason: str) -> JournalFailed:
        return JournalFailed(f"journal folder {self._folder.path}: {reason}", RETRY_AFTER_S)

    async def close(self) -> None:
        """Write a snapshot, and say that this is a clean stop. The folder stays locked."""
        writer, self._writer = self._writer, None
        self._closed = self.troubled = True
        self.when_kept = self._refuse_wait
        self._stop_timers()
        if self._working is not None:
            self._working.cancel()
            await asyncio.wait([self._working])
        if writer is not None:
            await self._end(writer)

    def unlock(self) -> None:
        """Give up the folder: nothing of this process reads or writes in it any more."""
        self._folder.close()

    async def _end(self, writer: Writer) -> None:
        recorder, snapshots = self._recorder, self._snapshots
        assert recorder is not None, "it was made with the writer"
        assert snapshots is not None, "they were made with the writer"
        try:
            try:
                await self._write_snapshot(writer)
            except (OSError, ValueError, JournalFailed) as error:  # the log is longer without it, and tells the same
                journal_log.snapshot_failed(error)
            if not self._crashed or snapshots.last is not None:  # else only a snapshot tells of that crash
                recorder.clean(self._now())
            await writer.close()
        except JournalFailed as error:
            journal_log.failed(error)

    async def _write_snapshot(self, writer: Writer, *, anew: bool = False) -> None:
        """Begin a segment, write the snapshot that it goes on with, and remove what that replaces.

        Raises:
            JournalFailed, OSError: The disk failed, or is full.
        """
        recorder, snapshots = self._recorder, self._snapshots
        assert recorder is not None, "it was made with the writer"
        assert snapshots is not None, "they were made with the writer"
        beginning = writer.begin_segment((), anew=anew)
        recorder.begin(self._now(), starts=self._starts)
        number = await beginning
        written = writer.bytes_written_total
        done = await snapshots.write(number, self._starts)
        self._read_log_bytes, self._written_at_snapshot = 0, written
        journal_log.snapshotted(done.file, jobs=done.jobs, size_bytes=done.size_bytes, seconds=done.seconds)
        await writer.remove_before(number)

    # -- in use

    def _watch(self) -> None:
        """Follow the wall clock, and write a snapshot when it is due."""
        self._watching = asyncio.get_running_loop().call_later(WATCH_S, self._watch)
        writer, recorder = self._writer, self._recorder
        if writer is None or recorder is None:
            return
        recorder.offset_s = self._offset_s()
        trouble, now = writer.trouble, self._now()
        if trouble is None:
            is_due = self._log_bytes(writer) > max(self._segment_bytes, 2 * self._snapshot_bytes)
        else:
            is_due = trouble.kind == "full"
        if is_due and self._working is None and self._pause.is_over(now):
            self._work(self._compact())

    def _log_bytes(self, writer: Writer) -> int:
        """Return the size of the log behind the last snapshot."""
        return self._read_log_bytes + writer.bytes_written_total - self._written_at_snapshot

    @property
    def _snapshot_bytes(self) -> int:
        last = None if self._snapshots is None else self._snapshots.last
        return self._read.snapshot_bytes if last is None else last.size_bytes

    def _work(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the loop's other tasks; one thing at a time."""
        self._working = working = asyncio.get_running_loop().create_task(work)
        working.add_done_callback(self._on_work_done)

    def _on_work_done(self, working: asyncio.Task[None]) -> None:
        if self._working is working:
            self._working = None
        if working.cancelled():  # by `close`, or by the end of the loop, which would not see what began now
            self._stop_timers()
            return
        error = working.exception()
        if error is not None:  # a fault of this program: jobs are still recorded
            journal_log.snapshot_failed(error)
            self._pause.begin(self._now())
        if self._writer is not None:
            self._revive_later(self._writer)

    async def _compact(self) -> None:
        """Write a snapshot, so that the log becomes shorter."""
        writer = self._writer
        if writer is not None:
            before = writer.bytes_used
            self._pause.snapshot()
            try:
                await self._write_snapshot(writer)
            except (JournalFailed, OSError) as error:
                journal_log.snapshot_failed(error)
                self._pause.begin(self._now())
            else:
                if writer.trouble is None:
                    self._pause.end()
                else:
                    self._pause.begin(self._now(), freed_bytes=before - writer.bytes_used)

    # -- trouble

    def _on_trouble(self, trouble: Trouble) -> None:
        """Admit nothing."""
        engine, writer = self._engine, self._writer
        assert engine is not None, "a backend has an engine"
        if self._troubled_at is None:
            self._troubled_at = self._now()
        self.troubled = trouble.kind != "full"
        engine.admission.close(lambda: _refusal(trouble))
        if trouble.kind == "full":
            journal_log.full(0 if writer is None else writer.bytes_used, bytes_max=self._settings.bytes_max)
        else:
            journal_log.failed(trouble.reason)
        if self._working is None and writer is not None:
            self._revive_later(writer)

    def _on_recovered(self) -> None:
        """Admit jobs again."""
        engine = self._engine
        assert engine is not None, "a backend has an engine"
        engine.admission.reopen()
        journal_log.resumed(self._now() - (self._troubled_at or self._now()))
        self._troubled_at, self._tries, self.troubled = None, 0, False

    def _revive_later(self, writer: Writer) -> None:
        """Have the next try to go on after a failure, if there is one."""
        trouble = writer.trouble
        if trouble is not None and trouble.kind == "failed" and self._reviving is None:
            pause_s = REVIVE_S[min(self._tries, len(REVIVE_S) - 1)]
            self._tries += 1
            self._reviving = asyncio.get_running_loop().call_later(pause_s, self._begin_revival)

    def _begin_revival(self) -> None:
        self._reviving = None
        if self._writer is not None and self._working is None:  # else the end of that work looks after it
            self._work(self._revive(self._writer))

    async def _revive(self, writer: Writer) -> None:
        """After a failure: begin anew, behind a snapshot of everything."""
        with suppress(JournalFailed, OSError):
            await self._write_snapshot(writer, anew=True)
            writer.resume()

    # -- what is seen of it

    def figures(self) -> JournalFigures:
        """Return what is shown of it at this instant."""
        writer, settings, snapshots = self._writer, self._settings, self._snapshots
        folder, last = str(self._folder.path), None if snapshots is None else snapshots.last
        if writer is None:
            return JournalFigures(folder=folder, sync=settings.sync, state="recovering", bytes_max=settings.bytes_max)
        trouble, times = writer.trouble, writer.times
        return JournalFigures(
            folder=folder,
            sync=settings.sync,
            state="ok" if trouble is None else trouble.kind,
            reason=None if trouble is None else trouble.reason,
            bytes_used=writer.bytes_used,
            bytes_max=settings.bytes_max,
            segments=writer.segments,
            commits_total=times.total,
            commit_counts=tuple(times.counts),
            commit_sum_s=times.sum_s,
            commit_s_last=times.last_s,
            commit_s_p50=times.p50_s(),
            commit_s_max=times.max_s(),
            errors_total=writer.errors_total,
            snapshot_at=None if last is None else last.at + self._offset_s(),
            snapshot_s=None if last is None else last.seconds,
            recovered=self._recovered,
            recovered_s=self._recovered_s,
        )


def _refusal(trouble: Trouble) -> Refused:
    kind = JournalFull if trouble.kind == "full" else JournalFailed
    return kind(trouble.reason, RETRY_AFTER_S)
