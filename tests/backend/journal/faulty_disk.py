"""A disk in memory that fails, stalls and crashes on demand, and keeps only what was synced.

Model:

1. A write is in the page cache, where reads find it. A sync of the file makes it durable.
2. A name is durable after a sync of its folder. Without it, a crash keeps some of the changes, the first ones first.
3. A crash keeps any of the sectors that were written and not synced, by the choice of the test.
4. A sync that fails leaves its writes in the page cache, and no later sync makes them durable, as on Linux. A write
   or sync of a file after a failed one is noted in `trusted_again`.
5. The cut of a file is a change like a write: a sync of this file makes it durable, and a crash keeps it or not,
   whatever it keeps of other files. A file system may write the size of a file down before the sectors of another.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from jobqueue.backend.journal.disk import Disk

SECTOR_BYTES = 512


class Crash(Exception):
    """The power is gone: this call and all later ones do nothing."""


@dataclass
class Fault:
    """A fault of the calls of one kind, or of all: at the call of this number (from 1 on), once or for ever."""

    kind: str
    at: int
    number: int = errno.EIO
    for_ever: bool = False

    def hits(self, kind: str, count: int, total: int) -> bool:
        if self.kind not in ("any", kind):
            return False
        now = total if self.kind == "any" else count
        return now >= self.at if self.for_ever else now == self.at


@dataclass(eq=False)
class File:
    """A file: as reads find it, what is durable of it, and the changes that are not.

    Attributes:
        pending: The changes in their order: an offset and what was written there; None: the file was cut there.
    """

    data: bytearray = field(default_factory=bytearray)
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes | None]] = field(default_factory=list)
    failed: bool = False
    size_pending: int = 0

    def write(self, offset: int, data: bytes) -> None:
        self.grow(offset + len(data))
        self.data[offset : offset + len(data)] = data
        self.pending.append((offset, data))

    def grow(self, size: int) -> None:
        self.data.extend(bytes(max(0, size - len(self.data))))
        self.size_pending = len(self.data)

    def cut(self, size: int) -> None:
        del self.data[size:]
        self.size_pending = min(self.size_pending, size)
        self.pending.append((size, None))

    def sync(self, covered: int) -> None:
        """Make the first changes durable."""
        self._land(self.size_pending, self.pending[:covered])
        del self.pending[:covered]

    def forget(self) -> None:
        self.pending = []

    def after_crash(self, keep: float, keep_cut: float, random: Random) -> File:
        file = File(durable=bytearray(self.durable))
        chosen: list[tuple[int, bytes | None]] = []
        for offset, data in self.pending:
            if data is None:
                chosen += [(offset, None)] if random.random() < keep_cut else []
                continue
            for start in range(0, len(data), SECTOR_BYTES):
                if random.random() < keep:
                    chosen.append((offset + start, data[start : start + SECTOR_BYTES]))
        file._land(self.size_pending if random.random() < keep else 0, chosen)
        file.data = bytearray(file.durable)
        return file

    def _land(self, size: int, changes: list[tuple[int, bytes | None]]) -> None:
        for offset, data in changes:
            if data is None:
                del self.durable[offset:]
                continue
            self._lengthen(offset + len(data))
            self.durable[offset : offset + len(data)] = data
        self._lengthen(size)

    def _lengthen(self, size: int) -> None:
        self.durable.extend(bytes(max(0, size - len(self.durable))))


class FaultyDisk(Disk):
    """One folder of files in memory, and the folder above it."""

    def __init__(self, *faults: Fault, crash_at: int = 0) -> None:
        self.faults = list(faults)
        self.crash_at = crash_at
        self.crashed = False
        self.calls: Counter[str] = Counter()
        self.by_thread: list[tuple[str, int]] = []
        self.trusted_again: list[str] = []
        self.names_now: dict[str, File] = {}
        self.names_durable: dict[str, File] = {}
        self.changes: list[tuple[str, File | None]] = []
        self.folder_made = False
        self.locked = False
        self.open_files: dict[int, File | None] = {}
        self.held: dict[str, threading.Event] = {}
        self.entered = threading.Event()

    # -- faults

    def hold(self, kind: str) -> threading.Event:
        """Let calls of this kind wait until the event that is returned is set; `entered` tells that one waits."""
        self.entered.clear()
        self.held[kind] = threading.Event()
        return self.held[kind]

    def after_crash(
        self, keep: float = 0.0, random: Random | None = None, *, keep_cut: float | None = None
    ) -> FaultyDisk:
        """Return what the next start finds.

        Args:
            keep: Chance of each unsynced sector, size and change of a name to be kept.
            keep_cut: That of each unsynced cut of a file. Defaults to `keep`.
        """
        keep_cut = keep if keep_cut is None else keep_cut
        random = random or Random(0)
        disk = FaultyDisk()
        disk.folder_made = self.folder_made
        names = dict(self.names_durable)
        for name, file in self.changes:
            if random.random() >= keep:
                break  # a file system keeps the changes of names in order
            if file is None:
                names.pop(name, None)
            else:
                names[name] = file
        copies = {
            key: file.after_crash(keep, keep_cut, random) for key, file in {id(f): f for f in names.values()}.items()
        }
        disk.names_now = {name: copies[id(file)] for name, file in names.items()}
        disk.names_durable = dict(disk.names_now)
        return disk

    def erase(self) -> None:
        """Give the memory of all files back; nothing uses the disk after that."""
        for file in {*self.names_now.values(), *self.names_durable.values(), *filter(None, self.open_files.values())}:
            file.data, file.durable, file.pending = bytearray(), bytearray(), []

    def copy(self) -> FaultyDisk:
        """Return the disk as a process finds it that starts after this one was killed: the page cache is kept."""
        disk = FaultyDisk()
        disk.folder_made = self.folder_made
        disk.names_now = {name: File(bytearray(f.data), bytearray(f.data)) for name, f in self.names_now.items()}
        disk.names_durable = dict(disk.names_now)
        return disk

    def _call(self, kind: str) -> None:
        self.calls[kind] += 1
        total = self.calls.total()
        self.by_thread.append((kind, threading.get_ident()))
        if kind in self.held:
            self.entered.set()
            assert self.held[kind].wait(30)
        if self.crashed or total == self.crash_at:
            self.crashed = True
            raise Crash(f"{kind} {self.calls[kind]}")
        for fault in self.faults:
            if fault.hits(kind, self.calls[kind], total):
                raise OSError(fault.number, os.strerror(fault.number))

    # -- the calls

    def open_folder(self, path: Path) -> int:
        self._call("open_folder")
        return self._descriptor(None)

    def make_folder(self, path: Path) -> None:
        self._call("make_folder")
        if self.folder_made:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self.folder_made = True

    def close_to_others(self, folder_fd: int) -> None:
        self._call("close_to_others")

    def lock(self, fd: int) -> None:
        self._call("lock")
        if self.locked:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))

    def create(self, path: Path) -> int:
        self._call("create")
        file = File()
        self._name(path.name, file)
        return self._descriptor(file)

    def open(self, path: Path, *, writable: bool = False) -> int:
        self._call("open")
        return self._descriptor(self._at(path))

    def close(self, fd: int) -> None:
        del self.open_files[fd]  # it never fails, and a crash closes all

    def allocate(self, fd: int, size_bytes: int) -> None:
        self._call("allocate")
        self._file(fd).grow(size_bytes)

    def shorten(self, fd: int, size_bytes: int) -> None:
        self._call("shorten")
        self._file(fd).cut(size_bytes)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        self._call("read")
        return bytes(self._file(fd).data[offset : offset + length])

    def written(self, fd: int) -> list[tuple[int, int]]:
        self._call("written")
        end = len(bytes(self._file(fd).data).rstrip(b"\0"))
        return [(0, end + -end % SECTOR_BYTES)] if end else []

    def write(self, fd: int, data: bytes, offset: int) -> None:
        try:
            self._call("write")
        except (OSError, Crash):
            self._file(fd).write(offset, bytes(data[: len(data) // 2]))
            self._file(fd).failed = True
            raise
        self._check_trust("write", fd)
        self._file(fd).write(offset, bytes(data))

    def sync_data(self, fd: int) -> None:
        self._sync("sync_data", fd)

    def sync_file(self, fd: int) -> None:
        self._sync("sync_file", fd)

    def sync_folder(self, fd: int) -> None:
        self._call("sync_folder")
        self.names_durable = dict(self.names_now)
        self.changes = []

    def rename(self, source: Path, target: Path) -> None:
        self._call("rename")
        self._name(target.name, self._at(source))
        self._name(source.name, None)

    def unlink(self, path: Path) -> None:
        self._call("unlink")
        self._at(path)
        self._name(path.name, None)

    def names(self, path: Path) -> list[str]:
        self._call("names")
        return sorted(self.names_now)

    def size_of(self, path: Path) -> int:
        self._call("size_of")
        return len(self._at(path).data)

    def _sync(self, kind: str, fd: int) -> None:
        covered = len(self._file(fd).pending)  # not what is written while it waits
        try:
            self._call(kind)
        except OSError:
            self._file(fd).forget()
            self._file(fd).failed = True
            raise
        self._check_trust(kind, fd)
        self._file(fd).sync(covered)

    def _check_trust(self, kind: str, fd: int) -> None:
        if self._file(fd).failed:
            self.trusted_again.append(kind)

    def _name(self, name: str, file: File | None) -> None:
        if file is None:
            del self.names_now[name]
        else:
            self.names_now[name] = file
        self.changes.append((name, file))

    def _at(self, path: Path) -> File:
        if path.name not in self.names_now:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return self.names_now[path.name]

    def _descriptor(self, file: File | None) -> int:
        fd = max(self.open_files, default=999) + 1
        self.open_files[fd] = file
        return fd

    def _file(self, fd: int) -> File:
        file = self.open_files[fd]
        assert file is not None
        return file
