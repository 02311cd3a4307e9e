"""Caches are cleared together, but never those of an application."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import pytest

from jobqueue import caches

if TYPE_CHECKING:
    from collections.abc import Callable


def squares_of(module: str, maxsize: int | None) -> tuple[Callable[[int], int], list[int]]:
    """Return a cached function as one of that module, and the numbers that it was called with."""
    called: list[int] = []

    def square(number: int) -> int:
        called.append(number)
        return number * number

    square.__module__ = module
    return functools.lru_cache(maxsize=maxsize)(square), called


def test_all_tables_are_cleared_and_stay_in_use() -> None:
    squares: dict[int, int] = caches.table()
    names: dict[str, bytes] = caches.table()
    squares[3], names["a"] = 9, b"a"
    caches.clear_tables()
    assert squares == {}
    assert names == {}
    squares[2] = 4
    caches.clear_tables()
    assert squares == {}


@pytest.mark.parametrize("module", ["jobqueue.http.response.timestamps", "yarl._url", "aiohttp.helpers"])
def test_bounded_caches_of_functions_of_the_package_and_its_libraries_are_cleared_too(module: str) -> None:
    square, called = squares_of(module, maxsize=8)
    squares: dict[int, int] = caches.table()
    clear = caches.make_clearer()
    squares[3] = square(3)
    clear()
    assert squares == {}
    assert square(3) == 9
    assert called == [3, 3]


@pytest.mark.parametrize(("module", "maxsize"), [("tasks", 8), ("tasks", None), ("jobqueue_models", 8)])
def test_the_caches_of_an_application_are_kept(module: str, maxsize: int | None) -> None:
    square, called = squares_of(module, maxsize)
    clear = caches.make_clearer()
    square(3)
    clear()
    square(3)
    assert called == [3]


def test_an_unbounded_cache_is_kept() -> None:
    square, called = squares_of("jobqueue.http.resources.console_files", maxsize=None)
    clear = caches.make_clearer()
    square(3)
    clear()
    square(3)
    assert called == [3]
