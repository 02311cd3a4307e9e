"""What gathers for a frame is encoded many records at a time, and joined."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.backend.journal import gathered as gathered_module
from jobqueue.backend.journal.gathered import UNMEASURED, Gathered
from jobqueue.backend.journal.records import body_of, joined, parted
from tests.backend.journal.writing import replaces_parts

if TYPE_CHECKING:
    from jobqueue.backend.journal.records import Body

COUNTS = [0, 1, 14, 15, 16, 300, 65_534, 65_535, 65_536, 70_000]


def numbered(count: int, first: int = 0) -> list[Any]:
    return [[number % 100] for number in range(first, first + count)]


def decoded(body: Body) -> list[Any]:
    """Return the records of a body, and check their number."""
    records: list[Any] = msgspec.msgpack.decode(body.data)
    assert body.records == len(records)
    return records


@pytest.mark.parametrize("count", COUNTS)
def test_a_body_is_a_msgpack_array_of_its_records(count: int) -> None:
    assert decoded(body_of(numbered(count))) == numbered(count)


@pytest.mark.parametrize("first", COUNTS[1:])
def test_joined_bodies_are_the_body_of_all_their_records(first: int) -> None:
    bodies = [body_of(numbered(first)), body_of(numbered(1, first)), body_of(numbered(20, first + 1))]
    assert joined(bodies, 10**9) == [body_of(numbered(first + 21))]


def test_records_are_parted_where_a_body_has_grown_to_its_size() -> None:
    bodies = parted(numbered(50), 40)
    assert [body.records for body in bodies] == [20, 20, 10]
    assert [record for body in bodies for record in decoded(body)] == numbered(50)


def test_a_record_alone_may_be_greater_than_a_body() -> None:
    assert [body.records for body in parted([[1], ["x" * 100], [2]], 40)] == [2, 1]


def test_gathered_records_are_counted_and_measured_once_they_are_many() -> None:
    gathered = Gathered()
    for number in range(UNMEASURED):
        gathered.append_small([number % 100])
        gathered.end_iteration()
    assert (len(gathered), gathered.size_bytes, gathered.records) == (UNMEASURED, 0, [])
    gathered.append_small([1])
    gathered.records.append([2])
    assert (len(gathered), gathered.size_bytes) == (UNMEASURED + 2, 0)
    gathered.end_iteration()
    assert (len(gathered), gathered.size_bytes, gathered.records) == (UNMEASURED + 2, 3 + 2 * (UNMEASURED + 2), [])
    gathered.append_small([3])
    gathered.end_iteration()
    gathered.append_small([4])
    assert len(gathered) == UNMEASURED + 4
    (body,) = gathered.take()
    assert decoded(body) == [*numbered(UNMEASURED), [1], [2], [3], [4]]
    assert (len(gathered), gathered.size_bytes, gathered.take()) == (0, 0, [])


def test_one_record_that_may_be_great_has_all_measured_at_the_end_of_its_iteration() -> None:
    gathered = Gathered()
    gathered.append_small([1])
    gathered.end_iteration()
    gathered.append(["x" * 100])
    gathered.append_small([2])
    assert (len(gathered), gathered.size_bytes) == (3, 0)
    gathered.end_iteration()
    assert (len(gathered), gathered.size_bytes) == (3, 1 + 2 + 103 + 2)
    gathered.append_small([3])
    gathered.end_iteration()
    assert (len(gathered), gathered.size_bytes) == (4, 108), "that holds for one iteration"
    gathered.append([4])
    gathered.clear()
    gathered.append_small([5])
    gathered.end_iteration()
    assert (len(gathered), gathered.size_bytes) == (1, 0), "what was cleared isn't measured"


@replaces_parts
def test_more_than_a_frame_becomes_several_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_module, "FRAME_BYTES", 40)
    monkeypatch.setattr(gathered_module, "UNMEASURED", 30)
    gathered = Gathered()
    taken: list[Any] = []
    for _ in range(5):
        for record in numbered(25):
            gathered.append_small(record)
        gathered.end_iteration()
    bodies = gathered.take()
    assert len(bodies) > 3
    for body in bodies:
        assert len(body.data) <= 2 * 40
        taken += decoded(body)
    assert taken == 5 * numbered(25)


def test_records_that_can_not_be_encoded_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathered_module, "UNMEASURED", 0)
    gathered = Gathered()
    gathered.append([object()])
    for call in (gathered.end_iteration, gathered.take):
        with pytest.raises(TypeError):
            call()
        assert len(gathered) == 1
    gathered.clear()
    assert (len(gathered), gathered.take()) == (0, [])
