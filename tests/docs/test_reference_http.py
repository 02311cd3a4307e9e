"""The reference page of the HTTP API: exactly the routes, problem types, fields and events of the code."""

from __future__ import annotations

import ast
import inspect
import json
import re
import typing
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core import topics as core_topics
from jobqueue.core.job import LIVE, TERMINAL, JobId, JobSpec, JobState, UniqueMode
from jobqueue.handlers import Submission
from jobqueue.http import routes
from jobqueue.http.request import origins
from jobqueue.http.request.include import INCLUDABLE, JobQuery
from jobqueue.http.resources import event_stream, events, topics
from jobqueue.http.resources.bulk import BulkFilter
from jobqueue.http.resources.job_list import PARAMETERS
from jobqueue.http.resources.queues import QueueChange
from jobqueue.http.resources.server import ServerChange
from jobqueue.http.resources.server_log import LogQuery
from jobqueue.http.resources.stats import StatsQuery
from jobqueue.http.response.problems import INTERNAL, TABLE
from jobqueue.http.routes import ROUTES
from jobqueue.http.streams import (
    event_log,
    event_names,
    event_writer,
    flow_log,
    steering_events,
    subscriber,
    tick_event,
    topic_event,
    topic_log,
    watched_jobs,
)
from jobqueue.schedules.runner import TickOutcome
from tests.docs.http_page import ANY_BODY, ANY_REQUEST, operations
from tests.docs.tables import codes, members, page, rows, section

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobqueue.http.route import Answer as RouteAnswer
    from tests.docs.http_page import Answer, Operation

PAGE = page("http.md")
STATUS_OF = {row.slug: row.status for row in (*TABLE.values(), INTERNAL)}


ROWS = {(method, row.path): row for row in ROUTES for method in row.methods}
CONTENT = {"Content-Type", "Content-Length"}


def listed(answers: Iterable[RouteAnswer]) -> dict[Answer, set[str]]:
    """Return declared answers in the form of the page: status and problem, with the headers."""
    found: dict[Answer, set[str]] = {}
    for answer in answers:
        found.setdefault((answer.status, "" if answer.problem is None else answer.problem.slug), set()).update(
            answer.headers
        )
    return found


def rows_of(heading: str, head: str) -> list[list[str]]:
    """Return the rows of the table below a heading, the one with this head of the first column."""
    below = section(PAGE, heading)
    table = below[below.index(f"\n| {head} |") + 1 :]
    return rows(table.partition("\n\n")[0])


def first_names(table: list[list[str]]) -> list[str]:
    return [name for cells in table for name in codes(cells[0])]


def test_the_page_lists_exactly_the_routes_and_methods_of_the_code() -> None:
    assert set(operations()) == set(ROWS)


def test_the_page_has_every_problem_type_with_its_status() -> None:
    answers = [answer for operation in operations().values() for answer in operation.answers]
    on_page = {problem: status for status, problem in (*answers, *ANY_REQUEST, *ANY_BODY) if problem}
    assert on_page == STATUS_OF


@pytest.mark.parametrize("operation", operations().values(), ids=str)
def test_every_operation_has_the_summary_request_and_answers_of_its_row(operation: Operation) -> None:
    row = ROWS[operation.method, operation.path]
    assert operation.summary == row.summary
    assert operation.takes_body == (row.body is not None)
    assert operation.request_headers == set(row.headers)
    on_page = {answer: headers - CONTENT for answer, headers in operation.headers.items()}
    assert on_page == listed(row.own_answers)


def test_the_page_has_the_answers_to_any_request_and_to_any_body() -> None:
    assert set(listed(routes.ANY_REQUEST)) == ANY_REQUEST
    assert set(listed(routes.ANY_BODY)) == ANY_BODY


def test_the_headers_on_the_page_have_the_case_of_the_server() -> None:
    for name in codes(PAGE):
        if name.count("-") and name[0].isupper() and " " not in name and ":" not in name:
            assert name == name.title() or name in ("ETag", "X-Content-Type-Options"), name


def test_the_page_has_the_headers_of_a_preflight() -> None:
    (cells,) = (cells for cells in rows_of("## Web pages and hosts", "Request") if cells[1].startswith("204"))
    assert set(codes(cells[1])) == set(routes.PREFLIGHT.headers)


@pytest.mark.parametrize("operation", operations().values(), ids=str)
def test_every_operation_lists_its_errors_with_problem_types(operation: Operation) -> None:
    assert all((status >= 400) == bool(problem) for status, problem in operation.answers)
    if "{id}" in operation.path:
        assert {(404, "job-not-found"), (410, "job-gone")} <= operation.answers
    for path, problem in (("/v1/queues/{name}", "queue-not-found"), ("/v1/types/{name}", "type-not-found")):
        if operation.path.startswith(path):
            assert (404, problem) in operation.answers


def test_the_page_has_the_states_of_a_job() -> None:
    table = {codes(cells[0])[0]: cells[1] for cells in rows_of("## The life of a job", "State")}
    assert set(table) == set(JobState)
    assert {state for state, live in table.items() if live == "yes"} == LIVE


