"""Tracing: a span of OpenTelemetry for each attempt, linked to the span within which its job was submitted.

The spans go to the tracer provider of the process, which the application sets, or `opentelemetry-instrument jobqueue
serve`. Without one they cost some microseconds and go nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core.report import Failure

if TYPE_CHECKING:
    from jobqueue.core.job import Lease
    from jobqueue.core.report import Success
    from jobqueue.runtime.executor import Runs


class TracedExecutor:
    """An executor that makes a span around each attempt; it is current in handlers on the loop and in threads."""

    def __init__(self, executor: Runs) -> None:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._executor = executor
        self._trace = trace
        self._tracer = trace.get_tracer("jobqueue")
        self._extract = TraceContextTextMapPropagator().extract

    async def run(self, lease: Lease) -> Success | Failure:
        """Run an attempt within its span."""
        trace, spec = self._trace, lease.spec
        attributes: dict[str, str | int] = {
            "messaging.system": "jobqueue",
            "messaging.operation.type": "process",
            "messaging.destination.name": spec.queue,
            "messaging.message.id": lease.job_id,
            "jobqueue.type": spec.type,
            "jobqueue.attempt": lease.attempt,
        }
        kind = trace.SpanKind.CONSUMER
        links = self._links(spec.traceparent)
        with self._tracer.start_as_current_span(
            f"process {spec.type}", kind=kind, attributes=attributes, links=links
        ) as span:
            outcome: Success | Failure = await self._executor.run(lease)
            if isinstance(outcome, Failure):
                span.set_attribute("error.type", outcome.code.value)
                span.set_status(trace.StatusCode.ERROR, outcome.message)
            return outcome

    def _links(self, traceparent: str | None) -> list[Any]:
        if traceparent is None:
            return []
        submitter = self._trace.get_current_span(self._extract({"traceparent": traceparent})).get_span_context()
        return [self._trace.Link(submitter)] if submitter.is_valid else []
