"""The texts to copy for a form, with every option of a submission: each is run against a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.console.test_modules import COMMANDS, CURL, NODE, Copied, copied, run_in_node, wider_fixtures_change

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["copied", "wider_fixtures_change"]

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")

RUN_AT = (datetime.now(UTC) + timedelta(hours=1)).isoformat(timespec="milliseconds")


def texts(copied: Copied, options: dict[str, object]) -> dict[str, str]:
    given = {"type": "echo", "args": {"n": 1}, "options": options, "url": copied.server.url + "/", "keys": True}
    written: dict[str, str] = json.loads(run_in_node("form_copies.mjs", json.dumps(given)))
    return written


@pytest.mark.parametrize("name", COMMANDS)
def test_a_copied_form_submits_a_job_with_its_options(name: str, copied: Copied, tmp_path: Path) -> None:
    if name == "curl" and CURL is None:
        pytest.skip("there is no `curl` (Debian: apt install curl)")
    key = f"""{name}'s "key" \\ $(id)"""
    unique = {"value": f"{name}:reject'", "mode": "replace"}
    options = {"run_at": RUN_AT, "start_by_s": 7200.5, "unique": unique, "idempotency_key": key}
    copied.run(COMMANDS[name](texts(copied, options)[name]), tmp_path)
    job = copied.newest()
    assert datetime.fromisoformat(job["run_at"]) == datetime.fromisoformat(RUN_AT)
    assert (job["spec"]["unique"], job["spec"]["idempotency_key"]) == (unique, key)
    assert job["spec"]["start_by_at"] is not None


@pytest.mark.parametrize("name", COMMANDS)
def test_a_copied_form_submits_a_delayed_job(name: str, copied: Copied, tmp_path: Path) -> None:
    if name == "curl" and CURL is None:
        pytest.skip("there is no `curl` (Debian: apt install curl)")
    options = {"delay_s": 86_400.5, "unique": f"{name} alone"}
    copied.run(COMMANDS[name](texts(copied, options)[name]), tmp_path)
    job = copied.newest()
    assert job["spec"]["unique"] == {"value": f"{name} alone", "mode": "return"}
    delay = datetime.fromisoformat(job["run_at"]) - datetime.fromisoformat(job["created_at"])
    assert delay.total_seconds() == pytest.approx(86_400.5, abs=0.01)
