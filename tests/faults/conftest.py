"""Fixtures: a server of the handlers in `tests/faults/served.py`, and the file of their runs."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Serve = Callable[..., ServerProcess]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The file in which handlers witness their runs."""
    return tmp_path / "runs"


@pytest.fixture
def serve(tmp_path: Path, runs: Path) -> Iterator[Serve]:
    """Start a server with settings, as `section.key=value`; it is killed after the test, unless it has ended."""
    with contextlib.ExitStack() as started:

        def serve(*settings: str, environment: dict[str, str] | None = None, **options: Any) -> ServerProcess:
            variables = {"FAULTS_RUNS": str(runs), "PYTHONWARNINGS": "default::ResourceWarning", **(environment or {})}
            target = options.pop("target", "tests.faults.served:queue")
            server = ServerProcess(
                tmp_path / "spool", target, "runtime.processes=1", *settings, environment=variables, **options
            )
            return started.enter_context(server)

        yield serve
