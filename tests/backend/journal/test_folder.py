from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from jobqueue.backend.journal.disk import Disk
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.core.ids import RUNS
from jobqueue.errors import ConfigError, JournalError
from tests.backend.journal.faulty_disk import Crash, Fault, FaultyDisk
from tests.backend.journal.logs import FOLDER, opened, read, write_segment


def tree(path: Path) -> dict[str, tuple[int, bytes]]:
    """Return modes and contents of all that a folder holds, and of itself."""
    found = {"": (path.stat().st_mode, b"")}
    for each in sorted(path.rglob("*")):
        found[str(each.relative_to(path))] = (each.stat().st_mode, each.read_bytes() if each.is_file() else b"")
    return found


def refusal(path: Path, *, existing: bool = False) -> str:
    """Return the message that a folder is refused with, which changes nothing in it."""
    before = tree(path) if path.is_dir() else None
    with pytest.raises(JournalError) as caught:
        (JournalFolder.open_existing if existing else JournalFolder.open)(path)
    assert (tree(path) if path.is_dir() else None) == before
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "journal"


# -- a new one


def test_a_missing_folder_is_made_for_this_user_alone(path: Path) -> None:
    with JournalFolder.open(path) as folder:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "format").stat().st_mode) == 0o600
        assert os.listdir(path) == ["format"]
        assert len(folder.secret) == 32
        assert folder.run in RUNS
        assert (folder.segments(), folder.snapshots(), folder.bytes_used()) == ([], [], 0)


def test_an_empty_folder_is_closed_to_others(path: Path) -> None:
    path.mkdir(parents=True)
    path.chmod(0o755)
    (path / "lost+found").mkdir()
    JournalFolder.open(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_the_next_start_finds_secret_and_run(path: Path) -> None:
    with JournalFolder.open(path) as folder:
        before = folder.secret, folder.run
    with JournalFolder.open(path) as folder:
        assert (folder.secret, folder.run) == before
    with JournalFolder.open_existing(path) as folder:
        assert (folder.secret, folder.run) == before


def test_two_folders_have_other_secrets(tmp_path: Path) -> None:
    with JournalFolder.open(tmp_path / "a") as a, JournalFolder.open(tmp_path / "b") as b:
        assert a.secret != b.secret


def test_the_files_of_a_folder_are_numbered(path: Path) -> None:
    with JournalFolder.open(path) as folder:
        for name in ("00000003.log", "00000012.log", "100000000.log", "00000003.snap", "00000004.snap.tmp", "x.log"):
            (path / name).write_bytes(b"12")
        assert folder.segments() == [3, 12, 100_000_000]
        assert folder.snapshots() == [3]
        assert folder.segment_path(12) == path / "00000012.log"
        assert folder.snapshot_path(3) == path / "00000003.snap"
        assert folder.bytes_used() == 10
        folder.remove_unfinished()
        assert not (path / "00000004.snap.tmp").exists()
        assert folder.bytes_used() == 8


# -- refusals


def test_a_folder_with_other_files_is_refused(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "thesis.odt").write_text("mine")
    assert refusal(path) == (
        f"journal folder {path}: it holds 'thesis.odt' and no journal; "
        "name an empty folder, or one that doesn't exist yet"
    )


def test_a_file_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("")
    assert refusal(path) == f"journal folder {path}: it can't be used: Not a directory"


def test_a_folder_that_is_in_use_is_refused(path: Path) -> None:
    with JournalFolder.open(path):
        for existing in (False, True):
            assert refusal(path, existing=existing) == (
                f"journal folder {path}: another process uses it, a server or `jobqueue journal`, "
                "and only one may at a time"
            )
    JournalFolder.open(path).close()


def test_a_folder_of_another_process_is_refused_until_that_ends(path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jobqueue.backend.journal.folder import JournalFolder\n"
        "folder = JournalFolder.open(Path(sys.argv[1])); print('locked', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"locked\n"
        assert "another process uses it" in refusal(path)
        child.kill()
        child.wait()
        JournalFolder.open(path).close()


def test_a_forked_process_does_not_hold_the_folder(path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from jobqueue.backend.journal.folder import JournalFolder\n"
        "folder = JournalFolder.open(Path(sys.argv[1]))\n"
        "if not os.fork(): print('forked', flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"forked\n"
        assert "another process uses it" in refusal(path)
        parent.kill()
        parent.wait()
        JournalFolder.open(path).close()  # the forked one still lives: its input isn't closed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"format":2,"secret":"","run":1}',
            "a newer version of jobqueue wrote this journal, in format 2; this one reads 1",
        ),
        ('{"format":0}', "an older version of jobqueue wrote this journal, in format 0; this one reads 1"),
        ('{"format":"1"}', "this is not the format file of a journal"),
        ("[]", "this is not the format file of a journal"),
        ("", "this is not the format file of a journal"),
        ("PNG\x89", "this is not the format file of a journal"),
        ('{"format":1,"secret":"00","run":5000}', "the format file is damaged: `secret` or `run` is missing or wrong"),
        ('{"format":1,"secret":"x","run":5000}', "the format file is damaged: `secret` or `run` is missing or wrong"),
        ('{"format":1,"run":5000}', "the format file is damaged: `secret` or `run` is missing or wrong"),
        (
            f'{{"format":1,"secret":"{"00" * 32}","run":1}}',
            "the format file is damaged: `secret` or `run` is missing or wrong",
        ),
    ],
)
def test_a_folder_of_another_format_is_refused(path: Path, content: str, message: str) -> None:
    path.mkdir(parents=True)
    (path / "format").write_text(content)
    assert refusal(path) == f"{path / 'format'}: {message}"
    assert refusal(path, existing=True) == f"{path / 'format'}: {message}"


