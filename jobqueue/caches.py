"""Caches: tables of what was made once and can be made again, cleared together before memory is returned to the system.

The entries of a cache are made in the middle of a load, spread among that load's objects. CPython returns the memory of
small objects in arenas of 1 MiB, and only empty ones: after an attack 41 MiB of arenas were kept by 0.6 MiB in use,
entries of caches in most of them.

Rules:

1. A table bounds itself: its users clear or replace entries when it is full.
2. Only what is known to be no more than a cache is cleared: tables, and bounded `functools` caches of this package and
   of `LIBRARIES`. One of an application may hold what must exist once: a pool, a lock, a model.
"""

from __future__ import annotations

import functools
import gc
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Key = TypeVar("Key")
Value = TypeVar("Value")

LIBRARIES = ("aiohttp", "jobqueue", "yarl")

_FunctionCache = functools._lru_cache_wrapper
_tables: list[dict[Any, Any]] = []


def table() -> dict[Key, Value]:
    """Return a new table, for the life of the process."""
    made: dict[Key, Value] = {}
    _tables.append(made)
    return made


def clear_tables() -> None:
    """Clear all tables."""
    for each in _tables:
        each.clear()


def make_clearer() -> Callable[[], None]:
    """Return a function that clears all tables, and the caches of functions that exist now (rule 2).

    Caches that the collector has frozen are not found.
    """
    caches = [each for each in gc.get_objects() if isinstance(each, _FunctionCache) and _may_be_cleared(each)]

    def clear() -> None:
        clear_tables()
        for cache in caches:
            cache.cache_clear()

    return clear


def _may_be_cleared(cache: functools._lru_cache_wrapper[Any]) -> bool:
    library = str(getattr(cache, "__module__", "")).partition(".")[0]
    return library in LIBRARIES and cache.cache_parameters()["maxsize"] is not None
