"""The ring of the latest log lines: in JSON, bounded, whatever is logged."""

from __future__ import annotations

import json
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import log as log_module
from jobqueue.log import event_logger
from jobqueue.log_ring import BYTES_MAX, LINE_BYTES_MAX, LINES_MAX, LogRing
from jobqueue.sampling import Samples
from tests.test_log import Pipe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.log import LogWriter

    Configure = Callable[..., LogWriter]

log = event_logger("jobqueue.test")


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LogWriter]]:
    """Begin a log, without the counts of earlier tests; pytest, which adds its handlers after this, can't log all."""
    monkeypatch.setattr(log_module, "_samples", Samples())
    pipe = Pipe()
    texts: list[Callable[[], str]] = []

    def configure(format: str = "json") -> LogWriter:
        writer = pipe.configure(format=format)
        texts.append(pipe.read_in_background())
        return writer

    yield configure
    for text in texts:
        text()
    os.close(pipe.read_fd)


def lines(writer: LogWriter) -> list[dict[str, Any]]:
    return [json.loads(line.json) for line in writer.ring.lines()]


@pytest.mark.parametrize("form", ["json", "text"])
def test_the_ring_has_the_lines_in_json_in_each_form_of_the_log(configure: Configure, form: str) -> None:
    writer = configure(form)
    log.debug("not.logged")
    log.warning("disk.full", free_bytes=3)
    logging.getLogger("other").error("a text")

    first, second = lines(writer)

    assert (first["event"], first["level"], first["free_bytes"]) == ("disk.full", "warning", 3)
    assert (second["event"], second["logger"], second["message"]) == ("log", "other", "a text")
    assert [(line.level, line.event) for line in writer.ring.lines()] == [(30, "disk.full"), (40, "log")]


def test_a_long_line_is_kept_with_the_ends_of_its_texts(configure: Configure) -> None:
    writer = configure()
    log.info("job.failed", job_id="a", traceback="begin" + "x" * 100_000 + "the end", count=7)

    (line,) = lines(writer)

    assert (line["event"], line["job_id"], line["count"], line["cut"]) == ("job.failed", "a", 7, ["traceback"])
    assert line["traceback"].startswith("begin")
    assert line["traceback"].endswith("the end")
    assert len(line["traceback"]) < 2100


@pytest.mark.parametrize(
    "fields",
    [
        {f"name{number}": "\x07" * 50_000 for number in range(100)},
        {"x" * 100_000: "y", "nested": {"a": ["b" * 1_000_000]}},
        {"huge": 10**4000, "lone": "\ud800" * 20_000},
        {f"{number}" * 3000: number for number in range(5000)},
    ],
)
def test_a_hostile_line_takes_no_more_than_its_part(configure: Configure, fields: dict[str, object]) -> None:
    writer = configure()
    logging.getLogger("l" * 50_000).info("%s", "m" * 500_000)
    log.info("hostile.fields", **fields)

    assert [line.event for line in writer.ring.lines()] == ["log", "hostile.fields"]
    assert all(len(line.json) <= LINE_BYTES_MAX for line in writer.ring.lines())
    assert all(line["cut"] for line in lines(writer))


def test_a_field_that_can_be_asked_once_only_leaves_no_line_and_no_error(configure: Configure) -> None:
    writer = configure()

    class Once:
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            if self.asked == 2:
                raise RuntimeError("asked again")
            return "x" * 100_000

    log.info("field.strange", field=Once())

    assert writer.ring.lines() == []


def test_the_ring_keeps_the_latest_lines_within_its_bounds() -> None:
    ring = LogRing()
    for number in range(2 * LINES_MAX):
        ring.add(20, f"event.{number}", b"x" * 10)
    assert [line.event for line in ring.lines()] == [f"event.{number}" for number in range(LINES_MAX, 2 * LINES_MAX)]
    assert ring.bytes_used == 10 * LINES_MAX
    for number in range(200):
        ring.add(20, f"long.{number}", b"x" * LINE_BYTES_MAX)
        assert ring.bytes_used == sum(len(line.json) for line in ring.lines()) <= BYTES_MAX
    assert {line.event[:4] for line in ring.lines()} == {"long"}
    assert ring.lines()[-1].event == "long.199"


def test_a_renewed_ring_has_the_same_lines_in_other_objects_and_goes_on() -> None:
    ring = LogRing()
    for number in range(LINES_MAX):
        ring.add(logging.INFO, "event", b'{"number":%d}' % number)
    before, used = ring.lines(), ring.bytes_used
    ring.compact()
    assert ring.lines() == before
    assert all(now.json is not then.json for now, then in zip(ring.lines(), before, strict=True))
    assert ring.bytes_used == used
    ring.add(logging.INFO, "event", b"{}")
    assert len(ring.lines()) == LINES_MAX
    assert ring.lines()[0] == before[1]


def test_no_line_is_lost_while_the_ring_is_renewed(configure: Configure) -> None:
    writer = configure()

    def logs() -> None:
        for number in range(LINES_MAX):
            log.info("test.numbered", number=number)

    thread = threading.Thread(target=logs)
    thread.start()
    while thread.is_alive():
        writer.compact_ring()
    thread.join()
    assert [line["number"] for line in lines(writer)] == list(range(LINES_MAX))
