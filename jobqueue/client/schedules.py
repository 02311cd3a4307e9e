"""Calls on schedules: reading, putting, steering and deleting them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from jobqueue.client.documents import document
from jobqueue.client.protocol import ErrorAnswer, Request, Steps, decoded, good
from jobqueue.duration import as_seconds
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.client.models import JobDocument, ScheduleOptions

Schedule = dict[str, Any]

_PAGE = 1000


class _Page(msgspec.Struct, frozen=True):
    schedules: tuple[Schedule, ...]
    next_cursor: str | None = None


def schedules() -> Steps[tuple[Schedule, ...]]:
    found: list[Schedule] = []
    cursor: str | None = None
    while True:
        query = urlencode({"limit": _PAGE} | ({} if cursor is None else {"cursor": cursor}))
        page = decoded((yield Request(method="GET", target=f"/v1/schedules?{query}")), _Page)
        found += page.schedules
        if page.next_cursor is None:
            return tuple(found)
        if page.next_cursor == cursor or not page.schedules:
            raise ErrorAnswer(200, "the next page of the schedules is the same page again")
        cursor = page.next_cursor


def schedule(name: str) -> Steps[Schedule]:
    return decoded((yield Request(method="GET", target=_path(name))), Schedule)


def put(name: str, type: str, args: Mapping[str, Any] | None, options: ScheduleOptions) -> Steps[Schedule]:
    given: dict[str, Any] = {"type": type, "args": args, **options}
    body = encode({name: as_seconds(value) for name, value in given.items() if value is not None})
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="PUT", target=_path(name), headers=headers, body=body)), Schedule)


def delete(name: str) -> Steps[None]:
    good((yield Request(method="DELETE", target=_path(name))))


def run(name: str) -> Steps[JobDocument]:
    return document((yield Request(method="POST", target=f"{_path(name)}:run")))


def pause(name: str) -> Steps[Schedule]:
    return decoded((yield Request(method="POST", target=f"{_path(name)}:pause")), Schedule)


def resume(name: str) -> Steps[Schedule]:
    return decoded((yield Request(method="POST", target=f"{_path(name)}:resume")), Schedule)


def _path(name: str) -> str:
    return f"/v1/schedules/{quote(name, safe='')}"
