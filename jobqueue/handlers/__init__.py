"""Handlers: functions registered under job types, and the submissions of their jobs."""

from jobqueue.handlers.options import HANDLER_TIMEOUT_S, HandlerOptions, refuse_unknown, register
from jobqueue.handlers.registry import Handler, Registry, RunIn
from jobqueue.handlers.submission import (
    PlainSubmission,
    Seconds,
    Submission,
    UniqueSubmission,
    plain_uniqueness,
    submission_of,
    uniqueness_of,
)
from jobqueue.handlers.validation import ObjectCheck

__all__ = [
    "HANDLER_TIMEOUT_S",
    "Handler",
    "HandlerOptions",
    "ObjectCheck",
    "PlainSubmission",
    "Registry",
    "RunIn",
    "Seconds",
    "Submission",
    "UniqueSubmission",
    "plain_uniqueness",
    "refuse_unknown",
    "register",
    "submission_of",
    "uniqueness_of",
]
