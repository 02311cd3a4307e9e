"""Each promise names tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from tests.docs.page import ROOT

PAGE = ROOT / "docs" / "explanation" / "risks.md"
COUNT = 21


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def promises() -> dict[int, str]:
    """Return the cells that name the tests, by the promises' numbers."""
    section = PAGE.read_text().partition("\n## Promises\n")[2].partition("\n## ")[0]
    return {int(number): cell for number, cell in re.findall(r"^\| (\d+) \|.*\| (.*) \|$", section, re.MULTILINE)}


def test_every_promise_has_a_row() -> None:
    assert list(promises()) == list(range(1, COUNT + 1))


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_the_tests_of_a_promise_exist(number: int) -> None:
    cell = promises()[number]
    tests = [(match[1], match[2]) for match in re.finditer(r"`(tests/[\w/]+\.py)::(test_\w+)`", cell)]
    assert tests
    assert [f"{path}::{name}" for path, name in tests if name not in names_in(path)] == []
    assert "::" not in re.sub(r"`tests/[\w/]+\.py::test_\w+`", "", cell), "a name that this test can't read"
