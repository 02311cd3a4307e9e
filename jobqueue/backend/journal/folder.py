"""JournalFolder: the folder of a journal: its lock, its format, and the names of its files.

    format           what wrote the folder, and how ids go on: format number, secret, run
    NNNNNNNN.log     a segment of the log (`segment.py`)
    NNNNNNNN.snap    a snapshot: what all segments below this number tell
    files/           the files of jobs; made and kept by the spool
    *.tmp            a file in the making; left by a crash, it is removed at the next start

Rules:

1. One process at a time has the folder, by a lock on the folder itself that ends with the process: one that a handler
   forks has no part in it.
2. A folder that holds anything else is not a journal, and is left alone.
3. A refusal is one sentence with the path. It comes before anything in the folder is changed.
"""

from __future__ import annotations

import os
import re
import secrets
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

import msgspec

from jobqueue.backend.journal.disk import Disk
from jobqueue.core.ids import RUNS
from jobqueue.errors import JournalError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

FORMAT: Final = 1
"""The number of this format. A change that an older version would misread raises it."""

_FORMAT_NAME: Final = "format"
_FILES_NAME: Final = "files"
_TEMPORARY: Final = ".tmp"
_NOT_IN_THE_WAY: Final = {"lost+found", _FORMAT_NAME + _TEMPORARY}
"""Names in a folder that is as good as empty: of a file system's own, and of a start that was broken off."""

_FORMAT_BYTES_MAX: Final = 64 * 1024
_NUMBERED: Final = re.compile(r"(\d{8,})\.(log|snap)")


class _Format(msgspec.Struct, frozen=True):
    """The content of the format file."""

    format: int
    secret: str
    run: int


class JournalFolder:
    """A folder that this process has locked.

    Attributes:
        path: Of the folder.
        disk: The calls that all parts of this journal make.
        secret: Of the issuer of job ids, drawn when the folder was made.
        run: Of the issuer of job ids, likewise.
    """

    def __init__(self, path: Path, disk: Disk, fd: int) -> None:
        self.path = path
        self.disk = disk
        self.secret = b""
        self.run = 0
        self._fd = fd
        _locked_here.add(self)

    @classmethod
    def open(cls, path: Path, disk: Disk | None = None) -> JournalFolder:
        """Lock a folder, and make it a journal's if it is empty or missing. Raises JournalError."""
        disk = disk or Disk()
        try:
            if _make_missing(path, disk):
                _sync(path.parent, disk)
            folder = cls._locked(path, disk)
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            folder._take()
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def open_existing(cls, path: Path, disk: Disk | None = None) -> JournalFolder:
        """Lock the folder of a journal, and change nothing. Raises JournalError, also if it is no journal's."""
        disk = disk or Disk()
        try:
            folder = cls._locked(path, disk)
        except FileNotFoundError:
            raise JournalError(f"journal folder {path}: there is no such folder") from None
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            if not folder._read_format():
                raise JournalError(
                    f"journal folder {path}: it holds no journal (there is no file {_FORMAT_NAME!r} in it)"
                )
        except BaseException:
            folder.close()
            raise
        return folder

    @classmethod
    def _locked(cls, path: Path, disk: Disk) -> JournalFolder:
        fd = disk.open_folder(path)
        try:
            disk.lock(fd)
        except BlockingIOError:
            disk.close(fd)
            raise JournalError(
                f"journal folder {path}: another process uses it, a server or `jobqueue journal`, "
                "and only one may at a time"
            ) from None
        except BaseException:
            disk.close(fd)
            raise
        return cls(path, disk, fd)

    def close(self) -> None:
        """Give up the lock."""
        if self._fd >= 0:
            self.disk.close(self._fd)
            self._fd = -1

    def keep_locked(self) -> None:
        """Keep the lock until the process ends, also when this is closed: a call of the disk may still write."""
        self._fd = -1

    def __enter__(self) -> JournalFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # -- what is in it

    @property
    def files(self) -> Path:
        """The folder of jobs' files. It need not exist."""
        return self.path / _FILES_NAME

    def segments(self) -> list[int]:
        """Return the numbers of the segments, in order."""
        return self._numbers("log")

    def snapshots(self) -> list[int]:
        """Return the numbers of the complete snapshots, in order."""
        return self._numbers("snap")

    def segment_path(self, number: int) -> Path:
        """Return the path of a segment."""
        return self.path / f"{number:08}.log"

    def snapshot_path(self, number: int) -> Path:
        """Return the path of the snapshot that comes before this segment."""
        return self.path / f"{number:08}.snap"

    def temporary(self, path: Path) -> Path:
        """Return the path of a file in the making, which is renamed when it is whole."""
        return path.with_name(path.name + _TEMPORARY)

    def bytes_used(self) -> int:
        """Return the size of all segments and snapshots, also of those in the making."""
        return sum(
            self.disk.size_of(self.path / name)
            for name in self.disk.names(self.path)
            if _NUMBERED.fullmatch(name.removesuffix(_TEMPORARY))
        )

    def sync(self) -> None:
        """Wait until the names in the folder are on the disk."""
        self.disk.sync_folder(self._fd)

    def remove_unfinished(self) -> None:
        """Remove files that a crash has left in the making."""
        for name in self.disk.names(self.path):
            if name.endswith(_TEMPORARY):
                self.disk.unlink(self.path / name)

    def _numbers(self, kind: str) -> list[int]:
        matches = map(_NUMBERED.fullmatch, self.disk.names(self.path))
        return sorted(int(match[1]) for match in matches if match is not None and match[2] == kind)

    # -- format

    def _take(self) -> None:
        """Make it a journal's folder, unless it is one. Raises JournalError."""
        try:
            if not self._read_format():
                strange = [name for name in self.disk.names(self.path) if name not in _NOT_IN_THE_WAY]
                if strange:
                    raise JournalError(
                        f"journal folder {self.path}: it holds {strange[0]!r} and no journal; "
                        "name an empty folder, or one that doesn't exist yet"
                    )
                self._close_to_others()
                self._write_format()
            else:
                self._close_to_others()
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _close_to_others(self) -> None:
        try:
            self.disk.close_to_others(self._fd)
        except PermissionError:
            raise JournalError(
                f"journal folder {self.path}: it belongs to another user than the one that runs the server; "
                "name a folder in it, which the server makes"
            ) from None

    def _read_format(self) -> bool:
        """Read the format file; False if there is none. Raises JournalError."""
        path = self.path / _FORMAT_NAME
        try:
            fd = self.disk.open(path)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise _unusable(path, error) from error
        try:
            data = self.disk.read(fd, _FORMAT_BYTES_MAX, 0)
        except OSError as error:
            raise _unusable(path, error) from error
        finally:
            self.disk.close(fd)
        self.secret, self.run = _identity(path, data)
        return True

    def _write_format(self) -> None:
        secret, run = secrets.token_bytes(32), RUNS[secrets.randbelow(len(RUNS))]
        path = self.path / _FORMAT_NAME
        temporary = self.temporary(path)
        content = msgspec.json.encode(_Format(FORMAT, secret.hex(), run)) + b"\n"
        fd = self.disk.create(temporary)
        try:
            self.disk.write(fd, content, 0)
            self.disk.sync_file(fd)
        finally:
            self.disk.close(fd)
        self.disk.rename(temporary, path)
        self.sync()
        self.secret, self.run = secret, run