def test_the_page_has_the_fields_of_a_submission() -> None:
    assert first_names(rows_of("### `POST /v1/jobs`", "Field")) == list(Submission.__struct_fields__)
    assert first_names(rows_of("### `POST /v1/jobs`", "`mode`")) == list(typing.get_args(UniqueMode))


def test_the_page_has_the_query_parameters_filters_and_changes() -> None:
    queries = rows_of("### `GET /v1/jobs/{id}`, `HEAD /v1/jobs/{id}`", "Query")
    assert first_names(queries) == list(JobQuery.__struct_fields__)
    assert set(codes(queries[0][1])) == set(INCLUDABLE)
    queries = rows_of("### `GET /v1/jobs`, `HEAD /v1/jobs`", "Query")
    assert first_names(queries) == list(PARAMETERS)
    assert first_names(rows_of("### `POST /v1/jobs:retry`", "Filter")) == list(BulkFilter.__struct_fields__)
    queries = rows_of("### `GET /v1/stats`, `HEAD /v1/stats`", "Query")
    assert first_names(queries) == list(StatsQuery.__struct_fields__)
    queries = rows_of("### `GET /v1/server/log`, `HEAD /v1/server/log`", "Query")
    assert first_names(queries) == list(LogQuery.__struct_fields__)
    changes = rows_of("### `PATCH /v1/queues/{name}`", "Change")
    assert first_names(changes) == list(QueueChange.__struct_fields__)
    changes = rows_of("### `PATCH /v1/server`", "Change")
    assert first_names(changes) == list(ServerChange.__struct_fields__)


def test_the_page_lists_exactly_the_events_of_streams() -> None:
    named = {
        str(word.value)
        for function in (event_names.name_of, event_names.name_of_state)
        for node in ast.walk(ast.parse(inspect.getsource(function)))
        if isinstance(node, ast.Return) and node.value is not None
        for word in ast.walk(node.value)
        if isinstance(word, ast.Constant) and word.value
    }
    named |= set(TERMINAL) | set(event_names.NAMES.values())
    named |= {
        str(call.args[1].value)
        for module in (events, event_stream)
        for call in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "frame" and isinstance(call.args[1], ast.Constant)
    }
    named |= {subscriber.SKIPPED.decode().split()[1], topic_log.NAME, flow_log.FLOW, tick_event.TICKED}
    assert set(first_names(rows_of("### Events", "Event"))) == named


def test_the_page_has_the_members_of_event_data() -> None:
    on_page = {cells[0]: set(codes(cells[1])) - {"quarantined", "paused"} for cells in rows_of("### Events", "Data")}

    def keys(function: Any) -> set[str]:
        source = inspect.getsource(function)
        dicts = (node for node in ast.walk(ast.parse(source.lstrip())) if isinstance(node, ast.Dict))
        return {str(key.value) for each in dicts for key in each.keys if isinstance(key, ast.Constant)}

    seen = event_log.Seen(JobId("a"), JobSpec(type="t"), JobState.QUEUED, 1, None, None, 0.0)
    assert on_page["job"] == set(json.loads(event_writer.EventWriter().write(seen)))
    assert on_page["type"] == keys(steering_events._type_data)
    assert on_page["queue"] == keys(steering_events._queue_data)
    outcomes = set(typing.get_args(TickOutcome))
    assert on_page["schedule"] == set(tick_event.ScheduleEventDocument.__annotations__) | outcomes
    assert on_page["published"] == set(topic_event.PublishedDocument.__annotations__)
    assert on_page["reset"] == set(json.loads(event_writer.RESET))


def test_the_page_has_the_limits_of_streams() -> None:
    below = section(PAGE, "## Event streams")
    first, last = event_stream.RETRY_MS
    for number in (
        f"{event_log.RING_MAX:,} events",
        f"{watched_jobs.LEFT_MAX:,} jobs",
        f"{first:,} to {last:,}",
        f"{subscriber.BACKLOG_BYTES_MAX // 1024} KiB",
        f"{events.ALL_MAX} ",
    ):
        assert number in below


def test_the_page_has_the_limits_of_topics() -> None:
    below = section(PAGE, "## Topics")
    for number in (
        f"{core_topics.TOKENS_MAX} tokens and {core_topics.LENGTH_MAX} characters",
        f"{topics.LISTENERS_MAX} such streams",
        f"{topic_log.DATA_BYTES_MAX // 1024} KiB",
        f"{topic_log.RING_MAX:,} events",
        f"{topic_log.RING_BYTES_MAX // 2**20} MiB",
    ):
        assert number in below


def test_the_page_mentions_every_exposed_header() -> None:
    assert [name for name in origins.EXPOSED.split(", ") if f"`{name}" not in PAGE] == []


def test_every_setting_or_event_on_the_pages_exists() -> None:
    known = set(members(page("settings.md")))
    for name in ("http.md", "job.md", "problems.md", "events.md"):
        mentioned = re.findall(r"`((?:server|limits|statuses|spool|runtime|log)\.[a-z_]+)`", page(name))
        assert {each for each in mentioned if each not in known and not each.endswith(".py")} <= events_named(), name


def events_named() -> set[str]:
    return set(members(page("events.md")))
