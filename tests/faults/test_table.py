"""The table of faults names real tests, and each test of a fault has its row in it."""

from __future__ import annotations

import ast

from tests.faults.__main__ import BEGIN, END, PAGE
from tests.faults.measuring import ROOT
from tests.faults.table import FAULTS


def functions_of(path: str) -> dict[str, ast.AST]:
    """Return the test functions of a file by name."""
    tree = ast.parse((ROOT / path).read_text())
    return {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


def test_every_test_that_the_table_names_exists() -> None:
    named = [test for fault in FAULTS.values() for test in fault.tests]
    assert [test for test in named if test.partition("::")[2] not in functions_of(test.partition("::")[0])] == []


def test_every_test_of_a_fault_is_in_the_table() -> None:
    named = {test for fault in FAULTS.values() for test in fault.tests}
    files = [f"tests/faults/{path.name}" for path in (ROOT / "tests" / "faults").glob("test_*.py")]
    own = {f"{path}::{name}" for path in files if path != "tests/faults/test_table.py" for name in functions_of(path)}
    assert own - named == {test for test in own if test.startswith("tests/faults/test_history.py")}


def test_every_fault_is_measured_by_a_test_of_its_row() -> None:
    for name, fault in FAULTS.items():
        sources = [
            ast.unparse(functions_of(path)[test]) for path, _, test in (each.partition("::") for each in fault.tests)
        ]
        assert any(f"'{name}'" in source and "seen(" in source for source in sources), name


def test_the_published_table_has_a_line_for_each_fault() -> None:
    published = PAGE.read_text().partition(BEGIN)[2].partition(END)[0]
    assert [fault.title for fault in FAULTS.values() if f"| {fault.title} |" not in published] == []
