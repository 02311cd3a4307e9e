"""Parsing of the Prefer header by RFC 7240. No socket, no loop."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from jobqueue.http.request.prefer import WAIT_S_MAX, preferred_wait_s


def preferred(*lines: str) -> int | None:
    return preferred_wait_s(CIMultiDictProxy(CIMultiDict([("Prefer", line) for line in lines])))


@pytest.mark.parametrize(
    ("lines", "wait_s"),
    [
        (["wait=10"], 10),
        (["wait=0"], 0),
        (["wait = 10"], 10),
        (["Wait=10"], 10),
        (["wait=007"], 7),
        (["  wait=10  "], 10),
        (["respond-async, wait=10"], 10),
        (["respond-async,wait=10,handling=lenient"], 10),
        (["wait=10; x=y; z"], 10),
        (['foo="a, wait=3"; bar, wait=10'], 10),
        (['foo="a\\", wait=3", wait=10'], 10),
        (["respond-async", "wait=10"], 10),
        ([",, wait=10,"], 10),
        (["foo==, wait=10"], 10),
        (["wait=1000000000"], WAIT_S_MAX),
        (["wait=" + "9" * 6000], WAIT_S_MAX),
    ],
)
def test_a_wait_in_seconds_is_found_at_any_position(lines: list[str], wait_s: int) -> None:
    assert preferred(*lines) == wait_s


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [""],
        ["wait"],
        ["wait="],
        ['wait=""'],
        ["wait=-1"],
        ["wait=+1"],
        ["wait=abc"],
        ["wait=1.5"],
        ["wait=1e3"],
        ["wait=10s"],
        ["wait=1 0"],
        ["wait=0x10"],
        ["wait=٣"],
        ['wait="10"'],
        ["await=10"],
        ["wait-for=10"],
        ["foo; wait=10"],
        ['foo="x, wait=10'],
        ["wait;10"],
    ],
)
def test_an_invalid_wait_is_ignored(lines: list[str]) -> None:
    assert preferred(*lines) is None


@pytest.mark.parametrize("lines", [["wait=5, wait=9"], ["wait=5", "wait=9"], ["foo, wait=5; x", "bar, wait=9"]])
def test_the_first_of_several_waits_counts(lines: list[str]) -> None:
    assert preferred(*lines) == 5


def test_an_invalid_first_wait_hides_the_second() -> None:
    assert preferred("wait=abc, wait=9") is None


@given(st.lists(st.text(alphabet='wait=0159,;"\\ \tx', max_size=20), max_size=3))
def test_any_header_gives_a_bounded_number_or_none(lines: list[str]) -> None:
    wait_s = preferred(*lines)
    assert wait_s is None or 0 <= wait_s <= WAIT_S_MAX
