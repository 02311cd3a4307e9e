"""Spans of attempts, by the SDK of OpenTelemetry."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry is not installed (the extra otel)")

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from jobqueue import JobQueue, Retry
from jobqueue.config import OtelSettings, Settings
from jobqueue.errors import ConfigError
from jobqueue.handlers import Submission
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The spans of the process: its provider can be set once only."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


def traced_queue() -> JobQueue:
    queue = JobQueue(Settings(otel=OtelSettings(enabled=True)))

    @queue.handler(attempts_max=2)
    async def flaky() -> None:
        raise Retry(1.0)

    @queue.handler
    async def trace_id() -> str:
        return f"{trace.get_current_span().get_span_context().trace_id:032x}"

    return queue


def spans_of(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    spans = list(exporter.get_finished_spans())
    exporter.clear()
    return spans


@virtual_time
async def test_each_attempt_is_a_span_with_its_job_and_outcome(exporter: InMemorySpanExporter) -> None:
    async with traced_queue() as queue:
        handle = await queue.submit("flaky")
        await handle.wait()
    first, second = spans_of(exporter)
    assert first.name == "process flaky"
    assert first.attributes is not None
    assert second.attributes is not None
    assert (first.attributes["messaging.message.id"], first.attributes["jobqueue.attempt"]) == (handle.id, 1)
    assert (second.attributes["jobqueue.attempt"], second.attributes["error.type"]) == (2, "handler_error")
    assert not second.status.is_ok
    assert not first.links


@virtual_time
async def test_a_span_is_linked_to_that_of_the_submission(exporter: InMemorySpanExporter) -> None:
    async with traced_queue() as queue:
        submission = Submission(type="trace_id")
        submitted = await queue.service.accept(submission, traceparent=VALID)
        await queue.service.backend.wait(submitted.job.id)
        job = await queue.service.backend.get(submitted.job.id)
    (span,) = spans_of(exporter)
    (link,) = span.links
    assert f"{link.context.trace_id:032x}-{link.context.span_id:016x}" == VALID[3:52]
    assert span.context is not None
    assert job.result == f'"{span.context.trace_id:032x}"'.encode(), "it is current in the handler"


@virtual_time
async def test_without_the_extra_the_start_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.trace.propagation.tracecontext", None)
    with pytest.raises(
        ConfigError, match=r"otel\.enabled needs opentelemetry.*pip install 'ephemeral-jobqueue\[otel\]'"
    ):
        await traced_queue().start()


def test_a_queue_without_spans_imports_nothing_of_opentelemetry() -> None:
    script = "import sys, jobqueue.server, jobqueue.app; sys.exit(any('opentelemetry' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
