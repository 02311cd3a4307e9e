"""Caches: tables of what was made once and can be made again, which are emptied together where memory is scarce.

What a cache holds was made in the middle of a load, so it lies singly among that load's objects. CPython returns small
objects' memory in arenas of 1 MiB, and only empty ones: after an attack 41 MiB of arenas were kept by 0.6 MiB in use,
caches' entries in most of them.

Rules:

1. A table bounds itself: its users empty or replace entries when it is full.
2. To empty all is always right, and costs only the time to make what is used again.
"""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Key = TypeVar("Key")
Value = TypeVar("Value")

_tables: list[dict[Any, Any]] = []
_function_cache = type(functools.lru_cache(lambda: None))


def table() -> dict[Key, Value]:
    """Return a new table, for the life of the process."""
    made: dict[Key, Value] = {}
    _tables.append(made)
    return made


def empty() -> None:
    """Empty all tables."""
    for each in _tables:
        each.clear()


def emptying() -> Callable[[], None]:
    """Return what empties all tables, and the `functools` caches of all functions that exist now, libraries' too.

    Caches that the collector has frozen are not found.
    """
    functions = [each for each in gc.get_objects() if isinstance(each, _function_cache)]

    def empty_all() -> None:
        empty()
        for function in functions:
            function.cache_clear()

    return empty_all
