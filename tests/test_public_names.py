"""The public API in Python: `jobqueue` and six of its modules, listed by `dir` and used by every document."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import jobqueue
from jobqueue import errors

ROOT = Path(__file__).parents[1]
MODULES = {"client", "config", "errors", "http", "metrics", "testing"}
PUBLIC = {"jobqueue", *(f"jobqueue.{name}" for name in MODULES)}


def imported(source: str) -> set[str]:
    """Name the modules of the package that a piece of Python imports, or imports from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
    return {name for name in found if name.split(".")[0] == "jobqueue"}


def test_dir_lists_the_public_names_and_modules() -> None:
    public = {name for name in dir(jobqueue) if not name.startswith("_")}
    assert public == {name for name in jobqueue.__all__ if not name.startswith("_")} | MODULES


@pytest.mark.parametrize("name", sorted({*jobqueue.__all__, *MODULES}))
def test_every_public_name_is_an_attribute_of_the_package(name: str) -> None:
    assert getattr(jobqueue, name) is not None


def test_public_modules_are_available_after_importing_the_package() -> None:
    script = "import jobqueue; jobqueue.errors.Refused; jobqueue.testing.inline; jobqueue.http.application"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


@pytest.mark.parametrize(
    "name", ["InvalidSubmission", "JobFailed", "JobGone", "JobNotFound", "JobQueueError", "QueueFull", "Refused"]
)
def test_exceptions_of_the_package_are_those_of_errors(name: str) -> None:
    assert getattr(jobqueue, name) is getattr(errors, name)


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_name_in_all_of_a_public_module_exists(name: str) -> None:
    module = import_module(name)
    assert all(hasattr(module, listed) for listed in getattr(module, "__all__", ()))


def test_documents_and_examples_import_only_public_modules() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    blocks = [
        block for page in pages for block in re.findall(r"^```python[^\n]*\n(.*?)^```", page.read_text(), re.M | re.S)
    ]
    sources = [*blocks, *(path.read_text() for path in (ROOT / "examples").glob("*.py"))]
    used = set().union(*map(imported, sources))
    assert len(used) > 3
    assert used <= PUBLIC


def test_the_reference_lists_exactly_the_public_modules() -> None:
    page = (ROOT / "docs/reference/README.md").read_text()
    assert set(re.findall(r"^\| `(jobqueue[a-z.]*)` \|", page, re.M)) == PUBLIC
