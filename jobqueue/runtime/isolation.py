"""Isolation: each attempt runs in a context of its own, so no context variable of one job reaches another.

Rules:

1. An attempt starts from the context in which its pool was made: what the application set before it started the
   queue, or what a process's modules set while they were imported.
2. `decimal` keeps precision, rounding and traps in an object that copies of a context share, so each attempt gets
   a copy of that object as well.
"""

from __future__ import annotations

import contextvars
import decimal
from typing import Any


class Isolation:
    """Makes contexts for attempts out of the current one, as it is when this object is made."""

    def __init__(self) -> None:
        self._base = contextvars.Context()
        self._decimal: decimal.Context | None = None
        for variable, value in contextvars.copy_context().items():
            if not isinstance(value, decimal.Context):
                self._base.run(variable.set, value)
            elif _settings(value) != _settings(decimal.DefaultContext):
                self._decimal = value
        # Where nothing was changed, decimal makes a context when it is first used: most attempts never need one.

    def fresh(self) -> contextvars.Context:
        """Return a context for one attempt."""
        context = self._base.copy()
        if self._decimal is not None:
            context.run(decimal.setcontext, self._decimal.copy())
        return context


def _settings(context: Any) -> tuple[object, ...]:  # its traps are declared as a dict, and are another mapping
    traps = [signal for signal, on in context.traps.items() if on]
    return (context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp, traps)
