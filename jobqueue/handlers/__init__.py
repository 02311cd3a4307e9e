"""Handlers: functions registered under job types, and the submissions of their jobs."""

from jobqueue.handlers.options import HANDLER_TIMEOUT_S, HandlerOptions, refuse_unknown, register
from jobqueue.handlers.registry import Handler, Registry, RunIn
from jobqueue.handlers.submission import (
    Seconds,
    Submission,
    UniqueSubmission,
    plain_uniqueness,
    submission_of,
    uniqueness_of,
)
from jobqueue.handlers.validation import field_of, object_faults

__all__ = [
    "HANDLER_TIMEOUT_S",
    "Handler",
    "HandlerOptions",
    "Registry",
    "RunIn",
    "Seconds",
    "Submission",
    "UniqueSubmission",
    "field_of",
    "object_faults",
    "plain_uniqueness",
    "refuse_unknown",
    "register",
    "submission_of",
    "uniqueness_of",
]
