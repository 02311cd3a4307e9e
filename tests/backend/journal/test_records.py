from __future__ import annotations

import msgspec
import pytest

from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.records import FIELDS, BadRecord, decode, describe
from tests.backend.journal.world import OFFSET_S, World, spec_of


def encoded(*records: object) -> bytes:
    return msgspec.msgpack.encode(list(records))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not msgpack"),
        (b"\xc1", "not msgpack"),
        (encoded([1]) + b"x", "not msgpack"),
        (msgspec.msgpack.encode({"a": 1}), "not an array"),
    ],
)
def test_a_body_of_another_program_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(BadRecord, match=reason):
        decode(body)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ([99, "x"], "no kind of record 99"),
        (["submit"], "no kind of record 'submit'"),
        ([-1, "x"], "no kind of record -1"),
        ([], "no kind of record None"),
        (7, "no kind of record None"),
        ([2, "id"], r"record 1 \(submit\): IndexError"),
        ([2, "id", 7, b"{}", 1], "KeyError: 7"),
        ([2, 5, 0, b"{}", 1], "TypeError"),
        ([2, "id", ["t"], b"{}", 1], "ValueError"),
    ],
)
def test_a_record_that_is_none_is_named_by_its_number(record: list[object], reason: str) -> None:
    image = Image(spec_of, offset_s=OFFSET_S)
    with pytest.raises(BadRecord, match=reason):
        image.apply(encoded([0, 1, "", False, []], record))


def test_records_are_described_by_names() -> None:
    assert describe([4, "an id", 3, 1000]) == {"kind": "back_off", "id": "an id", "version": 3, "run_at": 1000}
    with pytest.raises(BadRecord, match="no kind of record 99"):
        describe([99])


def test_every_record_of_random_lives_is_described_in_full() -> None:
    for seed in range(5):
        world = World(seed)
        for _ in range(100):
            world.step()
        for record in (record for body in (*world.snapshot, *world.log) for record in decode(body)):
            described = describe(record)
            names = FIELDS[record[0]]
            assert described["kind"] == names[0]
            assert list(described)[1:] == list(names[1 : len(record)])
            if record[0] == 2:
                spec = described["spec"]
                assert spec["type"] in ("plain", "limited", "pooled") if isinstance(spec, dict) else spec < 3
