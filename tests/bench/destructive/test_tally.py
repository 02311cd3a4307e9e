"""The tally of a load."""

from __future__ import annotations

import msgspec
import pytest

from bench.destructive.tally import LISTED_MAX, Tally, percentile, total

REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n%b\r\n"


@pytest.mark.parametrize("name", [b"Retry-After", b"retry-after"])
def test_a_refusal_with_retry_after_is_not_bare(name: bytes) -> None:
    tally = Tally()
    tally.note_answer(b"503", REFUSED % (name + b": 2\r\n"))
    assert (tally.refused, tally.bare_refusals) == (1, 0)


@pytest.mark.parametrize("code", ["429", "503"])
def test_a_refusal_without_retry_after_is_bare(code: str) -> None:
    tally = Tally()
    tally.note_answer(code, REFUSED % b"")
    assert (tally.refused, tally.bare_refusals) == (1, 1)


def test_an_internal_error_is_quoted() -> None:
    tally = Tally()
    tally.note_answer(500, b"HTTP/1.1 500 Internal Server Error\r\n\r\nit broke")
    assert tally.errors[0].endswith("it broke")


def test_tallies_add_up() -> None:
    one = Tally(requests=1, answers={"202": 1}, accepted=1, ended={"failed": 1}, waits_ms=[1.0])
    two = Tally(requests=2, answers={"202": 1, "503": 1}, lost=["x"] * 30, lost_count=30, waits_ms=[2.0])
    whole = total([one, two])
    assert (whole.requests, whole.accepted, whole.lost_count) == (3, 1, 30)
    assert whole.answers == {"202": 2, "503": 1}
    assert len(whole.lost) == LISTED_MAX
    assert whole.waits_ms == [1.0, 2.0]
    assert one.answers == {"202": 1}, "the parts stay as they are"


def test_a_tally_is_printed_as_json_that_reads_back() -> None:
    tally = Tally(requests=3, notes={"a": 1.0})
    assert msgspec.json.decode(msgspec.json.encode(tally), type=Tally) == tally


def test_percentiles_of_nothing_are_none() -> None:
    assert percentile([], 0.99) is None
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([1.0] * 99 + [7.0], 0.99) == 7.0
