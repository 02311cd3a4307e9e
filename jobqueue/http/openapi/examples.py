"""Examples: requests of the tour in README.md and of docs/how-to/curl.md, and the answers to them.

A test compares the requests with those pages, sends each to a server with the demo handlers, and compares the answers,
so that neither can differ from what is so. Ids, instants and estimates stand for any others.
"""

from __future__ import annotations

from typing import Any

JOB_ID = "0aB000000-1c3FfGhIjKlM"

_AT = "2026-01-01T00:00:00.000Z"

_PLAIN: dict[str, Any] = {
    "id": JOB_ID,
    "type": "echo",
    "queue": "default",
    "state": "queued",
    "attempt": 0,
    "attempts_max": 1,
    "priority": 0,
    "group": None,
    "created_at": _AT,
    "run_at": _AT,
    "started_at": None,
    "finished_at": None,
    "progress": None,
    "position": 1,
    "eta_s": None,
    "poll_after_ms": 100,
    "waiting_for": None,
    "result": None,
    "error": None,
    "history": None,
}
_ENDED = {"attempt": 1, "started_at": _AT, "finished_at": _AT, "position": None, "poll_after_ms": None}

_INVALID: dict[str, Any] = {
    "type": "/problems/invalid-submission",
    "title": "Invalid submission",
    "status": 422,
    "detail": "/args/min_s: Expected `float`, got `str`",
    "errors": [{"pointer": "/args/min_s", "detail": "Expected `float`, got `str`"}],
}

_UNKNOWN: dict[str, Any] = {
    "type": "/problems/unknown-type",
    "title": "Unknown job type",
    "status": 422,
    "detail": "/jobs/1/type: no handler has the type 'nope'; known: digest, echo, fail, sleep, spin",
    "errors": [
        {
            "pointer": "/jobs/1/type",
            "detail": "no handler has the type 'nope'; known: digest, echo, fail, sleep, spin",
        }
    ],
}

REQUESTS: dict[str, dict[str, tuple[str, Any]]] = {
    "submit_job": {
        "echo": ("Only the type is needed", {"type": "echo", "args": {"hello": "world"}}),
        "delayed": ("A job that may start in a minute", {"type": "echo", "delay_s": 60}),
        "failing": ("A job that fails", {"type": "fail"}),
        "faulty": ("An argument of another type: 422", {"type": "sleep", "args": {"min_s": "soon"}}),
    },
    "submit_jobs": {
        "two": (
            "Each is accepted or rejected on its own",
            {"jobs": [{"type": "echo", "priority": 9}, {"type": "nope"}]},
        )
    },
    "delete_jobs": {"old": ("The records of old successes", {"state": "succeeded", "older_than_s": 60})},
    "change_queue": {"adaptive": ("Another discipline", {"discipline": "adaptive", "workers": 64})},
}
"""By the name of the route's row, and a name: what it shows, and the body."""

ANSWERS: dict[tuple[str, int], dict[str, Any]] = {
    ("submit_job", 202): {
        "echo": _PLAIN,
        "delayed": {**_PLAIN, "state": "delayed", "position": None, "poll_after_ms": 3000},
    },
    ("submit_job", 200): {
        "failing": {
            **_PLAIN,
            **_ENDED,
            "type": "fail",
            "state": "failed",
            "error": {"code": "handler_error", "message": "RuntimeError: it was asked to fail"},
            "history": [
                {
                    "attempt": 1,
                    "started_at": _AT,
                    "ended_at": _AT,
                    "code": "handler_error",
                    "message": "RuntimeError: it was asked to fail",
                    "traceback": None,
                }
            ],
        },
    },
    ("submit_job", 422): {"faulty": _INVALID},
    ("submit_jobs", 207): {
        "two": {"jobs": [{"status": 202, "id": JOB_ID}, {"status": 422, "problem": _UNKNOWN}]},
    },
    ("delete_jobs", 200): {"old": {"count": 12}},
}
"""By the name of the route's row and the status, and the name of the request: the document."""


def of_requests(name: str) -> dict[str, Any]:
    """Return the examples of a row's requests."""
    return {key: {"summary": words, "value": body} for key, (words, body) in REQUESTS.get(name, {}).items()}


def of_answers(name: str, status: int) -> dict[str, Any]:
    """Return the examples of a row's answers with a status."""
    told = REQUESTS.get(name, {})
    return {key: {"summary": told[key][0], "value": body} for key, body in ANSWERS.get((name, status), {}).items()}
