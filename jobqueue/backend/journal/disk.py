"""Disk: the calls of the journal on the file system, all of them, so that a test can let each fail.

Rules:

1. A call takes paths and descriptors, and raises OSError.
2. Bytes are on the disk after `sync_data` of their file, a new length and a name after `sync_file` and `sync_folder`.
3. Each method may wait for the disk, and so is for a thread. `write` alone is called on the loop as well: it goes into
   the page cache. A `sync_data` of the kernel's own (`syncs_in_kernel`) needs no thread.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path


class Disk:
    """The file system of this machine."""

    def open_folder(self, path: Path) -> int:
        """Open a folder, for its lock and for `sync_folder`."""
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def make_folder(self, path: Path) -> None:
        """Make a folder for this user alone, and those above it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkdir(path, 0o700)

    def close_to_others(self, folder_fd: int) -> None:
        """Take the permissions of all others from a folder."""
        os.fchmod(folder_fd, 0o700)

    def lock(self, fd: int) -> None:
        """Take the lock of an open folder. Raises BlockingIOError if another process has it."""
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def create(self, path: Path) -> int:
        """Make a file for this user alone, or empty the one that is there."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def open(self, path: Path, *, writable: bool = False) -> int:
        """Open a file that exists: a regular one, since to open or to read another may never end.

        The kernel is not to read ahead in it: what it reads of a part that was never written counts as written then.
        """
        fd = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise OSError(errno.EINVAL, "it is no regular file")
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        return fd

    def close(self, fd: int) -> None:
        """Close a descriptor."""
        os.close(fd)

    def allocate(self, fd: int, size_bytes: int) -> None:
        """Reserve the blocks of a file, which has this size then. New bytes are zeros."""
        os.posix_fallocate(fd, 0, size_bytes)

    def shorten(self, fd: int, size_bytes: int) -> None:
        """Give back what a file has behind its first `size_bytes`."""
        os.ftruncate(fd, size_bytes)

    def read(self, fd: int, length: int, offset: int) -> bytes:
        """Read up to `length` bytes: fewer at the end of the file alone."""
        parts: list[bytes] = []
        while length:
            part = os.pread(fd, length, offset)
            if not part:
                break
            parts.append(part)
            length -= len(part)
            offset += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def written(self, fd: int) -> list[tuple[int, int]]:
        """Return the ranges of a file that were ever written. All else is zeros: most of a segment is only allocated.

        On a file system that can't tell it is one range, the whole file.
        """
        ranges: list[tuple[int, int]] = []
        end = 0
        try:
            while True:
                start = os.lseek(fd, end, os.SEEK_DATA)
                end = os.lseek(fd, start, os.SEEK_HOLE)
                ranges.append((start, end))
        except OSError as error:
            if error.errno == errno.ENXIO:
                return ranges
            raise

    def write(self, fd: int, data: bytes, offset: int) -> None:
        """Write all of `data`."""
        written = os.pwrite(fd, data, offset)
        while written < len(data):
            more = os.pwrite(fd, memoryview(data)[written:], offset + written)
            if not more:
                raise OSError(errno.EIO, "the disk took no more bytes")
            written += more

    def sync_data(self, fd: int) -> None:
        """Wait until the bytes of a file are on the disk."""
        os.fdatasync(fd)

    @property
    def syncs_in_kernel(self) -> bool:
        """Whether `sync_data` is `fdatasync` and no more, so that `KernelSync` may take its place."""
        return type(self).sync_data is _fdatasync

    def sync_file(self, fd: int) -> None:
        """Wait until the bytes and the length of a file are on the disk."""
        os.fsync(fd)

    def sync_folder(self, fd: int) -> None:
        """Wait until the names in an open folder are on the disk."""
        os.fsync(fd)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name; a file that has it is replaced."""
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        os.unlink(path)

    def names(self, path: Path) -> list[str]:
        """Return the names in a folder, sorted."""
        return sorted(os.listdir(path))

    def size_of(self, path: Path) -> int:
        """Return the size of a file in bytes."""
        return os.stat(path).st_size


_fdatasync: Final = Disk.sync_data
