"""Many stores in the model: jobs go to a store by their group, so the busiest one decides what all of them can take.

Rules:

1. A group (a tenant, a user, an object) is on one store, with its order, its limits and its unique values. Groups are
   not equally busy: the share of the one at rank r is proportional to 1 / r^`skew`.
2. `HASHED` puts a group where its hash says. `TWO_CHOICES` puts it at the one of two that has fewer groups, and
   remembers that in a directory.
3. `MOVED` begins as `HASHED`, and then moves groups off the busiest store, the busiest group that improves it first, at
   most `MOVES` of them.
4. The share of the largest group is a bound that no placement passes: what one store takes, divided by it.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec
import numpy as np
import numpy.typing as npt

MOVES = 200

Loads = npt.NDArray[np.float64]


class Placement(StrEnum):
    """How a group finds its store."""

    HASHED = "by hash"
    TWO_CHOICES = "the emptier of two"
    MOVED = f"by hash, {MOVES} groups moved"


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """How evenly stores are loaded.

    Attributes:
        worst: Load of the busiest store, over the mean; the median of all seeds.
        largest: Share of the largest group in all jobs.
    """

    stores: int
    groups: int
    skew: float
    placement: Placement
    worst: float
    largest: float

    @property
    def usable(self) -> float:
        """How many stores' worth these take until the busiest one is full."""
        return self.stores / self.worst


def balance(stores: int, groups: int, skew: float, placement: Placement, seeds: int = 5) -> Balance:
    """Place all groups once a seed."""
    shares: Loads = np.asarray(1.0 / np.arange(1, groups + 1) ** skew, dtype=np.float64)
    shares /= shares.sum()
    worst = [float(_loads(shares, stores, placement, seed).max() * stores) for seed in range(seeds)]
    return Balance(
        stores=stores,
        groups=groups,
        skew=skew,
        placement=placement,
        worst=float(np.median(worst)),
        largest=float(shares[0]),
    )


def _loads(shares: Loads, stores: int, placement: Placement, seed: int) -> Loads:
    rng = np.random.default_rng(seed)
    hashed = rng.integers(stores, size=len(shares))
    if placement is Placement.TWO_CHOICES:
        hashed = _two_choices(hashed, rng.integers(stores, size=len(shares)), rng.permutation(len(shares)), stores)
    elif placement is Placement.MOVED:
        _move(shares, hashed, stores)
    return np.asarray(np.bincount(hashed, weights=shares, minlength=stores), dtype=np.float64)


def _two_choices(
    one: npt.NDArray[np.int64], other: npt.NDArray[np.int64], order: npt.NDArray[np.int64], stores: int
) -> npt.NDArray[np.int64]:
    """Place groups as they come, by the number of groups that each store has."""
    chosen = one.copy()
    counts = [0] * stores
    for group in order.tolist():
        first, second = int(one[group]), int(other[group])
        store = first if counts[first] <= counts[second] else second
        counts[store] += 1
        chosen[group] = store
    return chosen


def _move(shares: Loads, placed: npt.NDArray[np.int64], stores: int) -> None:
    """Move groups off the busiest store to the least busy one, while that lessens the worst load."""
    loads = np.bincount(placed, weights=shares, minlength=stores)
    for _ in range(MOVES):
        busiest, least = int(loads.argmax()), int(loads.argmin())
        here = np.flatnonzero(placed == busiest)  # the busiest group first: shares fall
        fits = here[shares[here] < loads[busiest] - loads[least]]
        if not len(fits):
            return
        group = int(fits[0])
        placed[group] = least
        loads[busiest] -= shares[group]
        loads[least] += shares[group]
