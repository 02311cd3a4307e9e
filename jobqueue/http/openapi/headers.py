"""Headers of answers: the meaning and the form of each.

The headers of every answer (`Server`, `Date`, `Cache-Control`, …) are not here: `info.description` names them.
"""

from __future__ import annotations

from typing import Any

STATE_REF = "#/components/schemas/JobState"


def _text(description: str, example: str, **form: object) -> dict[str, Any]:
    return {"description": description, "schema": {"type": "string", **form}, "example": example}


HEADERS: dict[str, dict[str, Any]] = {
    "Location": _text(
        "Path of the job; of a redirect, the place of the console.",
        "/v1/jobs/0aB000000-1c3FfGhIjKlM",
        format="uri-reference",
    ),
    "Retry-After": {
        "description": "Seconds after which the next request is worthwhile: the next poll of a live job, or the "
        "rejected request again. Measured, so it differs from time to time.",
        "schema": {"type": "integer", "minimum": 1},
        "example": 2,
    },
    "Job-State": {"description": "State of the job.", "schema": {"$ref": STATE_REF}, "example": "running"},
    "ETag": _text(
        "Weak entity tag, for `If-None-Match`. It changes with everything but the estimates.",
        'W/"2"',
        pattern='^(W/)?"[^"]*"$',
    ),
    "Job-Deduplicated": _text("There if the job existed before: no new one was made.", "true", enum=["true"]),
    "Job-Gone-Reason": _text(
        "Why the record is gone: it was evicted or deleted, or an earlier run of the server issued the id.",
        "evicted",
        enum=["evicted", "earlier-run"],
    ),
    "Preference-Applied": _text(
        "The wait that was granted, in seconds. Not there: the server did not wait.", "wait=5", pattern="^wait=[0-9]+$"
    ),
    "RateLimit": _text(
        "What is left of the caller's rates (draft-ietf-httpapi-ratelimit-headers): `r` requests or submissions, for "
        "`t` seconds. There if a rate is set.",
        '"submissions";r=49;t=1',
    ),
    "RateLimit-Policy": _text(
        "The caller's limits (draft-ietf-httpapi-ratelimit-headers). There if any is set.", '"submissions";q=50;w=1'
    ),
    "WWW-Authenticate": _text(
        "How to authenticate (RFC 6750).", 'Bearer realm="jobqueue", error="invalid_token"', pattern="^Bearer "
    ),
    "Allow": _text("Methods of the path.", "GET, HEAD"),
    "Accept-Post": _text("Media types of the body of a POST.", "application/json"),
    "Accept-Patch": _text("Media types of the body of a PATCH.", "application/json"),
    "Accept": _text("Media types of the body of a PUT.", "application/json"),
    "X-Accel-Buffering": _text("Tells nginx to pass events on at once.", "no", enum=["no"]),
    "Content-Encoding": _text("How the file is compressed. Not there: it is not.", "gzip", enum=["gzip"]),
    "Set-Cookie": _text(
        "The cookie of the session. Not there: no key is needed.", "jobqueue_session=…; Path=/; HttpOnly"
    ),
    "Content-Security-Policy": _text("What a browser lets a file or a page do: next to nothing.", "sandbox"),
    "X-Content-Type-Options": _text("The media type is the given one.", "nosniff", enum=["nosniff"]),
    "Cross-Origin-Resource-Policy": _text(
        "Pages of other origins can't embed the file.", "same-origin", enum=["same-origin"]
    ),
}
"""By name; a header of a row that is missing here fails a test."""

NOT_ALWAYS = {
    *(
        "Job-Deduplicated",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        "Accept-Post",
        "Accept-Patch",
        "Accept",
    ),
    *("Content-Security-Policy", "X-Content-Type-Options", "Cross-Origin-Resource-Policy"),
    *("Content-Encoding", "Set-Cookie"),
}
"""Headers that an answer may lack although its row names them: the last ones are those of files, pages and sessions."""

QUOTA = ("RateLimit", "RateLimit-Policy")
"""Of each answer to a submission, and of each 429."""
