"""The order of test files that run at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tests.file_order import LONGEST, ROOT, ordered


def test_each_of_the_longest_files_exists() -> None:
    assert [name for name in LONGEST if not (ROOT / name).exists()] == []


def test_the_longest_files_come_first_and_then_those_with_most_tests() -> None:
    def tests(path: str, count: int) -> list[Any]:
        return [SimpleNamespace(path=ROOT / path, number=number) for number in range(count)]

    many, few, long, longer = "tests/core/test_job.py", "tests/test_log.py", "tests/e2e/test_tls.py", LONGEST[0]
    items: list[Any] = ordered([*tests(few, 1), *tests(long, 1), *tests(many, 3), *tests(longer, 2)])
    names = [longer, longer, long, many, many, many, few]
    assert [item.path for item in items] == [ROOT / name for name in names]
    assert [item.number for item in items] == [0, 1, 0, 0, 1, 2, 0]


def test_make_leaves_the_order_to_the_tests() -> None:
    assert "--dist loadfile --no-loadscope-reorder" in (ROOT / "Makefile").read_text()
