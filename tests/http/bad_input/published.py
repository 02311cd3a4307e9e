"""The published table of bad input: how many streams of each group there are, and how they are answered.

`python -m tests.http.bad_input.published` prints it; `make destroy` writes it into docs/LIMITS.md.
"""

from __future__ import annotations

from collections import Counter

from bench.measure.spread import table
from tests.http.bad_input.test_bad_input import GROUPS, rows_of


def published() -> str:
    """Return the table in Markdown."""
    rows = [_row(group) for group in GROUPS]
    whole = sum(count for _, _, count, _ in rows)
    return table(("group", "tried", "streams", "answers (streams)"), [*rows, ("all", "", whole, "")])


def _row(group: str) -> tuple[str, str, int, str]:
    rows = rows_of(group)
    statuses = Counter("closed" if row.status is None else str(row.status) for row in rows)
    first = (GROUPS[group].__doc__ or "").partition("\n")[0].partition(". ")[0].rstrip(".")
    answers = ", ".join(f"{status} ({count})" for status, count in sorted(statuses.items()))
    return group.replace("_", " "), first, len(rows), answers


if __name__ == "__main__":
    print(published())
