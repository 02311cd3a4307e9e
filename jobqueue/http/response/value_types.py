"""Types of the values in documents: what a number or a text may be, for the description of the API."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from jobqueue.core.ids import ID_LENGTH
from jobqueue.core.job import JobId

Instant = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""An instant: RFC 3339, in UTC."""

Id = Annotated[JobId, Meta(pattern=f"^[A-Za-z0-9_-]{{{ID_LENGTH}}}$")]
"""The id of a job."""

Count = Annotated[int, Meta(ge=0)]
"""A number of things."""

Duration = Annotated[float, Meta(ge=0.0)]
"""A number of seconds."""

Status = Annotated[int, Meta(ge=200, le=599)]
"""A status code of HTTP."""
