"""The bench of deploys on a small scale: a restart and a crash behind an inherited socket lose nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.deploys.__main__ import measure
from bench.deploys.clients import Clients
from bench.deploys.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("crash", [False, True])
async def test_a_restart_under_load_loses_no_submission(tmp_path: Path, crash: bool) -> None:
    seen = await measure("activation", tmp_path, restarts=1, clients=3, crash=crash)
    assert seen["accepted"] > 20
    assert seen["states"] == {"succeeded": seen["accepted"]}
    assert "no connection" not in seen["refused"], "connections wait for the next process"
    assert len(seen["restarts"]) == 1
    assert seen["gap_ms"] > 0


async def test_a_lost_job_is_counted(tmp_path: Path) -> None:
    supervisor = Supervisor(tmp_path, inherits=True)
    try:
        supervisor.start().wait_until_ready(supervisor.port)
        async with Clients(f"http://127.0.0.1:{supervisor.port}", 1) as load:
            await load.stop()
            load.accepted["never"] = "a" * 22
            states, _ = await load.outcomes()
        assert states["lost"] == 1
    finally:
        supervisor.close()
