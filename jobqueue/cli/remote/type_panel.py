"""The panel of types in `jobqueue top`: their jobs and rates since the sample before, durations, quarantines."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.remote.connection import optional
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.types import Type, Types
from jobqueue.cli.terminal.table import Column
from jobqueue.duration import spell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.cli.remote.connection import Connection

SHOWN_MAX = 200
"""Types of a picture: those with the most jobs."""


class TypeRow(msgspec.Struct, frozen=True):
    """A type with its rates since the sample before."""

    type: Type
    ended_per_s: float
    failed_per_s: float


def _count(name: str) -> Column:
    def shown(row: TypeRow) -> str:
        count = getattr(row.type, name)
        return "" if count is None else f"{count:,}"

    return Column(name.removesuffix("_total"), shown, right=True)


COLUMNS = (
    Column("type", lambda row: row.type.type, cut=40, flexible=True),
    Column("state", lambda row: row.type.state, style=lambda row: "red" if row.type.quarantined else ""),
    _count("running"),
    _count("queued"),
    Column("done/s", lambda row: f"{row.ended_per_s:,.1f}", right=True),
    _count("failed_total"),
    Column("failed/s", lambda row: f"{row.failed_per_s:,.1f}", right=True, drop=2),
    Column("run p50", lambda row: spell(row.type.run_s.p50), right=True, drop=3),
    Column("run p95", lambda row: spell(row.type.run_s.p95), right=True),
    Column("wait p50", lambda row: spell(row.type.wait_s.p50), right=True, drop=4),
    Column("wait p95", lambda row: spell(row.type.wait_s.p95), right=True, drop=1),
)


class TypeRates:
    """The rates of types, from the totals of two readings."""

    def __init__(self) -> None:
        self._before: dict[str, tuple[int, int]] = {}
        self._at: float | None = None

    def rows(self, types: Sequence[Type], at: float) -> list[TypeRow]:
        """Return the types with most jobs first: quarantined, then by running, queued and ended ones.

        Args:
            at: When they were read, by the monotonic clock.
        """
        passed_s = 0.0 if self._at is None else at - self._at
        before, self._at = self._before, at
        self._before = {each.type: (_ended(each), each.failed_total or 0) for each in types}
        rows = []
        for each in types:
            ended, failed = self._before[each.type]
            ended_before, failed_before = before.get(each.type, (ended, failed))
            known = passed_s > 0 and ended >= ended_before  # else the server was started anew
            rows.append(
                TypeRow(
                    each,
                    (ended - ended_before) / passed_s if known else 0.0,
                    max(0, failed - failed_before) / passed_s if known else 0.0,
                )
            )
        rows.sort(key=_use, reverse=True)
        return rows[:SHOWN_MAX]


def read_types(connection: Connection, queues: Sequence[str] | None) -> tuple[tuple[Type, ...], float]:
    """Ask a server for its types, of all queues or some; return them, and when they were read."""
    document: Any = optional(connection, "/v1/types") or {"types": ()}
    types: tuple[Type, ...] = tuple(seen(each, Type) for each in seen(document, Types).types)
    return tuple(each for each in types if not queues or each.queue in queues), time.monotonic()


def _ended(type: Type) -> int:
    totals = (type.succeeded_total, type.failed_total, type.cancelled_total, type.expired_total)
    return sum(total or 0 for total in totals)


def _use(row: TypeRow) -> tuple[bool, int, int, float, int]:
    type = row.type
    return type.quarantined is not None, type.running or 0, type.queued or 0, row.ended_per_s, _ended(type)
