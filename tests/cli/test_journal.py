"""`jobqueue journal`: check, repair and dump of folders that no server uses."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.backend.journal import records as of
from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.frame import encode_frame
from jobqueue.backend.journal.segment import SEGMENT_BYTES, SEGMENT_HEAD_BYTES, SegmentHead, make_segment
from jobqueue.backend.journal.snapshot_file import SnapshotFile
from tests.cli.conftest import ROOT, Ran, run_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Here = Callable[..., Ran]

AT = 1_700_000_000_000
AT_TEXT = "2023-11-14T22:13:20.000Z"
SPEC = ["greet", "mail", 0, None, 0.0, None, None, 60.0, False, False, 1, None, None]
BEGIN = [of.BEGIN, AT, "", False, [AT]]
TARGET = """
from jobqueue import JobQueue

queue = JobQueue()


@queue.handler(redact=("password",))
async def greet(name: str, password: str) -> None: ...
"""


def submit(job: str, **args: object) -> list[Any]:
    return [of.SUBMIT, job, 1, json.dumps(args).encode(), AT]


def started(job: str) -> list[Any]:
    return [of.START, job, 2, 1, AT + 5]


def success(job: str) -> list[Any]:
    return [of.SUCCESS, job, 3, AT + 9, b'{"token":"t0p"}']


FRAMES = [
    [BEGIN, [of.PROCESS, AT], [of.SPEC, 1, SPEC], submit("01a", name="Ann", password="s3cret")],
    [started("01a"), submit("01b", name="Bob", password="other")],
    [success("01a")],
    [submit("01c"), started("01b")],
    [started("01c")],
]


def encoded(frame: Iterable[list[Any]]) -> bytes:
    return msgspec.msgpack.encode(frame)


def write_segment(folder: JournalFolder, number: int, frames: list[list[list[Any]]], first_lsn: int = 1) -> list[int]:
    """Write a segment, each frame after the sync of the one before; return the offsets of the frames."""
    segment = make_segment(folder, number, SEGMENT_BYTES)
    disk, offset, offsets = folder.disk, SEGMENT_HEAD_BYTES, []
    disk.write(segment.fd, SegmentHead(number, first_lsn, segment.salt).encode(), 0)
    for lsn, frame in enumerate(frames, first_lsn):
        data = encode_frame(encoded(frame), lsn=lsn, synced=lsn, salt=segment.salt)
        disk.write(segment.fd, data, offset)
        offsets.append(offset)
        offset += len(data)
    disk.close(segment.fd)
    return [*offsets, offset]


class Made:
    """A journal of one segment with `FRAMES`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with JournalFolder.open(path) as folder:
            self.offsets = write_segment(folder, 1, FRAMES)
            self.log = folder.segment_path(1)

    def overwrite(self, offset: int, data: bytes) -> None:
        with self.log.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def damage(self, frame: int) -> None:
        """Change a byte of a frame, counted from 0."""
        self.overwrite(self.offsets[frame] + 40, b"\xff")

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.path.iterdir()}


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Here:
    """Run a command in this process."""
    return lambda *argv: run_here(capsys, *argv)


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "journal")


def test_check_counts_files_records_and_jobs(made: Made, here: Here) -> None:
    before = made.content()
    ran = here("journal", "check", str(made.path))
    (told,) = ran.lines
    assert (ran.code, told["state"], told["segments"], told["frames"], told["snapshot"]) == (0, "ok", 1, 5, None)
    assert told["records"] == {"begin": 1, "process": 1, "spec": 1, "submit": 3, "start": 3, "success": 1}
    assert told["jobs"] == {"succeeded": 1, "running": 2}
    assert (told["clean"], told["torn_tail"], told["damage"]) == (False, None, None)
    shown = here("journal", "check", str(made.path), "-o", "table").out
    assert f"{made.path}: ok" in shown
    assert "jobs      3: running 2, succeeded 1" in shown
    assert made.content() == before


def test_check_reads_a_snapshot_and_the_log_after_it(tmp_path: Path, here: Here) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        file = SnapshotFile(folder, 3)
        file.write(encoded([BEGIN, [of.SPEC, 1, SPEC], submit("01a"), [of.WHOLE, "01a", 1]]))
        file.finish()
        write_segment(folder, 3, [[BEGIN, [of.SPEC, 1, SPEC], submit("01b")], [[of.CLEAN, AT]]], first_lsn=40)
    (told,) = here("journal", "check", str(folder.path)).lines
    assert (told["snapshot"], told["segments"], told["frames"]) == ("00000003.snap", 1, 3)
    assert (told["jobs"], told["clean"]) == ({"queued": 2}, True)
    dumped = here("journal", "dump", str(folder.path)).lines
    assert [each["file"] for each in dumped if each["kind"] == "submit"] == ["00000003.snap", "00000003.log"]


