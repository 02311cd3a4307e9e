"""The closing sentence of the overload lab: which policy to choose, as the figures have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.overload.clients import RetryBehaviour
from bench.overload.figures import times
from bench.overload.policies import CHOICES, FIFO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.overload.clients import Service
    from bench.overload.figures import Figures

NEAR = 0.02
"""Policies that differ by less in goodput are equal; the first of them, which is the simplest, is named."""


def choice(runs: Sequence[Figures], *, load: float, service: Service) -> str:
    """Return one sentence that names the best policy for each kind of client at one load."""
    if load < 1.0:
        return (
            f"At {times(load)} the capacity no choice is needed: the workers keep up, and every discipline serves "
            f"nearly all. Ask again with a RATE above {service.capacity_per_s:g} jobs/s."
        )
    at_load = {(run.policy, run.behaviour): run for run in runs if run.load == load}
    names = [policy.name(service) for policy in CHOICES if not policy.start_by]
    helped = [policy.name(service) for policy in CHOICES if policy.start_by]
    parts = []
    for behaviour, clients, among in (
        (RetryBehaviour.OBEDIENT, "clients return when Retry-After says", names),
        (RetryBehaviour.DISOBEDIENT, "they try again at once", names),
        (RetryBehaviour.DISOBEDIENT, "they send start_by_s", helped),
    ):
        if best := _best([at_load[name, behaviour] for name in among if (name, behaviour) in at_load]):
            parts.append(f"`{best.policy}` if {clients} ({best.goodput:.0%})")
    if not parts:
        return f"At {times(load)} the capacity: none of the policies to choose from was simulated."
    sentence = f"At {times(load)} the capacity choose, by the workers' time that is of use, {', '.join(parts)}"
    plain = at_load.get((FIFO.name(service), RetryBehaviour.OBEDIENT))
    return sentence + (f"; plain `{plain.policy}` with {service.slots} slots: {plain.goodput:.0%}." if plain else ".")


def _best(runs: Sequence[Figures]) -> Figures | None:
    most = max((run.goodput for run in runs), default=0.0)
    return next((run for run in runs if run.goodput >= most - NEAR), None)
