"""`jobqueue types` and `openapi`, and the type that was meant."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.remote.types import COLUMNS, Type

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run
    from tests.http.serving import Serving


async def echo_back() -> None: ...


async def test_types_lists_them_and_a_name_shows_its_arguments(run: Run) -> None:
    assert "big" in (await run("types", "-o", "id")).out.split()
    (big,) = (await run("types", "big")).lines
    assert big["run_in"] == "loop"
    shown = (await run("types", "big", "-o", "table")).out
    assert "size" in shown
    assert "required" in shown


def test_counts_that_a_key_may_not_know_are_empty_and_not_zero() -> None:
    hidden = Type(type="echo", queue="default", run_in="loop", attempts_max=1)
    known = msgspec.structs.replace(hidden, queued=0, running=0)
    cells = {column.title: (column.read(hidden), column.read(known)) for column in COLUMNS}
    assert (cells["state"], cells["queued"], cells["failed"]) == (("", "idle"), ("", "0"), ("", ""))


async def test_a_schema_is_that_of_the_arguments(run: Run) -> None:
    assert "size" in json.dumps(json.loads((await run("types", "big", "--schema")).out))
    assert {"big", "echo"} <= set(json.loads((await run("types", "--schema")).out))


async def test_an_unknown_type_is_exit_code_1_and_a_mistyped_one_is_suggested(run: Run) -> None:
    assert (await run("types", "bgi")).code == 1
    ran = await run("submit", "ehco")
    assert (ran.code, "did you mean 'echo'?" in ran.err) == (2, True)


async def test_openapi_is_printed_or_written(run: Run, tmp_path: Path) -> None:
    assert (await run("openapi")).lines[0]["openapi"].startswith("3.1")
    assert (await run("openapi", "--types", "-O", str(tmp_path / "api.json"))).code == 0
    assert json.loads((tmp_path / "api.json").read_text())["openapi"].startswith("3.1")


async def test_release_ends_a_quarantine_and_prints_the_type(run: Run, serving: Serving) -> None:
    for _ in range(serving.service.settings.queues["default"].retry_budget):
        await serving.queue.submit("fail")
    while not serving.service.backend.quarantined():  # the jobs run in this loop
        await asyncio.sleep(0.01)
    (released,) = (await run("types", "release", "fail")).lines
    assert (released["type"], released["quarantined"]) == ("fail", None)
    assert not serving.service.backend.quarantined()
    assert (await run("types", "release", "fial")).code == 1


async def test_a_type_with_the_name_of_a_command_is_shown_by_the_long_form(run: Run, serving: Serving) -> None:
    serving.queue.handler(echo_back, name="release")
    (shown,) = (await run("types", "show", "release")).lines
    assert shown["type"] == "release"
    assert (await run("types", "release")).code == 2, "a name is missing"
    assert "release" in (await run("types", "list", "-o", "id")).out.split()