def test_a_damaged_snapshot_is_named_and_can_not_be_cut(tmp_path: Path, here: Here) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        file = SnapshotFile(folder, 3)
        file.write(encoded([BEGIN, [of.SPEC, 1, SPEC], submit("01a"), [of.WHOLE, "01a", 1]]))
        file.finish()
        write_segment(folder, 3, [[BEGIN]], first_lsn=40)
    path = folder.snapshot_path(3)
    path.write_bytes(path.read_bytes()[:-5])
    ran = here("journal", "check", str(folder.path))
    assert (ran.code, ran.lines[0]["damage"]["file"]) == (1, str(path))
    ran = here("journal", "repair", str(folder.path), "--yes")
    assert ran.code == 1
    assert "restore the folder from a backup" in ran.err


def test_a_torn_tail_is_no_damage(made: Made, here: Here) -> None:
    made.overwrite(made.offsets[4] + 40, b"\xff")
    ran = here("journal", "check", str(made.path))
    (told,) = ran.lines
    assert (ran.code, told["state"], told["frames"]) == (0, "ok", 4)
    assert told["torn_tail"]["file"] == "00000001.log"
    assert told["torn_tail"]["offset"] == made.offsets[4]
    shown = here("journal", "check", str(made.path), "-o", "table").out
    assert "an unfinished write; the next start cuts" in shown
    ran = here("journal", "repair", str(made.path))
    assert (ran.code, "nothing to repair" in ran.out) == (0, True)


def test_damage_is_named_with_its_file_and_offset(made: Made, here: Here) -> None:
    made.damage(2)
    before = made.content()
    ran = here("journal", "check", str(made.path))
    damage = ran.lines[0]["damage"]
    assert (ran.code, damage["file"], damage["offset"]) == (1, str(made.log), made.offsets[2])
    assert "was on disk when frame 4 was written" in damage["reason"]
    ran = here("journal", "check", str(made.path), "-o", "table")
    assert ran.code == 1
    assert f"DAMAGE    00000001.log, byte {made.offsets[2]:,}: frame 3 can't be read" in ran.out
    ran = here("journal", "dump", str(made.path))
    assert (ran.code, [each["frame"] for each in ran.lines][-1]) == (1, 2)
    assert f"{made.log}: damaged at byte {made.offsets[2]}" in ran.err
    assert made.content() == before


def test_a_repair_asks_first_and_needs_a_terminal_for_it(made: Made, here: Here) -> None:
    made.damage(2)
    before = made.content()
    ran = here("journal", "repair", str(made.path))
    assert (ran.code, "give --yes" in ran.err) == (2, True)
    assert made.content() == before
    assert list(made.path.parent.iterdir()) == [made.path]


def test_a_repair_cuts_at_the_damage_and_keeps_the_part_behind_it(made: Made, here: Here) -> None:
    made.damage(2)
    before = made.content()
    ran = here("journal", "repair", str(made.path), "--yes")
    assert ran.code == 0
    assert "2 frames with 3 records" in ran.err
    assert "a cut forgets them: 1 job (01c)\n" in ran.err
    assert "to their state before: 1 job (01b)\n" in ran.err
    assert "cut: 2 jobs left (queued 1, running 1); a server can start now\n" in ran.out
    (kept,) = [path for path in made.path.parent.iterdir() if path != made.path]
    assert kept.name.startswith("journal-cut-")
    assert (kept / "00000001.log").read_bytes() == before["00000001.log"]
    assert kept.stat().st_mode & 0o777 == 0o700
    (told,) = here("journal", "check", str(made.path)).lines
    assert (told["state"], told["frames"], told["torn_tail"]) == ("ok", 2, None)


@pytest.mark.parametrize(("typed", "code"), [("n", 1), ("\n", 1), ("y", 0)])
def test_a_repair_on_a_terminal_waits_for_a_yes(made: Made, typed: str, code: int) -> None:
    made.damage(2)
    before = made.content()
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobqueue", "journal", "repair", str(made.path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"[y/N]" not in shown and select.select([ours], [], [], 30)[0]:
            shown += os.read(ours, 4096)
        os.write(ours, f"{typed}\n".encode())
        assert process.wait(30) == code
    os.close(ours)
    assert (made.content() == before) == (code == 1)


