"""Handlers: the functions that do jobs' work, registered under their types, and the submissions of their jobs."""

from jobqueue.handlers.options import HandlerOptions, refuse_unknown, register
from jobqueue.handlers.registry import Handler, Registry, RunIn
from jobqueue.handlers.submission import Seconds, Submission, UniqueSubmission, unique_of
from jobqueue.handlers.validation import field_of, object_faults

__all__ = [
    "Handler",
    "HandlerOptions",
    "Registry",
    "RunIn",
    "Seconds",
    "Submission",
    "UniqueSubmission",
    "field_of",
    "object_faults",
    "refuse_unknown",
    "register",
    "unique_of",
]
