"""The file of a snapshot: written, read, cut and damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.snapshot_file import SnapshotFile, read_snapshot
from jobqueue.errors import JournalDamaged

BODIES = [b"\x91\x01", b"\x92" + b"x" * 300, b"\x90"]


@pytest.fixture
def folder(tmp_path: Path) -> JournalFolder:
    return JournalFolder.open(tmp_path / "journal")


@pytest.fixture
def path(folder: JournalFolder) -> Path:
    file = SnapshotFile(folder, 7)
    for body in BODIES:
        file.write(body)
    assert folder.snapshots() == [], "it has its name once it is whole"
    file.finish()
    folder.close()
    return folder.snapshot_path(7)


def bodies(folder: JournalFolder) -> list[bytes]:
    return [frame.body for frame in read_snapshot(folder, 7)]


def test_a_snapshot_is_read_as_it_was_written(folder: JournalFolder, path: Path) -> None:
    assert bodies(folder) == BODIES
    assert folder.snapshots() == [7]
    assert path.stat().st_mode & 0o777 == 0o600


def test_each_cut_of_a_snapshot_is_damage(folder: JournalFolder, path: Path) -> None:
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(JournalDamaged) as raised:
            bodies(folder)
        assert raised.value.file == str(path)
        assert raised.value.offset <= length


def test_each_flip_of_a_byte_of_a_snapshot_is_damage(folder: JournalFolder, path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1 :])
        with pytest.raises(JournalDamaged) as raised:
            bodies(folder)
        assert raised.value.offset <= at


def test_bytes_behind_the_end_of_a_snapshot_are_damage(folder: JournalFolder, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(JournalDamaged, match="frame 5 of the snapshot"):
        bodies(folder)


def test_a_snapshot_larger_than_a_block_is_read(folder: JournalFolder) -> None:
    file = SnapshotFile(folder, 7)
    large = [bytes((number,)) * 700_000 for number in range(1, 6)] + [b"y" * 3_000_000, b"z"]
    for body in large:
        file.write(body)
    file.finish()
    assert bodies(folder) == large
    folder.close()


def test_an_abandoned_snapshot_leaves_nothing(folder: JournalFolder) -> None:
    file = SnapshotFile(folder, 7)
    file.write(b"\x90")
    file.abandon()
    file.abandon()
    assert [path.name for path in folder.path.iterdir()] == ["format"]
    folder.close()
