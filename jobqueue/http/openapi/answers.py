"""Answers: what an operation may be answered with, by status."""

from __future__ import annotations

from http import HTTPStatus
from itertools import groupby
from typing import TYPE_CHECKING, Any

from jobqueue.http.openapi.examples import of_answers
from jobqueue.http.openapi.headers import HEADERS, NOT_ALWAYS, QUOTA
from jobqueue.http.openapi.schemas import docstring_of
from jobqueue.http.route import ANY_TYPE, JSON_TYPE, PROBLEM_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobqueue.http.openapi.schemas import Schemas
    from jobqueue.http.route import Answer

PROBLEM_REF = "#/components/schemas/Problem"

SHARED_MAX = 3
"""Kinds of problems in a component: one with more is an operation's own."""


class Responses:
    """The responses of all operations.

    Args:
        links: Names of the links from a submission to the job.

    Attributes:
        components: Those with problems alone that operations refer to, by name.
    """

    def __init__(self, schemas: Schemas, links: Iterable[str]) -> None:
        self._schemas = schemas
        self._links = tuple(links)
        self.components: dict[str, Any] = {}

    def of(self, name: str, answers: Iterable[Answer], *, submits: bool, head: bool) -> dict[str, Any]:
        """Return the responses of one operation, by status.

        Args:
            name: That of its row.
            submits: Its answers tell the caller's quota.
            head: It is a HEAD: no answer has a body.
        """
        # An interim answer (1xx) is not among them: libraries keep it to themselves.
        final = sorted((answer for answer in answers if answer.status >= 200), key=lambda answer: answer.status)
        by_status = [(status, [*alike]) for status, alike in groupby(final, key=lambda answer: answer.status)]
        return {str(status): self._of_status(name, status, alike, submits, head) for status, alike in by_status}

    def _of_status(self, name: str, status: int, alike: Sequence[Answer], submits: bool, head: bool) -> dict[str, Any]:
        slugs = sorted({answer.problem.slug for answer in alike if answer.problem is not None})
        quota = submits or status == HTTPStatus.TOO_MANY_REQUESTS
        examples = {} if head else of_answers(name, status)
        if not slugs:
            return _with_examples(self._good(status, alike, quota, head), examples)
        if len(slugs) > SHARED_MAX or examples:
            return _with_examples(_problem(status, alike, quota, head), examples)
        shared = "".join(part.title() for slug in slugs for part in slug.split("-"))
        shared += ("WithQuota" if submits else "") + ("Head" if head else "")
        if shared not in self.components:
            self.components[shared] = _problem(status, alike, quota, head)
        return {"$ref": f"#/components/responses/{shared}"}

    def _good(self, status: int, alike: Sequence[Answer], quota: bool, head: bool) -> dict[str, Any]:
        response: dict[str, Any] = {"description": _words(status, alike), "headers": _headers(status, alike, quota)}
        if any("Location" in answer.headers and answer.document is not None for answer in alike) and not head:
            response["links"] = {name: {"$ref": f"#/components/links/{name}"} for name in self._links}
        content = {answer.media_type: self._body(answer) for answer in alike if answer.media_type}
        if ANY_TYPE in content:
            content = {JSON_TYPE: {"schema": {}}, **content}
        if content and not head:
            response["content"] = content
        return response

    def _body(self, answer: Answer) -> dict[str, Any]:
        if answer.document is not None:
            return {"schema": self._schemas.of(answer.document)}
        return {"schema": {"type": "string"} if answer.media_type.startswith("text/") else {}}


def _with_examples(response: dict[str, Any], examples: dict[str, Any]) -> dict[str, Any]:
    if examples:
        content = {media_type: {**of, "examples": examples} for media_type, of in response["content"].items()}
        response["content"] = content
    return response


def _problem(status: int, alike: Sequence[Answer], quota: bool, head: bool) -> dict[str, Any]:
    rows = {answer.problem.slug: answer.problem for answer in alike if answer.problem is not None}
    words = "\n".join(f"- `{slug}`: {row.title}" for slug, row in rows.items())
    if len(rows) == 1:
        words = words.removeprefix("- ")
    response: dict[str, Any] = {"description": words, "headers": _headers(status, alike, quota)}
    if not head:
        kinds = {"type": "string", "enum": [f"/problems/{slug}" for slug in rows]}
        schema = {"allOf": [{"$ref": PROBLEM_REF}], "properties": {"type": kinds, "status": {"const": status}}}
        response["content"] = {PROBLEM_TYPE: {"schema": schema}}
    return response


def _words(status: int, alike: Sequence[Answer]) -> str:
    told = [answer.when or docstring_of(answer.document)[0] for answer in alike if answer.when or answer.document]
    words = "; or ".join(told) if told else HTTPStatus(status).phrase
    return words.removesuffix(".")


def _headers(status: int, alike: Sequence[Answer], quota: bool) -> dict[str, Any]:
    """Return the headers of answers with one status; one that each of them always has is required."""
    names = dict.fromkeys(name for answer in alike for name in answer.headers)
    if quota:
        names |= dict.fromkeys(QUOTA)
    return {name: _header(name, _is_always_there(name, status, alike)) for name in names}


def _is_always_there(name: str, status: int, alike: Sequence[Answer]) -> bool:
    of_live_jobs_alone = name == "Retry-After" and status == HTTPStatus.NOT_MODIFIED
    return name not in NOT_ALWAYS and not of_live_jobs_alone and all(name in answer.headers for answer in alike)


def _header(name: str, required: bool) -> dict[str, Any]:
    if required or name in NOT_ALWAYS:
        return {"$ref": f"#/components/headers/{name}"}
    return HEADERS[name]


def header_components() -> dict[str, Any]:
    """Return the headers that responses refer to."""
    return {name: header if name in NOT_ALWAYS else {**header, "required": True} for name, header in HEADERS.items()}
