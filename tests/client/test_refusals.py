"""The error that a client raises for each problem of the server."""

from __future__ import annotations

import json

import pytest

from jobqueue import errors
from jobqueue.client import ErrorAnswer
from jobqueue.client.protocol import Answer, error_in
from jobqueue.http.response.problems import INTERNAL, TABLE, Row, problem_of

PUBLIC_ERRORS = {kind: row for kind, row in TABLE.items() if kind.__module__ == errors.__name__}
"""The problems with public errors, in `jobqueue.errors`."""

EXAMPLES: dict[type[BaseException], BaseException] = {
    errors.JobGone: errors.JobGone("evicted"),
    errors.WrongState: errors.WrongState("the job is live", state="running"),
    errors.Duplicate: errors.Duplicate("01a"),
    errors.Draining: errors.Draining(),
    errors.UnknownType: errors.UnknownType(errors.InvalidField(pointer="/type", detail="unknown")),
    errors.InvalidSubmission: errors.InvalidSubmission(errors.InvalidField(pointer="/args", detail="not an object")),
}


def answer_with(error: BaseException) -> Answer:
    problem = problem_of(error)
    headers = {name.lower(): value for name, value in problem.headers.items()}
    return Answer(problem.row.status, headers, problem.json)


def example_of(kind: type[BaseException]) -> BaseException:
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    return kind("not now", retry_after_s=2.5) if issubclass(kind, errors.Refused) else kind("so it is")


@pytest.mark.parametrize("kind", PUBLIC_ERRORS, ids=lambda kind: kind.__name__)
def test_a_public_error_of_the_server_is_raised_as_the_same_class_by_the_client(kind: type[BaseException]) -> None:
    sent, received = example_of(kind), error_in(answer_with(example_of(kind)))
    assert type(received) is kind
    if isinstance(sent, errors.Refused) and isinstance(received, errors.Refused):
        assert received.retry_after_s == sent.retry_after_s
    if isinstance(sent, errors.InvalidSubmission) and isinstance(received, errors.InvalidSubmission):
        assert received.errors == sent.errors


@pytest.mark.parametrize("row", sorted({*TABLE.values(), INTERNAL}, key=lambda row: row.slug), ids=lambda row: row.slug)
def test_every_problem_becomes_a_jobqueue_error_at_the_client(row: Row) -> None:
    document = {"type": f"/problems/{row.slug}", "title": row.title, "status": row.status, "detail": "so it is"}
    received = error_in(Answer(row.status, {}, json.dumps(document).encode()))
    assert isinstance(received, errors.JobQueueError)
    assert isinstance(received, errors.Refused) == (row.status in (429, 503))
    if isinstance(received, ErrorAnswer):
        assert (received.status, received.detail) == (row.status, "so it is")
