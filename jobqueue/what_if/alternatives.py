"""Alternatives: the settings of a queue that are compared, unless others are asked for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from jobqueue.core.policy import Discipline

if TYPE_CHECKING:
    from jobqueue.core.policy import QueuePolicy

NEAR = 0.2
"""A capacity that is this near to the present one, as a share of it, is no alternative."""


def default_alternatives(present: QueuePolicy, *, at_once: int, run_s: float, patience_s: float) -> list[QueuePolicy]:
    """Return the present settings first, then one change of them at a time, and `adaptive` with few slots.

    Args:
        at_once: How many jobs run at once, by the workers and all other limits.
        run_s: Mean run time.
        patience_s: How long clients wait for the start of their jobs.
    """
    found = [present]
    found += [msgspec.structs.replace(present, discipline=each) for each in Discipline if each != present.discipline]
    per_s = at_once / max(run_s, 1e-6)
    # As the overload lab has it: few slots are the work of a fifth of the patience, many that of twice the patience.
    few, many = (present.workers + max(1, math.ceil(per_s * patience_s * share)) for share in (0.2, 2.0))
    for capacity in (few, many):
        if abs(capacity - present.capacity) > NEAR * present.capacity and capacity <= 10_000_000:
            found.append(msgspec.structs.replace(present, capacity=capacity))
    if present.discipline is not Discipline.ADAPTIVE:
        found.append(msgspec.structs.replace(present, capacity=few, discipline=Discipline.ADAPTIVE))
    found.append(msgspec.structs.replace(present, workers=min(100_000, 2 * present.workers)))
    return list(dict.fromkeys(found))
