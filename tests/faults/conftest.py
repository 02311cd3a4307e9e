"""Fixtures: a server of the handlers in `tests/faults/served.py`, and the file of their runs."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ServerProcess
from tests.leaks import LATE_ERRORS

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
    """Start a server with settings, as `section.key=value`; it is killed after the test, unless it has ended.

    The test fails if a server logs an error of its own: an internal one, or one that shows when an object is collected.
    """
    servers: list[ServerProcess] = []
    with contextlib.ExitStack() as started:

        def serve(*settings: str, environment: dict[str, str] | None = None, **options: Any) -> ServerProcess:
            variables = {"FAULTS_RUNS": str(runs), "PYTHONWARNINGS": "default::ResourceWarning", **(environment or {})}
            target = options.pop("target", "tests.faults.served:queue")
            server = ServerProcess(
                tmp_path / "spool", target, "runtime.processes=1", *settings, environment=variables, **options
            )
            servers.append(server)
            return started.enter_context(server)

        yield serve
    lines = [json.dumps(event) for server in servers for event in server.events]
    assert [line for line in lines if any(words in line for words in (*LATE_ERRORS, "http.internal_error"))] == []
