"""Failures in the log: sampled by kind, with one traceback of each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from jobqueue.http.response import problems
from tests.http.serving import CLOSE, Answer, FailingBackend, Serving, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


REST = b" HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Advances the clock of the failure log, which starts empty."""
    now = 1000.0

    def passes(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(problems, "_failures", {})
    monkeypatch.setattr(problems.time, "monotonic", lambda: now)
    return passes


def failures(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.getMessage().startswith("http.internal_error")]


async def test_failures_of_one_kind_are_sampled_in_the_log_with_one_traceback(
    start: Callable[..., Awaitable[Serving]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    clock: Callable[[float], None],
) -> None:
    serving = await start(limits={"long_polls_max": 0})
    broken = FailingBackend(serving.service.backend, RuntimeError("broken"), "find", "get")
    monkeypatch.setattr(serving.service, "local", broken)
    monkeypatch.setattr(type(serving.service), "backend", broken)
    look, stock = f"GET /v1/jobs/{'0' * 22}".encode() + REST, b"GET /v1/jobs/x" + REST
    async with serving.connect() as (reader, writer):
        for request in (look, stock):
            for _ in range(100):
                writer.write(request)
                assert (await read_answer(reader)).status == 500
    records = failures(caplog)
    assert [record.levelname for record in records].count("ERROR") == 1, "one traceback for both paths"
    assert len(records) == 2
    assert "count=1" in records[1].getMessage()
    assert "RuntimeError" in records[1].getMessage()
    assert records[1].exc_info is None
    clock(60.0)
    Answer(await serving.talk(stock.replace(b"h\r\n", f"h\r\n{CLOSE}\r\n".encode(), 1)))
    assert [record.levelname for record in failures(caplog)].count("ERROR") == 2


def test_each_kind_of_failure_is_logged_and_the_table_of_kinds_is_bounded(
    caplog: pytest.LogCaptureFixture, clock: Callable[[float], None]
) -> None:
    for error in (ValueError("a"), TypeError("b"), ValueError("c")):
        problems.refuse(error)
    assert [record.levelname for record in failures(caplog)] == ["ERROR", "ERROR", "WARNING"]
    for number in range(3 * problems.FAILURES_MAX):
        problems.refuse(type(f"Error{number}", (Exception,), {})())
    assert len(problems._failures) <= problems.FAILURES_MAX + 1
