"""The log: one line per event, in bounded memory, for any pipe and any fields."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from jobqueue import log as log_module
from jobqueue.log import EventMessage, LogWriter, configure, event_logger
from jobqueue.sampling import Samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = event_logger("jobqueue.test")


class Pipe:
    """A pipe that is read only on demand."""

    def __init__(self) -> None:
        self.read_fd, self.write_fd = os.pipe()
        fcntl.fcntl(self.write_fd, fcntl.F_SETPIPE_SZ, 4096)
        self.writer: LogWriter | None = None

    def configure(self, level: str = "info", format: str = "json") -> LogWriter:
        root = logging.getLogger()
        for handler in list(root.handlers):  # those of pytest, added for each test, raise at unprintable records
            root.removeHandler(handler)
        self.writer = configure(SimpleNamespace(level=level, format=format), fd=self.write_fd)
        return self.writer

    def read_in_background(self) -> Callable[[], str]:
        chunks: list[bytes] = []

        def read() -> None:
            while chunk := os.read(self.read_fd, 65536):
                chunks.append(chunk)

        thread = threading.Thread(target=read)
        thread.start()

        def text() -> str:
            assert self.writer is not None
            self.writer.close(10)
            os.close(self.write_fd)
            thread.join(10)
            self.write_fd = -1
            return b"".join(chunks).decode()

        return text

    def finish(self) -> list[dict[str, object]]:
        """Close the log, and return every line as a dict."""
        return [json.loads(line) for line in self.read_in_background()().splitlines()]


@pytest.fixture(autouse=True)
def _fresh_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "_samples", Samples())


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    if pipe.read_fd >= 0:
        os.close(pipe.read_fd)  # frees a thread that is stuck in a write
    if pipe.writer is not None:
        pipe.writer.close(10)  # otherwise it writes to the next file with this descriptor
    if pipe.write_fd >= 0:
        os.close(pipe.write_fd)


def test_an_event_is_one_line_of_json(pipe: Pipe) -> None:
    pipe.configure()
    log.warning("worker.crashed", job_id="a\nb", attempt=2, tags=["x"])
    (line,) = pipe.finish()
    assert line.pop("time").endswith("Z")  # type: ignore[attr-defined]  # a string
    assert line == {
        "level": "warning",
        "event": "worker.crashed",
        "logger": "jobqueue.test",
        "job_id": "a\nb",
        "attempt": 2,
        "tags": ["x"],
    }


def test_events_below_the_level_are_not_written(pipe: Pipe) -> None:
    pipe.configure(level="warning")
    log.info("quiet")
    log.debug("quieter")
    log.error("loud")
    assert [line["event"] for line in pipe.finish()] == ["loud"]


def test_the_level_can_change_at_run_time(pipe: Pipe) -> None:
    level = logging.getLogger().level
    writer = pipe.configure(level="warning")
    log.info("quiet")
    writer.set_level("debug")
    log.debug("no longer quiet")
    assert [line["event"] for line in pipe.finish()] == ["no longer quiet"]
    assert logging.getLogger().level == level


def test_text_format_quotes_fields_and_prevents_forged_lines(pipe: Pipe) -> None:
    pipe.configure(format="text")
    text = pipe.read_in_background()
    log.info("job.failed", code="handler_error", message="two words", stack="one\n\x1b[2Jtwo\n2026 INFO forged")
    head, *rest = text().splitlines()
    assert head.endswith(' INFO job.failed code=handler_error message="two words"')
    assert rest == ["    one", "    \\u001b[2Jtwo", "    2026 INFO forged"]


UNSEEN = "\x7f\x85\x9b\u061c\u200b\u200e\u2028\u2029\u202e\u2066\ufeff\U000e0041"


@pytest.mark.parametrize("message", [f"a{UNSEEN}b", f"two\nlines, a{UNSEEN}b"], ids=["one-line", "several-lines"])
@pytest.mark.parametrize("format", ["json", "text"])
def test_invisible_characters_are_escaped_in_every_format(pipe: Pipe, message: str, format: str) -> None:
    pipe.configure(format=format)
    text = pipe.read_in_background()
    log.warning("job.failed", message=message)
    try:
        raise ValueError(message)
    except ValueError as failure:
        log.error("job.failed", exc=failure)
    logging.getLogger("other").warning(message)
    written = text()
    assert not [char for char in written if char != "\n" and not char.isprintable()]
    assert "\\u007f\\u0085\\u009b" in written
    assert "\\u202e\\u2066\\ufeff\\udb40\\udc41" in written
    if format == "json":
        assert [json.loads(line).get("message") for line in written.splitlines()] == [message, None, message]


def test_an_event_shown_by_another_handler_is_escaped(caplog: pytest.LogCaptureFixture) -> None:
    log.warning("job.failed", message="\u202egnp.exe")
    assert caplog.messages == ['job.failed message="\\u202egnp.exe"']


@pytest.mark.parametrize(
    ("environment", "head"),
    [
        ({}, "\x1b[2m{time}\x1b[0m \x1b[33mWARNING\x1b[0m \x1b[1mjob.failed\x1b[0m"),
        ({"NO_COLOR": "1"}, "{time} WARNING job.failed"),
        ({"TERM": "dumb"}, "{time} WARNING job.failed"),
    ],
)
def test_auto_format_is_text_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], head: str
) -> None:
    for name, value in ({"NO_COLOR": "", "TERM": "xterm", "TZ": "XXX-5:30"} | environment).items():
        monkeypatch.setenv(name, value)
    time.tzset()
    terminal, inside = os.openpty()
    writer = configure(SimpleNamespace(level="info", format="auto"), fd=inside)
    try:
        record = logging.LogRecord("x", logging.WARNING, "", 0, EventMessage("job.failed", {}), (), None)
        record.created = 86400.0  # midnight in UTC, half past five in the zone
        record.msg = EventMessage("job.failed", {"code": "handler_error", "traceback": "Traceback:\n  oh\x1b[2J\n"})
        writer.handle(record)
        writer.say("a sentence")
        writer.close(10)
        assert writer.on_terminal
        first, *rest = os.read(terminal, 4096).decode().splitlines()
        assert first == head.format(time="05:30:00") + " code=handler_error"
        assert rest == ["    Traceback:", "      oh\\u001b[2J", "a sentence"]
    finally:
        writer.close(10)
        os.close(terminal)
        os.close(inside)
        monkeypatch.undo()
        time.tzset()


def test_auto_format_is_json_without_a_terminal(pipe: Pipe) -> None:
    writer = pipe.configure(format="auto")
    log.info("started")
    assert [line["event"] for line in pipe.finish()] == ["started"]
    assert not writer.on_terminal


def test_a_field_with_a_reserved_name_is_renamed(pipe: Pipe) -> None:
    pipe.configure()
    log.info("started", level="field", event="field")
    (line,) = pipe.finish()
    assert (line["level"], line["event"]) == ("info", "started")
    assert (line["level_"], line["event_"]) == ("field", "field")


def test_an_exception_is_logged_with_its_traceback(pipe: Pipe) -> None:
    pipe.configure()
    try:
        raise ValueError("broken")
    except ValueError as failure:
        log.error("job.failed", exc=failure)
    (line,) = pipe.finish()
    assert "ValueError: broken" in str(line["traceback"])


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("value", [2**70, "\ud800", {3: 4}, {("a",): 1}, object(), b"\xff", float("nan"), threading])
@pytest.mark.parametrize("format", ["json", "text"])
def test_any_value_of_a_field_is_logged_in_one_line(pipe: Pipe, value: object, format: str) -> None:
    pipe.configure(format=format)
    text = pipe.read_in_background()
    log.info("odd", value=value)
    (line,) = text().splitlines()
    assert "odd" in line
    assert "log.unprintable" not in line


@pytest.mark.parametrize("format", ["json", "text"])
def test_an_unprintable_field_is_reported_and_raises_no_error(pipe: Pipe, format: str) -> None:
    pipe.configure(format=format)
    text = pipe.read_in_background()
    log.info("odd", value=Unprintable())
    (line,) = text().splitlines()
    assert "log.unprintable" in line
    assert "odd" in line


@pytest.mark.parametrize("format", ["json", "text"])
@pytest.mark.parametrize("name", ["__traceback__", "__cause__", "__context__", "__str__"])
def test_an_unreadable_exception_is_logged_without_an_error(pipe: Pipe, format: str, name: str) -> None:
    def leave(self: BaseException) -> object:
        raise SystemExit(3)

    kind = type("Unreadable", (Exception,), {name: leave if name == "__str__" else property(leave)})
    pipe.configure(format=format)
    text = pipe.read_in_background()
    log.error("odd", exc=kind())
    assert "odd" in text().splitlines()[0]


def test_records_of_other_libraries_have_the_same_format(pipe: Pipe) -> None:
    pipe.configure()
    logging.getLogger("library").warning("%s of %s", 1, 2)
    logging.getLogger("library").warning("%s of %s", 1)  # an invalid call must neither write to stderr nor raise
    first, second = pipe.finish()
    assert (first["event"], first["logger"], first["message"]) == ("log", "library", "1 of 2")
    assert second["event"] == "log.unprintable"


def test_events_are_ordinary_log_records_without_configure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log.info("drain.lost", delayed=0, note="two words")
    assert [record.getMessage() for record in caplog.records] == ['drain.lost delayed=0 note="two words"']


def test_a_full_pipe_does_not_block_logging_and_dropped_lines_are_reported(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "BUFFER_BYTES_MAX", 100_000)
    writer = pipe.configure()
    done = threading.Event()

    def flood() -> None:
        for number in range(10_000):
            log.info("flood", number=number)
        done.set()

    threading.Thread(target=flood, daemon=True).start()
    assert done.wait(20), "logging waited for a full pipe"
    assert writer.dropped > 5_000

    lines = pipe.finish()
    written = [int(str(line["number"])) for line in lines if line["event"] == "flood"]
    dropped = sum(int(str(line["count"])) for line in lines if line["event"] == "log.dropped")
    assert written == sorted(written)
    assert dropped == writer.dropped
    assert len(written) + dropped == 10_000


def test_written_lines_free_the_buffer(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "BUFFER_BYTES_MAX", 500)
    writer = pipe.configure()
    for number in range(100):
        log.info("steady", number=number)
        assert json.loads(os.read(pipe.read_fd, 4096))["number"] == number
    assert writer.dropped == 0


def test_close_waits_at_most_its_timeout_for_a_full_pipe(pipe: Pipe) -> None:
    writer = pipe.configure()
    for number in range(1_000):
        log.info("flood", number=number)
    began = time.perf_counter()
    writer.close(0.05)
    assert time.perf_counter() - began < 10  # without the timeout it would wait forever


def test_a_closed_pipe_does_not_block_logging(pipe: Pipe) -> None:
    writer = pipe.configure()
    os.close(pipe.read_fd)
    pipe.read_fd = -1
    for number in range(100):
        log.info("flood", number=number)
    writer.close(10)
    assert writer.dropped == 100


def test_a_full_non_blocking_pipe_loses_no_line(pipe: Pipe) -> None:
    os.set_blocking(pipe.write_fd, False)
    pipe.configure()
    for number in range(1_000):
        log.info("flood", number=number)
    assert len(pipe.finish()) == 1_000


def test_close_restores_the_root_logger(pipe: Pipe) -> None:
    root = logging.getLogger()
    level = root.level
    writer = pipe.configure(level="debug")
    assert (root.level, root.handlers) == (logging.DEBUG, [writer])
    writer.close()
    writer.close()
    assert (root.level, root.handlers) == (level, [])


def test_a_sampled_event_is_one_line_per_period_with_correct_counts(pipe: Pipe) -> None:
    pipe.configure()
    for number in range(1_000):
        log.sampled("refused", every_s=3600.0, reason="queue-full", number=number)
    first, last = pipe.finish()
    assert (first["event"], first["count"], first["number"]) == ("refused", 1, 0)
    assert (last["event"], last["count"], last["number"]) == ("refused", 999, 999)


def test_the_rest_of_a_burst_is_logged_at_the_end_of_its_period(pipe: Pipe) -> None:
    pipe.configure()
    counts = []
    for burst in (1, 4):  # the second burst begins after the line of the first, with an idle writer
        for _ in range(burst):
            log.sampled("burst", every_s=0.05)
        counts.append(json.loads(os.read(pipe.read_fd, 4096))["count"])
    assert counts == [1, 4]


def test_an_event_message_shows_its_traceback_in_lines() -> None:
    message = str(EventMessage("job.failed", {"code": "handler_error", "traceback": "Traceback:\n  oh\x1b[2J\n"}))
    assert message.splitlines() == ["job.failed code=handler_error", "    Traceback:", "      oh\\u001b[2J"]


def test_an_event_message_shows_lists_and_dicts_as_plain_text() -> None:
    message = str(EventMessage("config.reloaded", {"changed": {"a.b": "1 -> 5", "c": "on"}, "settings": ["d", "e"]}))
    assert message == 'config.reloaded changed="a.b: 1 -> 5, c: on" settings="d, e"'
