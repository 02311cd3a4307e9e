from __future__ import annotations

import pytest

from jobqueue.backend.journal.frame import HEAD_BYTES, body_at, decode_head, encode_frame, is_whole, magics


def test_a_frame_has_the_documented_layout() -> None:
    frame = encode_frame(b"body", lsn=5, synced=4, salt=0x01020304)
    assert frame[:4] == b"\xf7JQ\x01"
    assert [int.from_bytes(frame[a:b], "little") for a, b in ((4, 8), (8, 16), (16, 24), (24, 28))] == [
        *(4, 5, 4, 0x01020304)
    ]
    assert frame[HEAD_BYTES:] == b"body"
    assert HEAD_BYTES == 32


def test_a_frame_is_decoded() -> None:
    frame = encode_frame(b"body", lsn=5, synced=4, salt=9)
    head = decode_head(b"xx" + frame, 2)
    assert head is not None
    assert (head.length, head.lsn, head.synced, head.salt) == (4, 5, 4, 9)
    assert is_whole(head, b"body")
    assert not is_whole(head, b"bodz")
    assert not is_whole(head, b"bod")
    assert not is_whole(head._replace(synced=3), b"body")


def test_the_body_of_a_whole_frame_is_found() -> None:
    frame = encode_frame(b"body", lsn=5, synced=4, salt=9)
    data = b"xx" + frame + b"yy"
    assert body_at(data, 2, lsn=5, salt=9) == b"body"
    assert body_at(data, 2, lsn=6, salt=9) is None
    assert body_at(data, 2, lsn=5, salt=8) is None
    assert body_at(data, 3, lsn=5, salt=9) is None
    assert body_at(encode_frame(b"", lsn=5, synced=6, salt=9), 0, lsn=5, salt=9) is None
    for cut in range(len(frame)):
        assert body_at(frame[:cut], 0, lsn=5, salt=9) is None
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit >> 3] ^= 1 << (bit & 7)
        assert body_at(bytes(flipped), 0, lsn=5, salt=9) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"\0" * 40, b"\xf7JQ\x01", encode_frame(b"", lsn=3, synced=4, salt=0)[:-1], b"\xf7JQ\x02" + b"\1" * 40],
)
def test_other_bytes_are_no_head(data: bytes) -> None:
    assert decode_head(data) is None


def test_a_frame_that_calls_itself_synced_is_none() -> None:
    assert decode_head(encode_frame(b"", lsn=3, synced=4, salt=0)) is None


def test_the_places_where_a_frame_may_begin_are_found() -> None:
    assert [*magics(b"a\xf7JQ\x01\xf7JQ\x01b\xf7JQ")] == [1, 5]
