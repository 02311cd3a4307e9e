"""What a client raises for each problem that the server may answer with."""

from __future__ import annotations

import json

import pytest

from jobqueue import errors
from jobqueue.client import ErrorAnswer
from jobqueue.client.protocol import Answer, error_in
from jobqueue.http.response.problems import INTERNAL, TABLE, Row, problem_of

OF_THE_ROOM = {kind: row for kind, row in TABLE.items() if kind.__module__ == errors.__name__}
"""The errors that have a name for every user of the package, not only inside of the server."""

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


@pytest.mark.parametrize("kind", OF_THE_ROOM, ids=lambda kind: kind.__name__)
def test_an_error_of_the_server_is_the_same_error_at_the_client(kind: type[BaseException]) -> None:
    told, heard = example_of(kind), error_in(answer_with(example_of(kind)))
    assert type(heard) is kind
    if isinstance(told, errors.Refused) and isinstance(heard, errors.Refused):
        assert heard.retry_after_s == told.retry_after_s
    if isinstance(told, errors.InvalidSubmission) and isinstance(heard, errors.InvalidSubmission):
        assert heard.errors == told.errors


@pytest.mark.parametrize("row", sorted({*TABLE.values(), INTERNAL}, key=lambda row: row.slug), ids=lambda row: row.slug)
def test_every_problem_is_an_error_of_jobqueue_at_the_client(row: Row) -> None:
    document = {"type": f"/problems/{row.slug}", "title": row.title, "status": row.status, "detail": "so it is"}
    heard = error_in(Answer(row.status, {}, json.dumps(document).encode()))
    assert isinstance(heard, errors.JobQueueError)
    assert isinstance(heard, errors.Refused) == (row.status in (429, 503))
    if isinstance(heard, ErrorAnswer):
        assert (heard.status, heard.detail) == (row.status, "so it is")
