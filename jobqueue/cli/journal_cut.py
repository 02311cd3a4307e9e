"""The cut of a damaged journal: what it gives up, and the copy that is kept of it."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING, NamedTuple

from jobqueue.backend.journal.frame import HEAD_BYTES, decode_head, is_whole, magics
from jobqueue.backend.journal.records import decode, describe, single

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.reading import LogEnd


class Loss(NamedTuple):
    """What lies behind the damage, as far as it can be read.

    Attributes:
        frames: Frames that are whole.
        records: Records in them.
        submitted: Ids of jobs that were submitted there: a cut forgets them.
        changed: Ids of other jobs: a cut puts them back to their state before.
    """

    frames: int
    records: int
    submitted: frozenset[str]
    changed: frozenset[str]


def loss_of(folder: JournalFolder, end: LogEnd) -> Loss:
    """Return what a cut at this end gives up."""
    frames = records = 0
    submitted: set[str] = set()
    touched: set[str] = set()
    for body in _bodies_behind(folder, end):
        frames += 1
        for record in single(decode(body)):
            records += 1
            told = describe(record)
            ids = told["ids"] if isinstance(told.get("ids"), list) else [told.get("id")]
            (submitted if told["kind"] == "submit" else touched).update(str(each) for each in ids if each)
    return Loss(frames, records, frozenset(submitted), frozenset(touched - submitted))


def _bodies_behind(folder: JournalFolder, end: LogEnd) -> Iterator[bytes]:
    """Yield the bodies of whole frames from an end on."""
    for number in _cut_segments(folder, end):
        data = folder.segment_path(number).read_bytes()
        for at in magics(data):
            if number == end.segment and at < end.offset:
                continue
            head = decode_head(data, at)
            if head is None or head.lsn < end.lsn:
                continue
            body = data[at + HEAD_BYTES : at + HEAD_BYTES + head.length]
            if is_whole(head, body):
                yield body


def _cut_segments(folder: JournalFolder, end: LogEnd) -> list[int]:
    """Return the numbers of the segments of which a cut removes something."""
    return [number for number in folder.segments() if number == end.segment or number in end.dropped]


def keep_copy(folder: JournalFolder, end: LogEnd) -> Path:
    """Copy the segments that a cut changes or removes into a new folder beside the journal; return that one.

    The copy is on the disk when this returns. Raises OSError.
    """
    path = folder.path.resolve()
    kept = path.with_name(f"{path.name}-cut-{time.strftime('%Y%m%d-%H%M%S')}")
    kept.mkdir(mode=0o700)
    for number in _cut_segments(folder, end):
        source = folder.segment_path(number)
        shutil.copyfile(source, kept / source.name)
        _sync(kept / source.name)
    _sync(kept)
    _sync(kept.parent)
    return kept


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
