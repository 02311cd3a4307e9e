"""Statistics: what queues and types did, from the history of this run.

A key sees them if it sees all jobs: the numbers are those of all callers.
"""

from __future__ import annotations

import asyncio
from math import ceil, floor
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired, TypedDict

import msgspec
import orjson
from msgspec import UNSET, UnsetType

from jobqueue.core.counting.history import OTHERS, Reading
from jobqueue.core.counting.series import (
    FIRST_REASON,
    FIRST_RUN,
    FIRST_SUM,
    FIRST_TOTAL,
    FIRST_WAIT,
    GAUGES,
    REASONS,
    SUMS,
    TOTALS,
)
from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from jobqueue.errors import shown
from jobqueue.http.errors import InsufficientScope, MalformedRequest, PathNotFound
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.instant import GivenInstant, unix_s_of
from jobqueue.http.request.query import near_or_all, not_one_of, parameters
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.problems import TABLE
from jobqueue.http.response.reply import JSON
from jobqueue.http.response.timestamps import timestamp
from jobqueue.http.response.value_types import Instant  # noqa: TC001  # read from the annotations below

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.core.counting.history import History
    from jobqueue.recorder import Recorder
    from jobqueue.service import Service

POINTS_DEFAULT = 300
POINTS_MAX = 1000

VALUES_MAX = 50_000
"""Points of all series in one answer."""

STEPS_S = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400)
"""Steps to choose from, if none is asked for."""

STEP_S_MAX = 86_400

SINCE_S_DEFAULT = 600

SLICE_ROWS = 300
"""Rows that are decoded before other tasks run: a third of a millisecond."""

By = Literal["queue", "type"]


class StatsQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        by: What a series is about.
        name: Only the series of this queue or type.
        since: The beginning: RFC 3339, or Unix seconds; ten minutes ago by default, and never before the first sample.
        step: Seconds of a point; by default as many as make at most 300 points.
    """

    by: By = "queue"
    name: str | UnsetType = UNSET
    since: GivenInstant | UnsetType = UNSET
    step: Annotated[int, msgspec.Meta(ge=1, le=STEP_S_MAX)] | UnsetType = UNSET


class SeriesDocument(TypedDict):
    """What one queue or type did, with one number for each point. A member that is not there is 0 at all points.

    Attributes:
        name: That of the queue or type; null: of all that `stats.bytes_max` has no room for.
        waiting: Queued jobs, at the end of the point.
        running: Running jobs, at the end of the point.
        submitted: Accepted jobs.
        retried: Failed jobs that were queued again on request.
        started: Attempts that began.
        succeeded: Jobs that ended so.
        failed: Jobs that ended so.
        cancelled: Jobs that ended so.
        expired: Jobs that ended so.
        wait_ms: Milliseconds that jobs waited for their attempts, together. Of queues only.
        run_ms: Milliseconds that attempts ran, together.
        refused: Rejected submissions by the name of the problem. Of queues only.
        waits: Attempts by the time that their jobs waited, for each of `bounds_s` and beyond; null: none at all points.
            Of queues only.
        runs: Attempts by the time that they ran, for each of `bounds_s` and beyond; null: none at all points.
    """

    name: str | None
    waiting: NotRequired[list[int]]
    running: NotRequired[list[int]]
    submitted: NotRequired[list[int]]
    retried: NotRequired[list[int]]
    started: NotRequired[list[int]]
    succeeded: NotRequired[list[int]]
    failed: NotRequired[list[int]]
    cancelled: NotRequired[list[int]]
    expired: NotRequired[list[int]]
    wait_ms: NotRequired[list[int]]
    run_ms: NotRequired[list[int]]
    refused: NotRequired[dict[str, list[int]]]
    waits: NotRequired[list[list[int] | None]]
    runs: NotRequired[list[list[int] | None]]


class StatsDocument(TypedDict):
    """What queues or types did, in points of one length.

    Attributes:
        by: What a series is about.
        step_s: Seconds of a point.
        since: The beginning of the first point.
        until: The end of the last second that is recorded; the last point may be shorter than the others.
        covered_s: For each point the seconds that it covers: more than its length after a gap; 0: a gap.
        bounds_s: Upper bounds of the times in `waits` and `runs`, in seconds.
        series: The series that did anything.
    """

    by: By
    step_s: int
    since: Instant
    until: Instant
    covered_s: list[int]
    bounds_s: list[float]
    series: list[SeriesDocument]


class Range(msgspec.Struct, frozen=True):
    """The points of an answer: seconds of each, the tick of the first, and their number."""

    step_s: int
    since: int
    points: int


class Stats:
    """The handler of `/v1/stats`."""

    def __init__(self, service: Service, recorder: Recorder) -> None:
        self._service = service
        self._recorder = recorder
        self._turn = asyncio.Lock()

    async def history(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/stats: the series of queues or types."""
        given = parameters(request, StatsQuery.__struct_fields__)
        if request[GRANT].sees is not None:
            raise InsufficientScope("admin")
        history = self._recorder.history
        if history is None or history.last is None:
            if not self._service.settings.stats.bytes_max:
                raise PathNotFound("no history is recorded: the setting stats.bytes_max is 0")
            raise PathNotFound("no history is recorded yet: the queue has not run for a second")
        by, wanted = _wanted(history, given)
        asked = self._range(history, given, len(wanted))
        async with self._turn:  # one at a time, so that each iteration of the loop has one slice of them all
            reading = Reading(
                history, step_s=asked.step_s, since=asked.since, points=asked.points, wanted=frozenset(wanted)
            )
            rows = 0
            for decoded in reading.read():
                rows += decoded + 1
                if rows >= SLICE_ROWS:
                    rows = 0
                    await asyncio.sleep(0)
            series = []
            for number in wanted:
                if columns := reading.columns.get(number):
                    series.append(orjson.dumps(_series_document(history.names[number][1], columns)))
                    await asyncio.sleep(0)
        body = self._document(by, asked, history.last + 1, reading.covered_s, series)
        return whole_answer(request, body, JSON)

    def _document(self, by: By, asked: Range, end: int, covered_s: list[int], series: list[bytes]) -> bytes:
        until = min(end, asked.since + asked.points * asked.step_s)
        head = {
            "by": by,
            "step_s": asked.step_s,
            "since": timestamp(self._service.wall(asked.since)),
            "until": timestamp(self._service.wall(max(until, asked.since))),
            "covered_s": covered_s,
            "bounds_s": BOUNDS_S,
        }
        return b'%b,"series":[%b]}' % (orjson.dumps(head)[:-1], b",".join(series))

    def _range(self, history: History, given: dict[str, str], series: int) -> Range:
        """Return the points that are asked for, or chosen. Raises MalformedRequest."""
        assert history.first is not None
        assert history.last is not None
        end = history.last + 1
        step_s = _step_s(given.get("step"))
        if (text := given.get("since")) is not None:
            try:
                since = floor(unix_s_of(text) - self._service.wall(0.0))
            except ValueError as fault:
                raise MalformedRequest(f"since {fault}") from None
        else:
            since = end - (SINCE_S_DEFAULT if step_s is None else POINTS_DEFAULT * step_s)
        points_max = min(POINTS_MAX, VALUES_MAX // max(1, series))
        oldest_of_all = history.oldest(history.rings[-1].step_s)
        assert oldest_of_all is not None
        since = max(since, oldest_of_all, history.first)
        if step_s is None:
            step_s = _chosen_step_s(history, since, end, min(POINTS_DEFAULT, points_max - 1))
        elif "since" not in given:
            since = max(since, history.oldest(step_s) or since)
        oldest = history.oldest(step_s)
        if oldest is None or since < oldest - step_s:
            at_least = _chosen_step_s(history, since, end, points_max - 1)
            raise MalformedRequest(f"points of {step_s} s don't reach back to this since: ask for a step of {at_least}")
        since = since // step_s * step_s
        points = max(0, ceil((end - since) / step_s))
        if points > points_max:
            detail = f"{points} points of {series} series are too many, {points_max} are allowed"
            raise MalformedRequest(f"{detail}: ask for a longer step, a later since, or a name")
        return Range(step_s, since, points)


def _wanted(history: History, given: dict[str, str]) -> tuple[By, list[int]]:
    """Return what series are about, and the numbers of those that are asked for. Raises MalformedRequest."""
    by = given.get("by", "queue")
    if by not in ("queue", "type"):
        raise MalformedRequest(f"by {not_one_of(by, ('queue', 'type'))}")
    kind: By = "type" if by == "type" else "queue"
    known = {name: number for (of, name), number in history.numbers.items() if of == kind and name is not None}
    if (name := given.get("name")) is None:
        return kind, [*known.values(), OTHERS[kind == "type"]]
    if name not in known:
        raise MalformedRequest(f"name: there is no {kind} {shown(name)!r}; {near_or_all(name, list(known)[:100])}")
    return kind, [known[name]]


def _step_s(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 5 or not 1 <= int(text) <= STEP_S_MAX:
        raise MalformedRequest(f"step is a number of seconds from 1 to {STEP_S_MAX}, got {shown(text)!r}")
    return int(text)


def _chosen_step_s(history: History, since: int, end: int, points_max: int) -> int:
    """Return the shortest step that reaches back to an instant, with at most this number of points."""
    for step_s in STEPS_S:
        oldest = history.oldest(step_s)
        if oldest is not None and since >= oldest and (end - since) / step_s <= points_max:
            return step_s
    return STEP_S_MAX


def _series_document(name: str | None, columns: dict[int, list[int]]) -> dict[str, Any]:
    document: dict[str, Any] = {"name": name}
    for first, names in ((0, GAUGES), (FIRST_TOTAL, TOTALS), (FIRST_SUM, SUMS)):
        document |= {each: columns[first + n] for n, each in enumerate(names) if first + n in columns}
    refused = {
        TABLE[kind].slug: columns[FIRST_REASON + n] for n, kind in enumerate(REASONS) if FIRST_REASON + n in columns
    }
    if refused:
        document["refused"] = refused
    for member, first in (("waits", FIRST_WAIT), ("runs", FIRST_RUN)):
        buckets = [columns.get(first + n) for n in range(BUCKETS)]
        if any(buckets):
            document[member] = buckets
    return document
