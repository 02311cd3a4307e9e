"""The order of files where several run at once: the longest first, as one that began last would end alone.

How long a file takes is not told by its number of tests: those that start servers take seconds each.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parent.parent

LONGEST = (
    "tests/docs/test_how_to.py",
    "tests/e2e/test_server.py",
    "tests/clients/test_fleet.py",
    "tests/clients/behaviours/test_following.py",
    "tests/contract/test_backend.py",
    "tests/e2e/test_fleet.py",
    "tests/http/transport/test_fast_path.py",
    "tests/bench/test_overload.py",
    "tests/docs/test_pages.py",
    "tests/simulation/test_simulation.py",
    "tests/http/bad_input",
    "tests/http/test_access.py",
    "tests/http/transport/test_dead_requests.py",
    "tests/bench",
    "tests/runtime/pools/test_processes.py",
    "tests/faults",
    "tests/e2e",
    "tests/clients",
    "tests/core/test_engine_model.py",
    "tests/packaging",
    "tests/cli",
    "tests/chaos",
    "tests/http/openapi",
    "tests/http/transport",
    "tests/test_leaks.py",
    "tests/simulation",
    "tests/fuzz",
    "tests/examples",
    "tests/client",
    "tests/runtime",
)
"""Files, and folders of files, that take long, the longest first. The others follow by their numbers of tests."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the files, if this is one of several processes (pytest-xdist)."""
    if hasattr(config, "workerinput"):
        items[:] = ordered(items)


def ordered(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests by file, the longest file first; those of one file in their order."""
    counts = Counter(item.path for item in items)
    return sorted(items, key=lambda item: (_rank(item.path), -counts[item.path], str(item.path)))


def _rank(path: Path) -> int:
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else ""
    return next((rank for rank, long in enumerate(LONGEST) if f"{name}/".startswith(f"{long}/")), len(LONGEST))
