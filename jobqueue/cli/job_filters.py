"""The filters of jobs: of lists, and of the actions on many."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from jobqueue.cli.output import seen
from jobqueue.cli.values import count, duration
from jobqueue.core.job import JobState

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from jobqueue.cli.connection import Connection
    from jobqueue.cli.parser import Parser

LIMIT = 20
PAGE_MAX = 100
NAMES = ("type", "queue", "group")


class Page(msgspec.Struct, frozen=True):
    """A page of jobs as the server gives them."""

    jobs: tuple[dict[str, Any], ...]
    next_cursor: str | None = None


def pages(connection: Connection, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield the jobs that match, newest first, as many as are asked for."""
    left = None if options.all else options.limit
    states = options.state or [None]
    lists = [_of_state(connection, query_of(options, state), left) for state in dict.fromkeys(states)]
    # Ids grow with time.
    for job in lists[0] if len(lists) == 1 else heapq.merge(*lists, key=lambda job: str(job.get("id")), reverse=True):
        if left is not None:
            if not left:
                return
            left -= 1
        yield job


def query_of(options: argparse.Namespace, state: str | None) -> dict[str, Any]:
    """Return the filters as a query."""
    query = {name: value for name in NAMES if (value := getattr(options, name)) is not None}
    return query | ({"state": state} if state else {})


def _of_state(connection: Connection, query: dict[str, Any], limit: int | None) -> Iterator[dict[str, Any]]:
    cursor = None
    while True:
        size = PAGE_MAX if limit is None else min(PAGE_MAX, limit)
        more: dict[str, Any] = {"cursor": cursor} if cursor else {}
        page: Page = seen(connection.read(f"/v1/jobs?{urlencode({**query, 'limit': size, **more})}"), Page)
        yield from page.jobs
        cursor = page.next_cursor
        if cursor is None:
            return


def add_names(parser: Parser) -> None:
    """Add the filters by name."""
    group = parser.add_argument_group("filters; all must match")
    group.add_argument("--type", metavar="TYPE", help="jobs of this type")
    group.add_argument("--queue", metavar="QUEUE", help="jobs in this queue")
    group.add_argument("--group", metavar="GROUP", help="jobs of this group")


def add_list_filters(parser: Parser) -> None:
    """Add the filters of a list."""
    add_names(parser)
    states = [state.value for state in JobState]
    parser.add_argument("--state", action="append", choices=states, help="jobs in this state; may be repeated")


def add_bounds(parser: Parser) -> None:
    """Add the bounds of a list."""
    parser.add_argument("--limit", type=count, default=LIMIT, metavar="N", help=f"jobs at most (default: {LIMIT})")
    parser.add_argument("--all", action="store_true", help="all of them, page by page")


def add_changing_filters(parser: Parser) -> None:
    """Add the filters of an action on many jobs, and its safeguards."""
    add_names(parser)
    parser.add_argument("--state", choices=[state.value for state in JobState], help="jobs in this state")
    parser.add_argument("--older-than", type=duration, metavar="TIME", help="jobs that were submitted longer ago")
    parser.add_argument("--dry-run", action="store_true", help="count the jobs, and change nothing")
    parser.add_argument("--limit", type=count, metavar="N", help="change so many at most")
    parser.add_argument("--yes", action="store_true", help="don't ask; needed where no terminal can be asked")


def filter_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the filter of an action; empty if none is given."""
    names = (*NAMES, "state")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return given | ({} if options.older_than is None else {"older_than_s": options.older_than})
