"""The page of the HTTP API as data: each operation with its responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tests.docs.tables import codes, page, rows, section

Answer = tuple[int, str]
"""A status and the name of a problem type; "" without one."""

HEADER = re.compile(r"`([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)*)(?:: [^`]*)?`")
HEADING = re.compile(r"^### ((?:`[A-Z]+ /\S+`(?:, )?)+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Operation:
    """A method and a path, with their own responses.

    Attributes:
        headers: The headers of each response, besides those of all responses.
        takes_body: Whether the responses to any body apply.
    """

    method: str
    path: str
    headers: dict[Answer, frozenset[str]]
    takes_body: bool

    @property
    def answers(self) -> frozenset[Answer]:
        return frozenset(self.headers)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def all_answers(self) -> frozenset[Answer]:
        """Every response of the operation, including those to any request and any body."""
        return self.answers | ANY_REQUEST | (ANY_BODY if self.takes_body else frozenset())


def answers_in(text: str) -> dict[Answer, frozenset[str]]:
    """Return the responses in a table, each with the headers in its row."""
    table = [cells for cells in rows(text, columns=3) if re.fullmatch(r"[1-5]\d\d", cells[0])]
    found = {(int(status), "".join(codes(problem))): frozenset(HEADER.findall(more)) for status, problem, more in table}
    assert len(found) == len(table), "a response is twice in a table"
    return found


@cache
def operations() -> dict[tuple[str, str], Operation]:
    """Return every operation on the page, by method and path."""
    text = page("http.md")
    found: dict[tuple[str, str], Operation] = {}
    for match in HEADING.finditer(text):
        below = section(text, f"### {match[1]}")
        for code in codes(match[1]):
            method, path = code.split(" ")
            assert "(#answers-to-any-request)" in below, f"{code} has no link to the answers to any request"
            takes_body = "(#answers-to-any-body)" in below
            found[method, path] = Operation(method, path, answers_in(below), takes_body)
    return found


ANY_REQUEST = frozenset(answers_in(section(page("http.md"), "## Answers to any request")))
ANY_BODY = frozenset(answers_in(section(page("http.md"), "## Answers to any body")))
