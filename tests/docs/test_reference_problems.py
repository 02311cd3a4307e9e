"""The reference page of problem types: status, title, members and headers of each."""

from __future__ import annotations

import re

import pytest

from jobqueue import errors
from jobqueue.http.response import problems
from jobqueue.http.response.explanations import EXPLANATIONS, Explanation
from jobqueue.http.response.problems import INTERNAL, TABLE, Row, problem_of
from tests.docs.tables import codes, page, rows

BASE = {"type", "title", "status", "detail"}
HEADER_OF_MEMBER = {"retry_after_s": "Retry-After", "reason": "Job-Gone-Reason", "state": "Job-State"}
A_FAULT = errors.InvalidField(pointer="/type", detail="unknown")
EXAMPLES: dict[type[BaseException], BaseException] = {
    errors.JobGone: errors.JobGone("evicted"),
    errors.WrongState: errors.WrongState("the job is live", state="running"),
    errors.Duplicate: errors.Duplicate("01a"),
    errors.Draining: errors.Draining(),
    errors.ConfigError: errors.ConfigError("config.yaml:1:1: unknown setting"),
    problems.MethodNotAllowed: problems.MethodNotAllowed("PUT", "GET, HEAD"),
    problems.Unauthorized: problems.Unauthorized("no", error=None),
    problems.InsufficientScope: problems.InsufficientScope("read"),
    problems.UnsupportedMediaType: problems.UnsupportedMediaType("no", headers={"Accept-Post": "application/json"}),
}


def table() -> dict[str, list[str]]:
    return {codes(cells[0])[0]: cells for cells in rows(page("problems.md"), columns=6)}


def example_of(kind: type[BaseException]) -> BaseException:
    if kind in EXAMPLES:
        return EXAMPLES[kind]
    if issubclass(kind, errors.Refused):
        return kind("not now", retry_after_s=2.5)
    return kind(A_FAULT) if issubclass(kind, errors.InvalidSubmission) else kind()


def test_the_page_lists_exactly_the_problem_types_of_the_code() -> None:
    assert set(table()) == {row.slug for row in (*TABLE.values(), INTERNAL)}


@pytest.mark.parametrize("row", sorted({*TABLE.values(), INTERNAL}, key=lambda row: row.slug), ids=lambda row: row.slug)
def test_a_row_has_the_status_and_title_of_the_code(row: Row) -> None:
    _, status, title, _, when, what_to_do = table()[row.slug]
    assert (int(status), title) == (row.status, row.title)
    assert min(len(when), len(what_to_do)) >= 8


def test_the_server_explains_each_type_in_the_words_of_the_page() -> None:
    def plain(cell: str) -> str:
        return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cell)

    on_page = {slug: Explanation(plain(cells[4]), plain(cells[5])) for slug, cells in table().items()}
    assert on_page == EXPLANATIONS


def test_the_log_events_to_which_explanations_point_are_in_the_reference_of_events() -> None:
    pointed = " ".join(re.findall(r"the log \(([^)]*)\)", " ".join(each.remedy for each in EXPLANATIONS.values())))
    named = set(codes(pointed))
    assert {"journal.failed", "store.lost"} <= named
    assert named <= {name for row in rows(page("events.md"), columns=5) for name in codes(row[0])}


@pytest.mark.parametrize("kind", TABLE, ids=lambda kind: kind.__name__)
def test_a_row_has_the_extension_members_and_headers_of_the_problem(kind: type[BaseException]) -> None:
    problem = problem_of(example_of(kind))
    added = set(problem.members) - BASE
    cells = table()[problem.row.slug]
    assert set(codes(cells[3])) == added
    described = {name for row in rows(page("problems.md"), columns=3) for name in codes(row[0])}
    assert added | BASE <= described
    implied = {HEADER_OF_MEMBER[name] for name in added if name in HEADER_OF_MEMBER}
    assert all(name in page("problems.md") for name in problem.headers)
    assert set(problem.headers) - implied <= set(codes(cells[4])), "the row has each header that no member implies"
