"""Caches are emptied together."""

from __future__ import annotations

import functools

from jobqueue import caches


def test_all_tables_are_emptied_and_stay_in_use() -> None:
    squares: dict[int, int] = caches.table()
    names: dict[str, bytes] = caches.table()
    squares[3], names["a"] = 9, b"a"
    caches.empty()
    assert squares == {}
    assert names == {}
    squares[2] = 4
    caches.empty()
    assert squares == {}


def test_caches_of_functions_are_emptied_too() -> None:
    made: list[int] = []

    @functools.lru_cache
    def square(number: int) -> int:
        made.append(number)
        return number * number

    squares: dict[int, int] = caches.table()
    empty_all = caches.emptying()
    squares[3] = square(3)
    empty_all()
    assert squares == {}
    assert square(3) == 9
    assert made == [3, 3]
