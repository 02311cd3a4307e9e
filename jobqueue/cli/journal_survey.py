"""The survey of a journal: all of it read once, without a change: what is in it, and where it ends."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.reading import read_log
from jobqueue.backend.journal.records import BadRecord, decode, describe, single
from jobqueue.backend.journal.segment import SEGMENT_BYTES
from jobqueue.backend.journal.snapshot_file import read_snapshot
from jobqueue.errors import JournalDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.reading import Frame, LogEnd


class Survey:
    """What a journal holds.

    Attributes:
        snapshot: The number of the snapshot that counts; 0: there is none.
        frames, records: How many there are, the snapshot's included; `records` by kind.
        damage: None: there is none. All before it has been read.
        end: Where the log ends, or the part of it before the damage; None: the snapshot is damaged.
    """

    def __init__(self, folder: JournalFolder) -> None:
        self.folder = folder
        self.snapshot = max(folder.snapshots(), default=0)
        self.segments = [number for number in folder.segments() if number >= self.snapshot]
        self.frames = 0
        self.records: Counter[str] = Counter()
        self.damage: JournalDamaged | None = None
        self.end: LogEnd | None = None
        self.image = Image(lambda spec: spec, offset_s=0.0)
        for path, frame in self._frames():
            try:
                self.records.update(str(describe(record)["kind"]) for record in single(decode(frame.body)))
                self.image.apply(frame.body)
            except BadRecord as error:
                # It is whole, by its checksum: a program wrote it that this one does not understand.
                self.damage = unreadable(path, frame, error)
                self.end = None
                break
            self.frames += 1

    def _frames(self) -> Iterator[tuple[Path, Frame]]:
        try:
            if self.snapshot:
                path = self.folder.snapshot_path(self.snapshot)
                for frame in read_snapshot(self.folder, self.snapshot):
                    yield path, frame
            log = read_log(self.folder, self.snapshot, segment_bytes=SEGMENT_BYTES)
        except JournalDamaged as damage:
            self.damage = damage
            return
        try:
            for frame in log:
                yield self.folder.segment_path(frame.segment), frame
        except JournalDamaged as damage:
            self.damage = damage
        self.end = log.end

    @property
    def jobs(self) -> Counter[str]:
        """The number of jobs in each state, as the log tells it."""
        return Counter(job.state.value for job in self.image.jobs.values())

    def document(self) -> dict[str, Any]:
        """Return it for a program."""
        end, damage = self.end, self.damage
        torn = None
        if end is not None and damage is None and end.torn_bytes:
            torn = {"file": self.folder.segment_path(end.segment).name, "offset": end.offset, "bytes": end.torn_bytes}
        return {
            "folder": str(self.folder.path),
            "state": "ok" if damage is None else "damaged",
            "bytes": self.folder.bytes_used(),
            "snapshot": self.folder.snapshot_path(self.snapshot).name if self.snapshot else None,
            "segments": len(self.segments),
            "frames": self.frames,
            "records": dict(self.records),
            "jobs": dict(self.jobs),
            "clean": self.image.clean,
            "torn_tail": torn,
            "damage": None
            if damage is None
            else {"file": damage.file, "offset": damage.offset, "reason": damage.reason},
        }


def unreadable(path: Path, frame: Frame, error: Exception) -> JournalDamaged:
    """Return the damage of a frame that is whole and tells nothing."""
    return JournalDamaged(str(path), frame.offset, f"frame {frame.lsn} is whole, but has no valid records ({error})")
