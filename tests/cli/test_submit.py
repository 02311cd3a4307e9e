"""`jobqueue submit`: arguments, options, waiting, and the exit code of each end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.cli.conftest import Ran, Run
    from tests.http.serving import Serving


async def test_a_value_is_json_if_it_can_be_read_as_such_and_text_otherwise(run: Run) -> None:
    for written, value in (
        ("7", 7),
        ("7a", "7a"),
        ("007", "007"),
        ("true", True),
        ('"7"', "7"),
        ('{"a": [1]}', {"a": [1]}),
    ):
        ran = await run("submit", "echo", f"value={written}", "--wait")
        assert ran.code == 0
        (job,) = ran.lines
        assert (job["state"], job["result"]) == ("succeeded", value)


async def test_flags_may_stand_between_arguments(run: Run) -> None:
    ran = await run("submit", "--wait", "echo", "--priority", "3", "value=1", "--attempts", "2")
    (job,) = ran.lines
    assert (job["priority"], job["attempts_max"], job["result"]) == (3, 2, 1)


async def test_arguments_come_from_a_file_and_single_ones_win(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "args.json"
    file.write_text(json.dumps({"value": "of the file"}))
    assert (await run("submit", "echo", "--args", f"@{file}", "--wait")).lines[0]["result"] == "of the file"
    ran = await run("submit", "echo", "--args", f"@{file}", "value=own", "--wait")
    assert ran.lines[0]["result"] == "own"


async def test_files_become_parts_of_the_job(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    ran = await run("submit", "sizes", "--file", f"first={tmp_path / 'a'}", "--wait")
    assert ran.lines[0]["result"] == {"first": 5}


async def test_without_waiting_the_job_is_printed_as_accepted(run: Run, serving: Serving) -> None:
    ran = await run("submit", "hold", "-o", "id")
    assert ran.code == 0
    assert (await serving.service.backend.get(ran.out.strip())).live


async def test_a_failed_job_is_exit_code_1(run: Run) -> None:
    ran = await run("submit", "fail", "--wait")
    assert ran.code == 1
    assert ran.lines[0]["state"] == "failed"
    assert "handler_error: ValueError: it can't be done" in ran.err


async def test_a_wait_that_is_over_is_exit_code_1_and_the_job_goes_on(run: Run) -> None:
    ran = await run("submit", "hold", "--wait", "50ms")
    assert (ran.code, ran.out) == (1, "")
    assert "is still running after 0.05 s" in ran.err


async def test_follow_prints_the_events_and_then_the_job(run: Run) -> None:
    ran = await run("submit", "echo", "value=1", "--follow")
    *events, job = ran.lines
    assert events[-1]["event"] == "succeeded"
    assert job["result"] == 1


async def test_an_unknown_type_and_a_wrong_argument_are_exit_code_2(run: Run) -> None:
    ran = await run("submit", "ehco")
    assert ran.code == 2
    assert "no handler has the type 'ehco'" in ran.err
    ran = await run("submit", "big", "size=many")
    assert ran.code == 2
    assert "/args/size" in ran.err


async def test_a_rejection_is_exit_code_3_and_tells_when_to_come_back(
    start: Callable[..., Awaitable[Serving]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = await start(queues={"default": {"capacity": 1, "workers": 1}})
    monkeypatch.setenv("JOBQUEUE_URL", full.url)
    assert (await run("submit", "hold")).code == 0
    ran = await run("submit", "hold")
    assert ran.code == 3
    assert ran.err.startswith("jobqueue: rejected: ")
    assert "s (Retry-After)" in ran.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["echo", "value"], "'value' is no argument of the job; write it as name=value"),
        (["echo", "--delay", "soon"], "'soon' is no duration; write it as 30s, 5m, 1h30m or 250ms"),
        (["echo", "--at", "noon"], "'noon' is no instant"),
        (["echo", "--args", "[1]"], 'it must be a JSON object, as in {"width": 128}'),
        (["echo", "--args", "@missing.json"], "missing.json can't be read: No such file or directory"),
        (["echo", "--args", "{"], "it is not JSON"),
        (["echo", "--file", "part=missing"], "missing: no such file"),
        (["echo", "--file", "missing"], "write it as part=PATH"),
        (["echo", "--attempts", "0"], "must be a whole number, 1 or more, not '0'"),
        (["echo", "--delay", "1s", "--at", "2026-01-01"], "not allowed with argument"),
        (["echo", "--qeue", "mail"], "did you mean '--queue'?"),
        ([], "the following arguments are required: TYPE"),
    ],
)
async def test_a_wrong_value_is_one_line_and_exit_code_2(run: Run, argv: list[str], message: str) -> None:
    ran = await run("submit", *argv)
    assert ran.code == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1


async def test_a_terminal_gets_the_result_and_no_escape_of_the_job(on_terminal: Callable[..., Awaitable[Ran]]) -> None:
    ran = await on_terminal("submit", "echo", "value=\x1b[2Jcleared", "--wait", "--no-color")
    assert ran.code == 0
    assert '"\\u001b[2Jcleared"' in ran.out
    assert "\x1b[2Jcleared" not in ran.out


async def test_a_terminal_shows_the_progress(on_terminal: Callable[..., Awaitable[Ran]], serving: Serving) -> None:
    ended = asyncio.ensure_future(on_terminal("submit", "hold", "note=half\x07way", "--wait"))
    recorded = serving.service.backend
    while not any(queue.running for queue in recorded.stats()[1]):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)  # for the screen, which shows no event of its own
    serving.gate.set()
    ran = await ended
    assert ran.code == 0
    assert "half\\x07way" in ran.out
    assert '"held"' in ran.out
