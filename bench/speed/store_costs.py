"""The costs of the model (`bench.scaling`), from measured lives: a part for each call of the store, one for each job.

What a life costs a server or the store is taken as `life + look x looks + call x calls`. With few clients each call
has one job, with many it has dozens, so the parts can be told apart: by least squares, none of them negative. Where
each life has as many looks, what they cost is in that of the life.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bench.scaling.cluster import Call, Costs, Linear

if TYPE_CHECKING:
    from collections.abc import Sequence

SHARES = {Call.SUBMIT: 0.36, Call.LEASE: 0.3, Call.ACK: 0.34}
"""Of a job's part in the store's CPU, by the instructions of these functions in calls of 64 jobs."""

SPREAD_MIN = 1.2
"""The most looks of a life ÷ the fewest, from which on a look has a cost of its own."""

RUN_SHARE = 0.3
"""Of the part of a life that is neither a look nor a call, for the run; the rest is the submission's."""


class Sample(NamedTuple):
    """A measured life: CPU in microseconds, and how many calls and looks it took."""

    server_us: float
    store_us: float
    calls: float
    looks: float


def fit(over_store: Sequence[Sample], in_memory: Sequence[Sample]) -> Costs:
    """Return the costs that explain the samples best."""
    counts = [(1.0, each.looks, each.calls) for each in over_store]
    store_life, store_look, store_call = _solved(counts, [each.store_us for each in over_store])
    life, look, call = _solved(counts, [each.server_us for each in over_store])
    return Costs(
        post_us=life * (1 - RUN_SHARE),
        look_us=look,
        run_us=life * RUN_SHARE,
        client=Linear(call, 0.0),
        store={
            **{each: Linear(store_call, store_life * share) for each, share in SHARES.items()},
            Call.LOOK: Linear(store_call, store_look),
        },
        memory_us=float(np.median([each.server_us for each in in_memory])),
    )


def _solved(counts: Sequence[tuple[float, float, float]], totals: Sequence[float]) -> tuple[float, float, float]:
    """Return what each of three things costs, from how many of each there were, and what they cost together."""
    matrix, wanted = np.asarray(counts, dtype=float), np.asarray(totals, dtype=float)
    # Relative errors count: a life of one client costs several times what one of many does.
    weights = 1.0 / wanted
    looks = matrix[:, 1]
    left = [0, 1, 2] if looks.max() > SPREAD_MIN * looks.min() else [0, 2]
    while True:
        found = np.linalg.lstsq(matrix[:, left] * weights[:, None], wanted * weights, rcond=None)[0]
        if (found >= 0).all():
            parts = dict(zip(left, found.tolist(), strict=True))
            return parts.get(0, 0.0), parts.get(1, 0.0), parts.get(2, 0.0)
        left.remove(left[int(found.argmin())])
