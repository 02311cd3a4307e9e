"""The page of the HTTP API as data: each operation with its responses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from tests.docs.tables import codes, page, rows, section

Answer = tuple[int, str]
"""A status and the name of a problem type; "" without one."""

REQUEST_HEADERS = {"Idempotency-Key", "If-None-Match", "Last-Event-ID", "Prefer", "traceparent"}
HEADER = re.compile(r"`([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)*|traceparent)(?:: [^`]*)?`")
HEADING = re.compile(r"^### ((?:`[A-Z]+ /\S*`(?:, )?)+)$", re.MULTILINE)


@dataclass(frozen=True, eq=False)
class Operation:
    """A method and a path, with their own responses.

    Attributes:
        headers: The headers that an answer may have, beside those of all answers.
        takes_body: Whether the answers to any body are among its own.
        text: What stands below its heading.
    """

    method: str
    path: str
    headers: dict[Answer, frozenset[str]]
    takes_body: bool
    text: str

    @property
    def answers(self) -> frozenset[Answer]:
        return frozenset(self.headers)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def summary(self) -> str:
        """The first sentence, without its full stop; empty if the answers follow at once."""
        first = self.text.strip().split("\n\n")[0].replace("\n", " ")
        return "" if first.startswith("Answers: ") else re.split(r"[.;] (?=[A-Z])|\.$", first)[0]

    @property
    def request_headers(self) -> frozenset[str]:
        """The headers of a request that stand in front of its answers."""
        told = re.sub(r"`[^`]+` is rejected", "", self.text.partition("\nAnswers: ")[0])
        return frozenset(name for name in HEADER.findall(told) if name in REQUEST_HEADERS)


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
            found[method, path] = Operation(method, path, answers_in(below), takes_body, below)
    return found


ANY_REQUEST = frozenset(answers_in(section(page("http.md"), "## Answers to any request")))
ANY_BODY = frozenset(answers_in(section(page("http.md"), "## Answers to any body")))
