"""The section `otel` of the settings: spans of OpenTelemetry."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobqueue.config.section import Section


class OtelSettings(Section, frozen=True):
    """Spans of OpenTelemetry."""

    enabled: Annotated[
        bool,
        Meta(
            description="Makes a span of each attempt, linked to the `traceparent` of its submission; needs the extra "
            "`otel`, and a tracer provider in the process."
        ),
    ] = False
