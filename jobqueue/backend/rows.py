"""Rows: submissions in a row that differ by their arguments only, which the engine accepts at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobqueue.core.submit import Asked


def rows_of(many: Sequence[Asked]) -> Iterator[list[Asked]]:
    """Split submissions, in order, into rows of plain ones that differ by their arguments only; others stand alone."""
    row: list[Asked] = []
    for asked in many:
        spec, _, upload, uniqueness = asked
        plain = upload is None and not spec.own and (uniqueness is None or uniqueness.plain)
        if row and not (plain and spec is row[0][0] and uniqueness is row[0][3]):
            yield row
            row = []
        row.append(asked)
        if not plain:
            yield row
            row = []
    if row:
        yield row