_locked_here: Final[WeakSet[JournalFolder]] = WeakSet()


def _close_in_child() -> None:
    """Close all folders in a forked process, which may live longer than the server: the next one would be refused."""
    for folder in list(_locked_here):
        folder.close()


os.register_at_fork(after_in_child=_close_in_child)


def _identity(path: Path, data: bytes) -> tuple[bytes, int]:
    """Return secret and run of a format file. Raises JournalError."""
    try:
        number = msgspec.json.decode(data)["format"]
        if type(number) is not int:
            raise TypeError
    except (msgspec.DecodeError, LookupError, TypeError):
        raise JournalError(f"{path}: this is not the format file of a journal") from None
    if number != FORMAT:
        which = "a newer" if number > FORMAT else "an older"
        raise JournalError(
            f"{path}: {which} version of jobqueue wrote this journal, in format {number}; this one reads {FORMAT}"
        )
    try:
        content = msgspec.json.decode(data, type=_Format)
        secret = bytes.fromhex(content.secret)
    except (msgspec.DecodeError, ValueError):
        raise JournalError(f"{path}: the format file is damaged: `secret` or `run` is missing or wrong") from None
    if len(secret) < 16 or content.run not in RUNS:
        raise JournalError(f"{path}: the format file is damaged: `secret` or `run` is missing or wrong")
    return secret, content.run


def _make_missing(path: Path, disk: Disk) -> bool:
    """Make a folder; False if there is something already."""
    try:
        disk.make_folder(path)
    except FileExistsError:
        return False
    return True


def _sync(path: Path, disk: Disk) -> None:
    fd = disk.open_folder(path)
    try:
        disk.sync_folder(fd)
    finally:
        disk.close(fd)


def _unusable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"journal folder {path}: it can't be used: {error.strerror or error}")
