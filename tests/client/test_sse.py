"""Parsing of server-sent events, as the HTML standard defines it."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.client import EventParser, sse
from jobqueue.client.sse import ServerSentEvent


def parsed(*chunks: bytes) -> list[tuple[str, str, str]]:
    parser = EventParser()
    return [(event.name, event.data, event.id) for chunk in chunks for event in parser.feed(chunk)]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        # The examples of the standard.
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            ": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [("message", "first event", "1"), ("message", "second event", ""), ("message", " third event", "")],
        ),
        ("data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        ("data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
        # Names, ids and lines.
        ("event: add\ndata: 1\n\ndata: 2\n\n", [("add", "1", ""), ("message", "2", "")]),
        ("id: 7\ndata: a\n\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "7")]),
        ("id: a\0b\ndata: x\n\n", [("message", "x", "")]),
        ("event: e\n\ndata: x\n\n", [("message", "x", "")]),
        ("\ufeffdata: x\n\n", [("message", "x", "")]),
        ("data: x\r\rdata: y\r\n\r\n", [("message", "x", ""), ("message", "y", "")]),
        ("data: a\u2028b\x0bc\n\n", [("message", "a\u2028b\x0bc", "")]),
        ("unknown: field\ndata: x\n\n", [("message", "x", "")]),
        ("data: cut off", []),
    ],
)
def test_events_are_parsed_as_the_html_standard_says(text: str, events: list[tuple[str, str, str]]) -> None:
    assert parsed(text.encode()) == events


@given(st.data())
def test_a_stream_parses_alike_however_it_is_split(data: st.DataObject) -> None:
    lines = st.lists(st.sampled_from(["data: é", "data", "id: 1", "id", "event: e", ": c", "", "", "retry: 5"]))
    ends = st.sampled_from(["\n", "\r", "\r\n"])
    whole = "".join(line + data.draw(ends) for line in data.draw(lines)).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]

    assert parsed(*pieces) == parsed(whole)


def test_the_parser_keeps_the_last_event_id_and_the_retry_time() -> None:
    parser = EventParser("from before")
    assert parser.last_id == "from before"
    parser.feed(b"retry: 1500\nid: 9\n\nretry: soon\nid: 10\ndata: not yet")
    assert (parser.last_id, parser.retry_s) == ("9", 1.5)
    assert parser.feed(b"\n\n") == [ServerSentEvent("message", "not yet", "10")]


def test_invalid_utf_8_is_replaced() -> None:
    assert parsed(b"data: \xff\n\n") == [("message", "\ufffd", "")]


def test_an_event_over_the_size_limit_raises_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_BYTES_MAX", 1000)
    parser = EventParser()
    for _ in range(50):  # many small events are below the limit
        parser.feed(b"data: " + b"x" * 100 + b"\n\n: beat\n\n")
    for _ in range(9):
        parser.feed(b"data: " + b"x" * 100 + b"\n")
    with pytest.raises(ValueError, match="an event of more than 1000 bytes"):
        parser.feed(b"x" * 100)


def test_appending_to_a_long_line_copies_no_earlier_bytes() -> None:
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 1_000_000)
    tracemalloc.start()
    try:
        parser.feed(b"x")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 10_000
    assert parser.feed(b"\n\n") == [ServerSentEvent("message", "x" * 1_000_001, "")]
