from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.journal.folder import JournalFolder
from jobqueue.backend.journal.frame import encode_frame
from jobqueue.backend.journal.reading import cut_log, read_log
from jobqueue.backend.journal.segment import SEGMENT_HEAD_BYTES, SegmentHead, make_segment
from jobqueue.errors import JournalError
from tests.backend.journal.faulty_disk import Fault, FaultyDisk
from tests.backend.journal.logs import body, content, opened, read, write_segment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def disk() -> FaultyDisk:
    return FaultyDisk()


def test_a_log_is_read_in_order_over_all_segments(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 8))
        written = write_segment(folder, 2, range(8, 12))
        lsns, end, damage = read(folder)
        assert (lsns, damage) == ([*range(1, 12)], None)
        assert (end.segment, end.lsn, end.torn_bytes, end.kept) == (2, 12, 0, (1, 2))
        assert end.offset == written[-1].offset + written[-1].length
        assert cut_log(folder, end) == end


def test_an_empty_folder_is_an_empty_log(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        lsns, end, damage = read(folder)
        assert (lsns, end.segment, end.lsn, damage) == ([], 0, 1, None)


def test_a_frame_tells_its_place(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        written = write_segment(folder, 1, range(1, 4))
        assert [(frame.segment, frame.offset, frame.lsn) for frame in read_log(folder)] == [
            (each.segment, each.offset, each.lsn) for each in written
        ]


def test_a_frame_greater_than_a_block_is_read(disk: FaultyDisk) -> None:
    big = b"\xc6" + (3_000_000).to_bytes(4, "big") + bytes(3_000_000)
    with opened(disk) as folder:
        segment = make_segment(folder, 1, 4_000_000)
        disk.write(segment.fd, SegmentHead(1, 1, 7).encode(), 0)
        disk.write(segment.fd, encode_frame(big, lsn=1, synced=1, salt=7), SEGMENT_HEAD_BYTES)
        disk.close(segment.fd)
        assert [frame.body for frame in read_log(folder)] == [big]


# -- cuts and flips


def two_segments(disk: FaultyDisk, synced_every: int) -> list[int]:
    """Write a log of 1,600 bytes; return the offsets in its second segment at which a frame ends."""
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 16), size_bytes=1024, synced_every=synced_every)
        written = write_segment(folder, 2, range(16, 32), size_bytes=1024, synced_every=synced_every)
    return [SEGMENT_HEAD_BYTES, *(each.offset + each.length for each in written)]


@pytest.mark.parametrize("synced_every", [1, 4, 100])
def test_each_cut_of_the_last_segment_gives_exactly_the_whole_frames(disk: FaultyDisk, synced_every: int) -> None:
    ends = two_segments(disk, synced_every)
    whole = bytes(content(disk, 2))
    head_bytes = len(whole[:SEGMENT_HEAD_BYTES].rstrip(b"\0"))  # its checksum may end with zeros, as what is cut does
    with opened(disk) as folder:
        for cut in range(ends[-1]):
            content(disk, 2)[:] = whole[:cut] + bytes(len(whole) - cut)
            lsns, end, damage = read(folder)
            frames = sum(1 for at in ends[1:] if at <= cut)
            assert damage is None
            assert lsns == [*range(1, 16 + frames)]
            assert end.lsn == 16 + frames
            assert end.segment == (2 if cut >= head_bytes else 1)
            if end.segment == 2:
                assert end.offset == ends[frames]
                assert end.torn_bytes == len(whole[end.offset : cut].rstrip(b"\0"))


def test_each_flip_of_a_bit_is_noticed(disk: FaultyDisk) -> None:
    two_segments(disk, 1)
    seen: Counter[str] = Counter()
    with opened(disk) as folder:
        for number in (1, 2):
            data = content(disk, number)
            for bit in range(len(bytes(data).rstrip(b"\0")) * 8):
                data[bit >> 3] ^= 1 << (bit & 7)
                lsns, end, damage = read(folder)
                data[bit >> 3] ^= 1 << (bit & 7)
                assert lsns == [*range(1, end.lsn)]
                if damage is None:
                    assert (number, end.lsn) == (2, 31), "only the last frame is synced by no other"
                    seen["torn"] += 1
                else:
                    assert damage.file == str(folder.segment_path(number))
                    assert damage.offset <= bit >> 3
                    seen["damage"] += 1
    assert seen["damage"] > 12_000
    assert 100 < seen["torn"] < 1_000


