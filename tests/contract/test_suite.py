"""The conformance suite covers the port."""

from __future__ import annotations

import ast
from pathlib import Path

from jobqueue.backend.base import Backend
from tests.contract import test_backend


def test_every_operation_of_the_port_is_called_by_a_test() -> None:
    tree = ast.parse(Path(test_backend.__file__).read_text(encoding="utf-8"))
    called = {
        node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    operations = {name for name in dir(Backend) if not name.startswith("_")}
    assert operations - called == set()
