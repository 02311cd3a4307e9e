"""The types of problems as resources: what the member `type` of a problem points to. JSON, or for a browser a page."""

from __future__ import annotations

import difflib
from typing import TypedDict

import orjson
from aiohttp import web

from jobqueue.errors import shown
from jobqueue.http.errors import PathNotFound
from jobqueue.http.response.explanations import EXPLANATIONS
from jobqueue.http.response.html import HTML, page, prefers_html, table, text
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.problems import INTERNAL, TABLE, Row
from jobqueue.http.response.reply import JSON

ROWS: dict[str, Row] = {row.slug: row for row in (*TABLE.values(), INTERNAL)}

_NEGOTIATED = {**JSON, "Vary": "Accept"}


class ProblemTypeDocument(TypedDict):
    """A type of problems: what all problems of it have in common.

    Attributes:
        type: The `type` of such a problem.
        title: Its `title`.
        status: Its status code.
        cause: When it is the answer.
        remedy: What a client does about it.
    """

    type: str
    title: str
    status: int
    cause: str
    remedy: str


class ProblemTypesDocument(TypedDict):
    """All types of problems.

    Attributes:
        problems: By status.
    """

    problems: list[ProblemTypeDocument]


class ProblemTypes:
    """The handlers of `/problems`."""

    async def all(self, request: web.Request) -> web.StreamResponse:
        """GET /problems"""
        rows = sorted(ROWS.values(), key=lambda row: row.status)
        if not prefers_html(request.headers):
            body: ProblemTypesDocument = {"problems": [_document(row) for row in rows]}
            return whole_answer(request, orjson.dumps(body), _NEGOTIATED)
        cells = ((str(row.status), f'<a href="problems/{row.slug}">{row.slug}</a>', text(row.title)) for row in rows)
        return web.Response(body=page("Problems", table(("Status", "Type", "Title"), cells)), headers=HTML)

    async def one(self, request: web.Request) -> web.StreamResponse:
        """GET /problems/{slug}"""
        slug = request.match_info["slug"]
        row = ROWS.get(slug)
        if row is None:
            raise PathNotFound(f"no problem has the type {shown(slug)!r}{_suggestion(slug)}")
        if not prefers_html(request.headers):
            return whole_answer(request, orjson.dumps(_document(row)), _NEGOTIATED)
        return web.Response(body=_page(row), headers=HTML)


def _document(row: Row) -> ProblemTypeDocument:
    explanation = EXPLANATIONS[row.slug]
    return {
        "type": f"/problems/{row.slug}",
        "title": row.title,
        "status": row.status,
        "cause": explanation.cause,
        "remedy": explanation.remedy,
    }


def _page(row: Row) -> bytes:
    explanation = EXPLANATIONS[row.slug]
    cells = (
        ("Type", f"<code>{row.slug}</code>"),
        ("Status", str(row.status)),
        ("Cause", text(explanation.cause)),
        ("Remedy", text(explanation.remedy)),
    )
    rows = "\n".join(f"<dt>{name}<dd>{words}" for name, words in cells)
    return page(row.title, f"<dl>\n{rows}\n</dl>", '<p><a href="../problems">All problems</a>')


def _suggestion(slug: str) -> str:
    near = difflib.get_close_matches(slug[:100], ROWS, n=1)
    return f"; did you mean {near[0]!r}?" if near else "; GET /problems lists all"