def test_each_flip_in_frames_that_no_sync_covered_is_a_torn_tail(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 9), synced_every=4)
        written = write_segment(folder, 2, range(9, 13), synced_every=4)
        data = content(disk, 2)
        for bit in range(written[0].offset * 8, (written[-1].offset + written[-1].length) * 8):
            data[bit >> 3] ^= 1 << (bit & 7)
            lsns, end, damage = read(folder)
            data[bit >> 3] ^= 1 << (bit & 7)
            assert damage is None
            assert lsns == [*range(1, end.lsn)]
            assert end.offset <= bit >> 3


def test_each_zeroed_sector_is_damage_unless_it_is_the_unsynced_end(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 220), size_bytes=14_000)
        data = content(disk, 1)
        whole = bytes(data)
        used = len(whole.rstrip(b"\0"))
        outcomes = []
        for start in range(0, used, 512):
            data[start : start + 512] = bytes(512)
            _, _, damage = read(folder)
            outcomes.append(damage is not None)
            data[:] = whole
            if damage is not None:
                assert damage.offset < start + 512
        assert len(outcomes) > 20
        assert outcomes.count(False) <= 1
        assert all(outcomes[:-1])


# -- damage


def test_damage_names_the_segment_and_the_offset(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        written = write_segment(folder, 1, range(1, 8))
        content(disk, 1)[written[3].offset + 40] ^= 1
        lsns, end, damage = read(folder)
        assert lsns == [1, 2, 3]
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000001.log", written[3].offset)
        assert str(damage) == (
            f"/journal/00000001.log: damaged at byte {written[3].offset}: frame 4 can't be read, and was on disk when "
            f"frame 5 was written (00000001.log, byte {written[4].offset}); restore the folder from a backup, "
            "or cut the log there with `jobqueue journal repair`"
        )
        assert (end.segment, end.offset, end.lsn) == (1, written[3].offset, 4)


def test_a_damaged_log_is_cut_on_demand(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        written = write_segment(folder, 1, range(1, 8))
        write_segment(folder, 2, range(8, 12))
        content(disk, 1)[written[3].offset + 40] ^= 1
        end = cut_log(folder, read(folder).end)
        assert (end.segment, end.lsn, folder.segments()) == (1, 4, [1])
        assert read(folder) == ([1, 2, 3], end, None)
        assert not any(content(disk, 1)[end.offset :])


def test_a_missing_segment_is_damage(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        write_segment(folder, 2, range(4, 6))
        write_segment(folder, 3, range(6, 9))
        del disk.names_now["00000002.log"]
        lsns, _, damage = read(folder)
        assert lsns == [1, 2, 3]
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000002.log", 0)
        del disk.names_now["00000001.log"]
        assert "neither a segment nor a snapshot tells what came before" in str(read(folder).damage)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_spare_after_a_missing_segment_is_damage(disk: FaultyDisk, missing: int) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        if missing == 2:
            write_segment(folder, 2, range(4, 6))
        disk.close(make_segment(folder, missing + 1, 4096).fd)
        del disk.names_now[f"{missing:08}.log"]
        _, end, damage = read(folder)
        assert damage is not None
        assert (damage.file, damage.offset) == (f"/journal/{missing:08}.log", 0)
        assert f"the segment is missing: there is one after it ({missing + 1:08}.log)" in damage.reason
        cut_log(folder, end)
        assert (folder.segments(), read(folder).damage) == ([*range(1, missing)], None)


@pytest.mark.parametrize("of", ["first", "last", "spare"])
def test_each_cut_of_a_file_is_damage(disk: FaultyDisk, of: str) -> None:
    with opened(disk) as folder:
        written = [*write_segment(folder, 1, range(1, 4)), *write_segment(folder, 2, range(4, 8))]
        disk.close(make_segment(folder, 3, 4096).fd)
        number = {"first": 1, "last": 2, "spare": 3}[of]
        whole = bytes(content(disk, number))
        end = (
            4096 if number > 1 else written[2].offset + written[2].length
        )  # behind it, a log that goes on lacks nothing
        for size_bytes in range(0, end, 1 if number < 3 else 64):
            content(disk, number)[:] = whole[:size_bytes]
            lsns, _, damage = read(folder, segment_bytes=4096)
            assert damage is not None, size_bytes
            held = {1: [], 2: [1, 2, 3], 3: [*range(1, 8)]}[number]
            ends = [each.lsn for each in written if each.segment == number and each.offset + each.length <= size_bytes]
            assert lsns[: len(held) + len(ends)] == [*held, *ends]


@pytest.mark.parametrize("lost", ["file", "head", "all bytes"])
@pytest.mark.parametrize("spare", [True, False])
def test_a_lost_segment_is_named_where_the_one_before_was_cut_for_it(disk: FaultyDisk, lost: str, spare: bool) -> None:
    with opened(disk) as folder:
        last = write_segment(folder, 1, range(1, 4))[-1]
        write_segment(folder, 2, range(4, 6), synced_every=100)
        if spare:
            disk.close(make_segment(folder, 3, 4096).fd)
        del content(disk, 1)[last.offset + last.length :]
        if lost == "file":
            disk.names_now.pop("00000003.log", None)
            del disk.names_now["00000002.log"]
        elif lost == "head":
            content(disk, 2)[5] ^= 1
        else:
            content(disk, 2)[:] = bytes(4096)
        lsns, end, damage = read(folder, segment_bytes=4096)
        assert damage is not None
        assert (damage.file, damage.offset, lsns) == ("/journal/00000002.log", 0, [1, 2, 3])
        assert damage.reason == "the segment is missing or has no head: it was on disk when 00000001.log was cut"
        end = cut_log(folder, end, segment_bytes=4096)
        assert read(folder, segment_bytes=4096) == ([1, 2, 3], end, None), "a repair goes on behind the last frame"


def test_a_single_file_without_bytes_is_named_itself(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        content(disk, 1).clear()
        damage = read(folder, segment_bytes=4096).damage
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000001.log", 0)
        assert "the file ends there" in damage.reason


def test_a_repaired_segment_has_its_size_again(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        written = write_segment(folder, 1, range(1, 8))
        del content(disk, 1)[written[3].offset + 5 :]
        outcome = read(folder, segment_bytes=4096)
        assert outcome.damage is not None
        assert (outcome.damage.file, outcome.damage.offset) == ("/journal/00000001.log", written[3].offset + 5)
        end = cut_log(folder, outcome.end, segment_bytes=4096)
        assert read(folder, segment_bytes=4096) == ([1, 2, 3], end, None)


def test_an_emptied_first_segment_is_damage(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        disk.close(make_segment(folder, 2, 4096).fd)
        content(disk, 1)[:] = bytes(4096)
        damage = read(folder).damage
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000001.log", 0)
        assert "the segment has no head" in damage.reason


@pytest.mark.parametrize("call", ["size_of", "open", "written", "read"])
def test_a_file_that_can_not_be_read_is_named(disk: FaultyDisk, call: str) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        disk.faults.append(Fault(call, disk.calls[call] + 1))
        with pytest.raises(JournalError, match=r"^/journal/00000001\.log: it can't be read: Input/output error$"):
            read(folder)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_file_that_is_not_regular_is_named_and_not_waited_for(tmp_path: Path, make: Callable[[Path], None]) -> None:
    with JournalFolder.open(tmp_path / "journal") as folder:
        make(folder.segment_path(1))
        with pytest.raises(JournalError, match=r"00000001\.log: it can't be read: it is no regular file$"):
            read(folder)


def test_a_damaged_head_is_no_torn_one(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        write_segment(folder, 2, range(4, 6))
        content(disk, 2)[5] ^= 1
        damage = read(folder).damage
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000002.log", 0)
        assert damage.reason.startswith("the head of the segment can't be read")


@pytest.mark.parametrize("missing", [True, False])
def test_the_segment_of_a_snapshot_must_be_there_and_can_be_replaced(disk: FaultyDisk, missing: bool) -> None:
    with opened(disk) as folder:
        write_segment(folder, 3, range(7, 9))
        write_segment(folder, 4, range(9, 11))
        if missing:
            del disk.names_now["00000003.log"]
        else:
            content(disk, 3)[:32] = bytes(32)
        lsns, end, damage = read(folder, first=3)
        assert lsns == []
        assert damage is not None
        assert (damage.file, damage.offset) == ("/journal/00000003.log", 0)
        end = cut_log(folder, end, segment_bytes=4096)
        assert folder.segments() == [3]
        assert read(folder, first=3) == ([], end, None)


# -- tails


def test_a_torn_tail_is_cut_and_zeroed(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        written = write_segment(folder, 1, range(1, 8))
        torn = written[-1]
        content(disk, 1)[torn.offset + torn.length - 1] ^= 1
        outcome = read(folder)
        assert (outcome.damage, outcome.end.torn_bytes, outcome.end.offset) == (None, torn.length, torn.offset)
        end = cut_log(folder, outcome.end)
        assert read(folder) == ([*range(1, 7)], end, None)
        assert not any(content(disk, 1)[torn.offset :])
    later = disk.after_crash()
    with opened(later) as folder:
        assert read(folder) == ([*range(1, 7)], end, None)


def test_pages_that_landed_in_any_order_after_the_last_sync_are_a_torn_tail(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 5), synced_every=4)
        write_segment(folder, 2, range(5, 9), synced_every=4)
        write_segment(folder, 3, range(9, 13), synced_every=100)
        content(disk, 2)[40] ^= 1
        lsns, end, damage = read(folder)
        assert (lsns, damage) == ([1, 2, 3, 4], None)
        assert (end.segment, end.kept, end.dropped) == (2, (1, 2), (3,))
        cut_log(folder, end)
        assert folder.segments() == [1, 2]


def test_the_spare_segment_is_kept(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        disk.close(make_segment(folder, 2, 4096).fd)
        end = read(folder).end
        assert (end.segment, end.spare, end.dropped) == (1, 2, ())
        assert cut_log(folder, end).spare == 2
        assert folder.segments() == [1, 2]


def test_a_log_with_a_spare_alone_is_empty(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        disk.close(make_segment(folder, 1, 4096).fd)
        end = read(folder).end
        assert (end.segment, end.spare, end.lsn) == (0, 1, 1)


def test_stale_frames_do_not_count(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        old = write_segment(folder, 1, range(1, 20), salt=1)
        stale = bytes(content(disk, 1))
        written = write_segment(folder, 2, range(1, 4), salt=2)
        disk.names_now["00000001.log"] = disk.names_now.pop("00000002.log")
        data = content(disk, 1)
        assert old[3].offset == written[-1].offset + written[-1].length
        data[:32] = SegmentHead(1, 1, 2).encode()
        data[old[3].offset :] = stale[old[3].offset :]
        lsns, end, damage = read(folder)
        assert (lsns, damage) == ([1, 2, 3], None)
        assert end.torn_bytes > 0
        data[: old[3].offset] = stale[: old[3].offset]
        assert read(folder).lsns == [*range(1, 20)], "with their own salt they do"


def test_a_frame_with_the_lsn_of_another_is_not_read(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        segment = make_segment(folder, 1, 4096)
        disk.write(segment.fd, SegmentHead(1, 1, 7).encode(), 0)
        first = encode_frame(body(1), lsn=1, synced=1, salt=7)
        disk.write(segment.fd, first + first, SEGMENT_HEAD_BYTES)
        disk.close(segment.fd)
        assert read(folder)[::2] == ([1], None)


# -- snapshots


def test_reading_goes_on_from_a_snapshot(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        write_segment(folder, 2, range(4, 6))
        write_segment(folder, 3, range(6, 9))
        for name in ("00000001.snap", "00000002.snap", "00000003.log.tmp"):
            disk.close(disk.create(folder.path / name))
        lsns, end, damage = read(folder, first=2)
        assert (lsns, damage, end.first) == ([4, 5, 6, 7, 8], None, 2)
        cut_log(folder, end)
        assert (folder.segments(), folder.snapshots()) == ([2, 3], [2])
        assert "00000003.log.tmp" not in disk.names_now


def test_a_segment_begun_anew_counts_only_with_its_snapshot(disk: FaultyDisk) -> None:
    with opened(disk) as folder:
        write_segment(folder, 1, range(1, 4))
        write_segment(folder, 2, range(30, 33), anew=True)
        write_segment(folder, 3, range(33, 35))
        assert read(folder, first=2)[::2] == ([30, 31, 32, 33, 34], None)
        lsns, end, damage = read(folder)
        assert (lsns, damage, end.dropped) == ([1, 2, 3], None, (2, 3))
        cut_log(folder, end)
        assert folder.segments() == [1]
