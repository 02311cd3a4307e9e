"""The id of a job, or of a flow."""

from __future__ import annotations

from typing import NewType

JobId = NewType("JobId", str)