def test_a_dump_shows_readable_instants_and_hides_arguments_and_results(made: Made, here: Here) -> None:
    ran = here("journal", "dump", str(made.path))
    assert (ran.code, "s3cret" in ran.out, "t0p" in ran.out) == (0, False, False)
    kinds = [each["kind"] for each in ran.lines]
    assert kinds == ["begin", "process", "spec", "submit", "start", "submit", "success", "submit", "start", "start"]
    first = next(each for each in ran.lines if each["kind"] == "submit")
    assert (first["id"], first["created_at"]) == ("01a", AT_TEXT)
    assert first["spec"] == {"type": "greet", "queue": "mail"}
    assert first["args_bytes"] == len(json.dumps({"name": "Ann", "password": "s3cret"}))
    assert (first["file"], first["frame"], first["offset"]) == ("00000001.log", 1, made.offsets[0])
    end = next(each for each in ran.lines if each["kind"] == "success")
    assert (end["result_bytes"], end["at"]) == (15, "2023-11-14T22:13:20.009Z")


def test_a_dump_shows_all_on_request(made: Made, here: Here) -> None:
    lines = here("journal", "dump", str(made.path), "--args").lines
    assert [each["args"]["password"] for each in lines if each.get("args")] == ["s3cret", "other"]
    assert [each["result"] for each in lines if "result" in each] == [{"token": "t0p"}]


def test_a_dump_hides_messages_and_keys_unless_all_is_asked_for(tmp_path: Path, here: Here) -> None:
    path, failed = tmp_path / "journal", [1, AT, AT + 5, "handler_error", "no account s3cret", "at s3cret"]
    submitted = [*submit("01a"), ["ann", None, None, None, "key-s3cret", b"print"]]
    whole = [of.JOB, "01b", 5, "failed", 1, b"{}", AT, None, 1, None, AT, AT + 5, None, None, None]
    whole += [["bob", None, None, None, "key-s3cret", b"print"], 0, None, ["rejected", "no s3cret"], [failed], False]
    records = [
        [of.SPEC, 1, SPEC],
        submitted,
        [of.SHARE, "01a", "bob", "key-s3cret", b"print"],
        [of.BACK_OFF, "01a", 3, AT, failed],
        [of.END, "01a", 4, "failed", AT, ["rejected", "no s3cret"], failed],
        [*whole, None, [["bob", "key-s3cret", b"print"]]],
    ]
    with JournalFolder.open(path) as folder:
        write_segment(folder, 1, [[BEGIN, *records]])
    ran = here("journal", "dump", str(path))
    assert (ran.code, "s3cret" in ran.out) == (0, False)
    submit_line, share, back_off, end, job = ran.lines[2:]
    assert submit_line["identity"]["key_bytes"] == share["key_bytes"] == job["shared"][0]["key_bytes"] == 10
    assert back_off["failed"]["message_bytes"] == job["history"][0]["message_bytes"] == len("no account s3cret")
    assert end["error"] == job["error"] == {"code": "rejected", "message_bytes": len("no s3cret")}
    *_, job = here("journal", "dump", str(path), "--args").lines
    assert job["identity"]["key"] == job["shared"][0]["key"] == "key-s3cret"
    assert job["error"]["message"] == "no s3cret"
    assert job["history"][0]["traceback"] == "at s3cret"


def test_a_dump_shows_when_schedules_pause_and_hides_the_jobs_that_they_submit(tmp_path: Path, here: Here) -> None:
    path = tmp_path / "journal"
    records = [
        [of.SCHEDULE, "ann", "nightly", "key:ann", b'{"type":"greet","args":{"password":"s3cret"}}'],
        [of.SCHEDULE_STATE, "ann", "nightly", AT, [AT, None, None, "bob"]],
    ]
    with JournalFolder.open(path) as folder:
        write_segment(folder, 1, [[BEGIN, *records]])
    ran = here("journal", "dump", str(path))
    assert (ran.code, "s3cret" in ran.out) == (0, False)
    put, state = ran.lines[1:]
    assert (put["name"], put["caller"], put["given_bytes"]) == ("nightly", "key:ann", 45)
    assert (state["reached_at"], state["pause"]["since"], state["pause"]["by"]) == (AT_TEXT, AT_TEXT, "bob")
    shown = here("journal", "dump", str(path), "--args").lines
    assert shown[1]["given"]["args"] == {"password": "s3cret"}


