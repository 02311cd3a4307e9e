"""Excuses: failures that schemathesis reports and that are no faults, each with its answer and the reason.

No check is turned off and no operation is left out: an excuse is for one kind of failure with one answer.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from schemathesis.core.failures import AcceptedNegativeData, ServerError
from schemathesis.openapi.checks import RejectedPositiveData

if TYPE_CHECKING:
    from collections.abc import Mapping


class Excuse(NamedTuple):
    """A failure that is none.

    Attributes:
        failure: What schemathesis calls it.
        answer: The status, and the slug of the problem, if there is one.
        told: Matches the detail of each fault that the problem has.
    """

    failure: type[Exception]
    answer: str
    told: str
    reason: str


EXCUSES = (
    Excuse(RejectedPositiveData, "410 job-gone", "", "The id is valid, and an earlier case has deleted its job."),
    Excuse(
        RejectedPositiveData,
        "422 idempotency-key-reused",
        "",
        "Two cases have drawn the same key for different content.",
    ),
    Excuse(
        RejectedPositiveData,
        "400 malformed-request",
        "ids can't be combined with a filter",
        "OpenAPI has no words for a parameter that excludes the others.",
    ),
    Excuse(
        RejectedPositiveData,
        "422 invalid-submission|422 invalid-request",
        r"Expected `int( \| [a-z]+)*`, got `float`",
        "JSON Schema takes 8.0 for an integer, the server does not.",
    ),
    Excuse(
        RejectedPositiveData,
        "422 invalid-request",
        "an empty filter would match all",
        "Which members of a filter are conditions is told in words: generators make no type of the exact form.",
    ),
    Excuse(
        RejectedPositiveData,
        "400 malformed-json",
        "the integer -?[0-9…]+ is outside of",
        "Where any JSON is allowed, a schema has no place for the bounds of its numbers.",
    ),
    Excuse(
        AcceptedNegativeData,
        "431.*",
        "",
        "It is rejected, by its length: schemathesis does not know this status as a rejection.",
    ),
    Excuse(
        RejectedPositiveData,
        "400 malformed-request",
        "cursor is the next_cursor of an earlier page",
        "A cursor is opaque: only one that the server has given is valid.",
    ),
    Excuse(
        RejectedPositiveData,
        "400 malformed-request",
        "name: there is no (type|queue) ",
        "The names are those of one server, and the description is for all.",
    ),
    Excuse(
        RejectedPositiveData,
        "400|410",
        "",
        "The answer to a HEAD has no body that tells which problem it is; the GET has, and is judged.",
    ),
    Excuse(
        RejectedPositiveData,
        "422 invalid-submission",
        "the job would expire before it may run|at most [0-9.e+]+ s from now|give delay_s or run_at, not both"
        "|debounce needs delay_s or run_at|a job with files can't be debounced",
        "The members are valid, but not together, or not now.",
    ),
    Excuse(
        RejectedPositiveData,
        "422 invalid-request",
        "give every_s or cron, and not both|an interval is a whole number|a cron notation is|bad [a-z-]+: a cron"
        "|it never comes|there is no time zone|is the time zone of cron|all needs overlap: queue|at most the interval"
        "|there is no queue|no handler has the type|a name has 1 to 100|at most 4096 bytes",
        "Which texts are notations, zones and types is told in words, and so is which members go together.",
    ),
    Excuse(
        RejectedPositiveData,
        "422 invalid-submission|422 unknown-type",
        "a job (of a flow|with parents) takes no unique value|only together with after|no job of this flow has the name"
        "|'.+' is the name of job|a job can't come after itself|'.+' is named twice|a cycle of|no handler has the type"
        "|no such queue|and [0-9,]+ more",
        "The names of a graph are valid, but not together; types and queues are those of one server.",
    ),
    Excuse(
        AcceptedNegativeData,
        "207 with a problem",
        "",
        "Each submission of a batch is judged on its own: an invalid one has its 422 inside of the 207.",
    ),
    Excuse(
        ServerError,
        "503 (too-many-long-polls|queue-full|type-quarantined|statuses-full|spool-full|simulator-in-use)",
        "",
        "A 503 with a Retry-After is the answer of a server without room, which the test server is small enough for.",
    ),
)


def answer_of(response: Any) -> tuple[str, list[str]]:
    """Return the status and the slug of a response, and the details of its faults."""
    status = str(response.status_code)
    kind = response.headers.get("content-type", [""])[0].partition(";")[0]
    if status == "207" and any("problem" in job for job in response.json()["jobs"]):
        return "207 with a problem", []
    if kind != "application/problem+json" or not response.content:
        return status, []
    problem: Mapping[str, Any] = response.json()
    faults = [fault["detail"] for fault in problem.get("errors", ())] or [problem["detail"]]
    return f"{status} {problem['type'].rpartition('/')[2]}", faults


def excuse_of(failure: Exception, response: Any) -> Excuse | None:
    """Return the excuse of a failure; None: it is a fault."""
    answer, faults = answer_of(response)
    for excuse in EXCUSES:
        if (
            isinstance(failure, excuse.failure)
            and re.fullmatch(excuse.answer, answer)
            and all(re.match(excuse.told, fault) for fault in faults)
        ):
            return excuse
    return None
