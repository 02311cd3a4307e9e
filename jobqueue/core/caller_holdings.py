"""What callers hold of the job store, as it is given out.

Only callers with more than a thousandth of the records are ranked (`holdings`), so of the others the latest ones that
began to hold any are found, without a look at all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from jobqueue.core.holdings import Holdings


class CallerHolding(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one caller holds: live jobs, records with these, and their bytes."""

    live: int = 0
    records: int = 0
    size_bytes: int = 0


NOTHING = CallerHolding()


def holding_of(holdings: Holdings, caller: str | None) -> CallerHolding:
    """Return what a caller holds; None: the application itself."""
    held = holdings.by_caller.get(caller)
    if held is None:
        return NOTHING
    return CallerHolding(live=held.records - held.terminal, records=held.records, size_bytes=held.size_bytes)


def holders(holdings: Holdings, most: int) -> tuple[list[str | None], bool]:
    """Return callers that hold records, those with the most among them, and whether these are all."""
    names = dict.fromkeys(holdings.by_records.ranked()[:most])
    left = most
    for caller in reversed(holdings.by_caller):
        if not left:
            break
        left -= 1
        names[caller] = None
    return list(names), len(names) == len(holdings.by_caller)