def test_a_dump_redacts_arguments_as_their_handlers_do(made: Made, tmp_path: Path, here: Here) -> None:
    (tmp_path / "tasks_of_journal.py").write_text(TARGET)
    ran = here("journal", "dump", str(made.path), "--target", str(tmp_path / "tasks_of_journal.py"))
    assert ran.code == 0
    shown = [each["args"] for each in ran.lines if "args" in each]
    assert shown[:2] == [{"name": "Ann", "password": "•••"}, {"name": "Bob", "password": "•••"}]
    assert "t0p" not in ran.out
    ran = here("journal", "dump", str(made.path), "--target", "no_such_module")
    assert (ran.code, ran.err.startswith("--target: no module named 'no_such_module'")) == (2, True)


def test_a_dump_of_one_job_has_its_records_alone(made: Made, here: Here) -> None:
    lines = here("journal", "dump", str(made.path), "--job", "01b").lines
    assert [(each["kind"], each["id"]) for each in lines] == [("submit", "01b"), ("start", "01b")]
    ran = here("journal", "dump", str(made.path), "--job", "01z")
    assert (ran.code, ran.out, ran.err) == (1, "", "jobqueue: no record of the journal is about 01z\n")


def test_a_dump_into_a_pipe_ends_with_its_reader(tmp_path: Path) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        many = [[BEGIN, [of.SPEC, 1, SPEC]], *([submit(f"01{number:05}")] for number in range(500))]
        write_segment(folder, 1, many)
    command = f"{sys.executable} -m jobqueue journal dump {folder.path} | head -n 2"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (len(done.stdout.splitlines()), done.stderr) == (2, "")


@pytest.mark.parametrize("command", ["check", "repair", "dump"])
def test_a_folder_that_is_in_use_or_no_journal_is_refused(made: Made, tmp_path: Path, here: Here, command: str) -> None:
    with JournalFolder.open(made.path):
        ran = here("journal", command, str(made.path))
        assert (ran.code, ran.out) == (2, "")
        assert "another process uses it" in ran.err
    (tmp_path / "other").mkdir()
    for path, reason in ((tmp_path / "other", "it holds no journal"), (tmp_path / "none", "there is no such folder")):
        ran = here("journal", command, str(path))
        assert (ran.code, reason in ran.err, str(path) in ran.err) == (2, True, True)
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("command", ["check", "repair", "dump"])
def test_a_file_that_can_not_be_read_is_named(made: Made, here: Here, command: str) -> None:
    made.log.unlink()
    made.log.symlink_to(made.path / "gone")
    ran = here("journal", command, str(made.path))
    assert (ran.code, ran.out) == (2, "")
    assert f"{made.log}: it can't be read: No such file or directory" in ran.err


def test_a_log_that_was_cut_is_damaged_and_goes_on_after_a_repair(made: Made, here: Here) -> None:
    os.truncate(made.log, made.offsets[2] + 7)
    damage = here("journal", "check", str(made.path)).lines[0]["damage"]
    assert (damage["file"], damage["offset"]) == (str(made.log), made.offsets[2] + 7)
    assert "made with 67,108,864 bytes or more" in damage["reason"]
    assert here("journal", "repair", str(made.path), "--yes").code == 0
    assert made.log.stat().st_size == SEGMENT_BYTES
    assert here("journal", "check", str(made.path)).lines[0]["frames"] == 2


def test_a_frame_of_a_snapshot_without_valid_records_is_named_by_the_snapshot(tmp_path: Path, here: Here) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        snapshot = SnapshotFile(folder, 1)
        snapshot.write(encoded([[99, "what"]]))
        snapshot.finish()
        write_segment(folder, 1, [[BEGIN]])
    damage = here("journal", "check", str(folder.path)).lines[0]["damage"]
    assert (damage["file"], damage["offset"]) == (str(folder.snapshot_path(1)), 0)


def test_whole_frames_without_valid_records_are_damage_that_no_cut_mends(tmp_path: Path, here: Here) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        offsets = write_segment(folder, 1, [[BEGIN], [[99, "what"]], [[of.PROCESS, AT]]])
    ran = here("journal", "check", str(folder.path))
    damage = ran.lines[0]["damage"]
    assert (ran.code, damage["offset"]) == (1, offsets[1])
    assert "no valid records" in damage["reason"]
    assert here("journal", "dump", str(folder.path)).code == 1
    ran = here("journal", "repair", str(folder.path), "--yes")
    assert (ran.code, "restore the folder from a backup" in ran.err) == (1, True)
