"""`jobqueue flow`: graphs from the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Run

GRAPH = {"jobs": [{"name": "a", "type": "echo"}, {"name": "b", "type": "echo", "after": ["a"]}]}


async def test_a_graph_is_submitted_and_shown(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(GRAPH))
    ran = await run("flow", "submit", f"@{file}", "--wait", "10s")
    assert (ran.code, ran.lines[0]["state"]) == (0, "succeeded")
    id = ran.lines[0]["id"]
    assert f"{id}  running: " in ran.err
    table = (await run("flow", "show", id, "-o", "table")).out.splitlines()
    assert table[0].startswith(f"{id}  succeeded: 2 succeeded; ")
    assert [line.split()[:3] for line in table[-2:]] == [["a", "echo", "succeeded"], ["b", "echo", "succeeded"]]
    assert table[-1].split()[3] == "a"
    assert (await run("flow", "show", id, "-o", "id")).out == f"{id}\n"


async def test_a_failed_flow_ends_the_command_with_exit_code_1(run: Run) -> None:
    graph = json.dumps({"jobs": [{"name": "a", "type": "fail"}]})
    ran = await run("flow", "submit", graph)
    assert ran.code == 0
    id = ran.lines[0]["id"]
    ran = await run("flow", "wait", id, "--timeout", "10s")
    assert (ran.code, ran.lines[0]["state"]) == (1, "failed")
    assert (await run("flow", "retry", id)).lines[0]["state"] == "running"
    assert (await run("flow", "wait", id)).code == 1
    ran = await run("flow", "retry", "nothing")
    assert ran.code == 1


async def test_flows_are_listed_by_state(run: Run) -> None:
    assert (await run("flow", "list")).code == 1
    ids = []
    for kind in ("echo", "hold", "hold"):
        ran = await run("flow", "submit", json.dumps({"jobs": [{"name": "a", "type": kind}]}))
        ids.append(ran.lines[0]["id"])
    await run("flow", "wait", ids[0])
    ran = await run("flow", "list", "--state", "running")
    assert [(flow["id"], flow["live"]) for flow in ran.lines] == [(ids[2], 1), (ids[1], 1)]
    assert (await run("flow", "list", "-o", "id")).out.split() == ids[::-1]
    table = await run("flow", "list", "--limit", "1", "-o", "table")
    assert table.out.splitlines()[0].split() == ["id", "state", "live", "ended", "age", "took"]
    assert (table.out.split()[6:9], "the first 1; more with" in table.err) == ([ids[2], "running", "1"], True)
    ended = (await run("flow", "list", "--state", "succeeded", "--all", "-o", "table")).out.splitlines()
    assert (ended[-1].split()[:5], len(ended)) == ([ids[0], "succeeded", "0", "1", "succeeded"], 2)
    ran = await run("flow", "list", "--state", "failed")
    assert (ran.code, ran.err.strip()) == (1, "no flow matches")
    assert (await run("flow", "list", "--state", "nope")).code == 2


async def test_all_pages_of_a_flow_are_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.http.resources.flows.SHOWN_MAX", 2)
    graph = {"jobs": [{"name": f"job-{number}", "type": "echo"} for number in range(5)]}
    id = (await run("flow", "submit", json.dumps(graph), "--wait")).lines[0]["id"]
    (flow,) = (await run("flow", "show", id)).lines
    assert ([job["name"] for job in flow["jobs"]], flow["next_cursor"]) == ([f"job-{n}" for n in range(5)], None)
    table = (await run("flow", "show", id, "-o", "table")).out.splitlines()
    assert [line.split()[0] for line in table[-5:]] == [f"job-{n}" for n in range(5)]


async def test_a_flow_is_cancelled(run: Run) -> None:
    ran = await run("flow", "submit", json.dumps({"jobs": [{"name": "a", "type": "hold"}]}))
    id = ran.lines[0]["id"]
    assert (await run("flow", "cancel", id)).code == 0
    assert (await run("flow", "wait", id)).lines[0]["state"] == "cancelled"


async def test_a_fault_of_a_graph_has_its_place(run: Run) -> None:
    ran = await run("flow", "submit", json.dumps({"jobs": [{"name": "a", "type": "echo", "after": ["a"]}]}))
    assert (ran.code, "/jobs/0/after/0: a job can't come after itself" in ran.err) == (2, True)


async def test_a_job_is_submitted_after_another_one(run: Run) -> None:
    parent = (await run("submit", "hold")).lines[0]["id"]
    child = (await run("submit", "echo", "--after", parent, "--on-failure", "run")).lines[0]
    assert child["state"] == "waiting"
    assert (await run("jobs", "cancel", parent)).code == 0
    assert (await run("jobs", "wait", child["id"])).lines[0]["state"] == "succeeded"
