"""The filters of jobs: of lists, and of the actions on many.

They mean the same in both, and have the names of the API. An age (`--since 1h`) counts back from now, by this machine's
clock.
"""

from __future__ import annotations

import heapq
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from jobqueue.api_limits import PAGE_MAX
from jobqueue.cli.remote.output import seen
from jobqueue.cli.values import assigned_text, count, duration, instant_or_age, loose
from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from jobqueue.cli.parser import Parser
    from jobqueue.cli.remote.connection import Connection

LIMIT = 20
STATES = [state.value for state in JobState]
CODES = [code.value for code in ErrorCode]
NAMES = ("type", "queue", "group", "id_prefix", "parent", "error", "failure")


class Page(msgspec.Struct, frozen=True):
    """A page of jobs as the server gives them."""

    jobs: tuple[dict[str, Any], ...]
    next_cursor: str | None = None
    total: int | None = None
    total_complete: bool = True


def pages(
    connection: Connection, options: argparse.Namespace, *, states: list[str] | None, limit: int | None
) -> Iterator[dict[str, Any]]:
    """Yield the jobs that match, as many as are asked for: newest first, or oldest first."""
    newest = getattr(options, "sort", "newest") == "newest"
    lists = [_of_state(connection, query_of(options, state), limit) for state in _each(states)]
    # Ids grow with time.
    merged = heapq.merge(*lists, key=lambda job: str(job.get("id")), reverse=newest)
    for number, job in enumerate(merged if len(lists) > 1 else lists[0]):
        if number == limit:
            return
        yield job


def _each(states: list[str] | None) -> list[str | None]:
    return [*dict.fromkeys(states)] if states else [None]


def total(connection: Connection, options: argparse.Namespace) -> tuple[int, bool]:
    """Return how many jobs match, and whether all records were searched."""
    found, complete = 0, True
    for state in _each(options.state):
        query = {**query_of(options, state), "count": 1, "limit": 1}
        page: Page = seen(connection.read(f"/v1/jobs?{urlencode(query)}"), Page)
        found, complete = found + (page.total or 0), complete and page.total_complete
    return found, complete


def query_of(options: argparse.Namespace, state: str | None) -> dict[str, Any]:
    """Return the filters as a query."""
    query = _named(options) | ({"state": state} if state else {})
    if options.message is not None:
        query["message~"] = options.message
    if options.older_than is not None:
        query["until"] = (datetime.now(UTC) - timedelta(seconds=options.older_than)).isoformat()
    if getattr(options, "sort", None) == "oldest":
        query["sort"] = "oldest"
    return query | {f"arg.{path}": text for path, text in options.arg}


def filter_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the filter of an action; empty if none is given."""
    given = _named(options)
    for name, value in (("state", options.state), ("message", options.message), ("older_than_s", options.older_than)):
        if value is not None:
            given[name] = value
    return given | ({"args": {path: loose(text) for path, text in options.arg}} if options.arg else {})


def _named(options: argparse.Namespace) -> dict[str, Any]:
    given = {name: value for name in NAMES if (value := getattr(options, name)) is not None}
    instants = {name: value for name in ("since", "until") if (value := getattr(options, name)) is not None}
    return given | {name: instant.isoformat() for name, instant in instants.items()}


def _of_state(connection: Connection, query: dict[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        size = PAGE_MAX if limit is None else min(PAGE_MAX, limit)
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page: Page = seen(connection.read(f"/v1/jobs?{urlencode({**query, 'limit': size, **more})}"), Page)
        yield from page.jobs
        if page.next_cursor is None or page.next_cursor == cursor:
            return
        cursor = page.next_cursor


def add_filters(parser: Parser) -> None:
    """Add the filters that lists and actions have."""
    group = parser.add_argument_group("filters; all must match")
    group.add_argument("--type", metavar="TYPE", help="jobs of this type")
    group.add_argument("--queue", metavar="QUEUE", help="jobs in this queue")
    group.add_argument("--group", metavar="GROUP", help="jobs of this group")
    group.add_argument("--error", choices=CODES, help="jobs with this error")
    group.add_argument("--failure", metavar="ID", help="failed jobs in this group of `jobqueue errors`")
    group.add_argument("--message", metavar="TEXT", help="jobs with this in the message of their error")
    group.add_argument(
        "--arg",
        action="append",
        default=[],
        type=assigned_text,
        metavar="PATH=VALUE",
        help="jobs with this argument, such as user.id=17; may be repeated",
    )
    group.add_argument("--id-prefix", metavar="PREFIX", help="jobs with an id that begins so")
    group.add_argument("--parent", metavar="ID", help="jobs with this parent")
    group.add_argument("--since", type=instant_or_age, metavar="TIME", help="submitted since: an instant, or 1h ago")
    group.add_argument("--until", type=instant_or_age, metavar="TIME", help="submitted before: an instant, or 1h ago")
    group.add_argument("--older-than", type=duration, metavar="TIME", help="submitted longer ago")


def add_list_filters(parser: Parser) -> None:
    """Add the filters and the bounds of a list."""
    parser.add_argument("--state", action="append", choices=STATES, help="jobs in this state; may be repeated")
    add_filters(parser)
    parser.add_argument("--sort", choices=("newest", "oldest"), default="newest", help="which come first")
    parser.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"jobs at most (default: {LIMIT})")
    parser.add_argument("--all", action="store_true", help="all of them, page by page")
    parser.add_argument("--count", action="store_true", help="print only how many there are")


def add_changing_filters(parser: Parser) -> None:
    """Add the filters of an action on many jobs, and its safeguards."""
    parser.add_argument("--state", choices=STATES, help="jobs in this state")
    add_filters(parser)
    parser.add_argument("--dry-run", action="store_true", help="count the jobs, and change nothing")
    parser.add_argument("--limit", type=count, metavar="N", help="change so many at most, the newest")
    parser.add_argument("--yes", action="store_true", help="don't ask; needed where no terminal can be asked")