def test_a_folder_without_a_journal_is_not_opened_as_one(path: Path) -> None:
    assert refusal(path, existing=True) == f"journal folder {path}: there is no such folder"
    assert not path.parent.exists()
    path.mkdir(parents=True)
    assert refusal(path, existing=True) == (
        f"journal folder {path}: it holds no journal (there is no file 'format' in it)"
    )


class ReadOnlyDisk(Disk):
    """A file system that is mounted read-only, or full: `number` says which."""

    def __init__(self, number: int) -> None:
        self.number = number

    def create(self, path: Path) -> int:
        raise OSError(self.number, os.strerror(self.number), str(path))


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_folder_that_can_not_be_written_is_refused(path: Path, number: int) -> None:
    path.mkdir(parents=True)
    with pytest.raises(JournalError) as caught:
        JournalFolder.open(path, ReadOnlyDisk(number))
    assert str(caught.value) == f"journal folder {path}: it can't be used: {os.strerror(number)}"
    assert os.listdir(path) == []


def test_a_folder_of_another_user_is_refused(path: Path) -> None:
    class Strict(Disk):
        def close_to_others(self, folder_fd: int) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    path.mkdir(parents=True)
    with pytest.raises(JournalError) as caught:
        JournalFolder.open(path, Strict())
    assert str(caught.value) == (
        f"journal folder {path}: it belongs to another user than the one that runs the server; "
        "name a folder in it, which the server makes"
    )
    assert os.listdir(path) == []


def test_a_refusal_is_a_fault_of_the_settings(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "x").write_text("")
    with pytest.raises(ConfigError):
        JournalFolder.open(path)


def test_a_refused_folder_is_not_locked(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "x").write_text("")
    refusal(path)
    fd = os.open(path, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(fd)


# -- faults


def making() -> int:
    """Return the number of calls that making a folder takes."""
    disk = FaultyDisk()
    opened(disk).close()
    return disk.calls.total()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("for_ever", [False, True])
def test_a_fault_at_each_call_of_making_a_folder_is_a_refusal(number: int, for_ever: bool) -> None:
    assert making() > 10
    for at in range(1, making() + 1):
        disk = FaultyDisk(Fault("any", at, number, for_ever))
        with pytest.raises(JournalError, match=rf"/journal.*: {os.strerror(number)}$"):
            opened(disk)
        assert disk.open_files == {}
        disk.faults = []
        opened(disk).close()


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_a_crash_at_each_call_of_making_a_folder_is_survived(keep: float) -> None:
    for at in range(1, making() + 1):
        disk = FaultyDisk(crash_at=at)
        with pytest.raises(Crash):
            opened(disk)
        opened(disk.after_crash(keep)).close()


def test_a_folder_that_was_made_survives_a_crash() -> None:
    disk = FaultyDisk()
    with opened(disk) as folder:
        secret = folder.secret
    with opened(disk.after_crash()) as folder:
        assert folder.secret == secret


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_a_crash_at_each_call_of_making_a_segment_is_survived(keep: float) -> None:
    calls = FaultyDisk()
    with opened(calls) as folder:
        before = calls.calls.total()
        write_segment(folder, 1, range(1, 4), synced_every=100)
        after = calls.calls.total()
    for at in range(before + 1, after + 1):
        disk = FaultyDisk(crash_at=at)
        folder = opened(disk)
        with pytest.raises(Crash):
            write_segment(folder, 1, range(1, 4), synced_every=100)
        with opened(disk.after_crash(keep)) as folder:
            lsns, end, damage = read(folder)
            assert damage is None
            assert lsns == [*range(1, end.lsn)]


@pytest.mark.parametrize("kind", ["create", "allocate", "sync_file", "rename", "sync_folder"])
def test_a_segment_that_can_not_be_made_leaves_nothing(kind: str) -> None:
    disk = FaultyDisk()
    with opened(disk) as folder:
        disk.faults = [Fault(kind, disk.calls[kind] + 1, errno.ENOSPC)]
        with pytest.raises(OSError, match="No space left"):
            write_segment(folder, 1, range(1, 4))
        assert [*disk.names_now] == ["format"]
        assert len(disk.open_files) == 1
    assert str(FOLDER) == "/journal"
