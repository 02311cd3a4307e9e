"""`jobqueue jobs`, `events` and `errors`: lists, single jobs, and changes of one or many."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.cli.conftest import Ran, Run
    from tests.http.serving import Serving


async def submitted(run: Run, *argv: str) -> str:
    """Submit a job, and return its id."""
    ran = await run("submit", *argv, "-o", "id")
    assert ran.code == 0
    return ran.out.strip()


async def test_a_list_is_one_document_in_a_line_newest_first(run: Run) -> None:
    ids = [await submitted(run, "hold") for _ in range(3)]
    ran = await run("jobs")
    assert [job["id"] for job in ran.lines] == ids[::-1]
    assert (await run("jobs", "list", "-o", "id")).out.split() == ids[::-1]
    assert [job["id"] for job in json.loads((await run("jobs", "-o", "json")).out)] == ids[::-1]


async def test_a_limit_bounds_a_list_and_all_reads_every_page(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobqueue.cli.remote.job_filters.PAGE_MAX", 2)
    ids = [await submitted(run, "hold") for _ in range(5)]
    assert (await run("jobs", "--limit", "3", "-o", "id")).out.split() == ids[:1:-1]
    assert (await run("jobs", "--all", "-o", "id")).out.split() == ids[::-1]


async def test_jobs_of_several_states_are_merged_by_age(run: Run) -> None:
    failed = (await run("submit", "fail", "--wait")).lines[0]["id"]
    held = await submitted(run, "hold")
    echoed = (await run("submit", "echo", "--wait")).lines[0]["id"]
    ran = await run("jobs", "--state", "failed", "--state", "succeeded", "-o", "id")
    assert ran.out.split() == [echoed, failed]
    assert held not in ran.out


async def test_a_list_without_a_match_is_exit_code_1(run: Run) -> None:
    ran = await run("jobs", "--type", "nothing")
    assert (ran.code, ran.out, ran.err) == (1, "", "no job matches\n")


async def test_a_table_escapes_the_texts_of_a_job(run: Run) -> None:
    await run("submit", "hold", "--group", "g\u202e", "note=\x1b]0;owned\x07", "-q")
    ran = await run("jobs", "-o", "table")
    assert "\\x1b]0;owned\\x07" in ran.out
    assert "\x1b" not in ran.out
    id = (await run("jobs", "-o", "id")).out.strip()
    assert "\\u202e" in (await run("jobs", "show", id, "-o", "table")).out


async def test_a_terminal_gets_a_table_and_a_pipe_documents(
    run: Run, on_terminal: Callable[..., Awaitable[Ran]]
) -> None:
    id = await submitted(run, "hold")
    shown = await on_terminal("jobs", "list")
    assert shown.code == 0
    head, _, row = shown.out.strip().splitlines()[-3:]
    assert "attempt" in head
    assert id in row
    assert (await run("jobs", "list")).lines[0]["id"] == id


async def test_no_color_leaves_no_escapes(run: Run, on_terminal: Callable[..., Awaitable[Ran]]) -> None:
    await run("submit", "fail", "--wait")
    assert "\x1b[31m" in (await on_terminal("jobs")).out
    assert "\x1b[31m" not in (await on_terminal("jobs", "--no-color")).out
    assert "\x1b[31m" not in (await on_terminal("jobs", NO_COLOR="1")).out


async def test_the_result_of_a_job_is_printed_or_written(run: Run, tmp_path: Path) -> None:
    id = (await run("submit", "echo", 'value={"a":1}', "--wait")).lines[0]["id"]
    assert (await run("jobs", "result", id)).out == '{"a":1}\n'
    report = (await run("submit", "report", "size=7", "--wait")).lines[0]["id"]
    ran = await run("jobs", "result", report)
    assert ran.code == 2
    assert "give -O FILE" in ran.err
    assert (await run("jobs", "result", report, "-O", str(tmp_path / "r"))).code == 0
    assert (tmp_path / "r").read_bytes() == b"rrrrrrr"


async def test_waiting_for_a_job_ends_with_the_code_of_its_end(run: Run) -> None:
    echoed = (await run("submit", "echo", "value=1", "--wait")).lines[0]["id"]
    failed = (await run("submit", "fail", "--wait")).lines[0]["id"]
    assert (await run("jobs", "wait", echoed)).code == 0
    assert (await run("jobs", "wait", failed)).code == 1
    assert (await run("jobs", "wait", await submitted(run, "hold"), "--timeout", "50ms")).code == 1


async def test_an_unknown_id_is_exit_code_1(run: Run) -> None:
    for command in ("show", "wait", "result", "events", "retry", "cancel", "delete", "run"):
        ran = await run("jobs", command, "no-such-job")
        assert (ran.code, ran.out) == (1, ""), command
        assert "no-such-job" in ran.err


async def test_each_of_several_ids_is_tried(run: Run) -> None:
    failed = (await run("submit", "fail", "--wait")).lines[0]["id"]
    ran = await run("jobs", "delete", "no-such-job", failed)
    assert ran.code == 1
    assert ran.lines == [{"id": failed, "state": None}]
    ran = await run("jobs", "show", failed)
    assert ran.code == 1
    assert "no longer held" in ran.err


async def test_a_delayed_job_is_run_and_cancelled(run: Run) -> None:
    id = await submitted(run, "hold", "--delay", "1h")
    assert (await run("jobs", "run", id)).lines[0]["id"] == id
    await submitted(run, "hold", "--delay", "1h", "--group", "later")
    assert (await run("jobs", "run", "--group", "later", "--dry-run")).lines[0]["count"] == 1
    assert (await run("jobs", "run", "--group", "later", "--yes")).lines == [{"count": 1}]
    assert (await run("jobs", "run", "--group", "later", "--yes")).code == 1
    assert (await run("jobs", "cancel", id)).code == 0


async def test_a_failed_job_is_retried(run: Run) -> None:
    id = (await run("submit", "fail", "--wait")).lines[0]["id"]
    assert (await run("jobs", "retry", id)).code == 0
    assert (await run("jobs", "wait", id)).lines[0]["attempt"] == 2


async def test_an_action_needs_ids_or_filters(run: Run) -> None:
    ran = await run("jobs", "delete")
    assert ran.code == 2
    assert "nothing acts on all jobs by omission" in ran.err
    ran = await run("jobs", "delete", "some-id", "--type", "fail")
    assert ran.code == 2
    assert "but not both" in ran.err


async def test_an_action_by_filters_needs_yes_in_a_pipe(run: Run) -> None:
    await run("submit", "fail", "--wait")
    ran = await run("jobs", "retry", "--type", "fail")
    assert ran.code == 2
    assert "give --yes" in ran.err
    assert (await run("jobs", "retry", "--type", "fail", "--yes")).lines == [{"count": 1}]
    assert (await run("jobs", "retry", "--type", "nothing", "--yes")).code == 1


async def test_the_events_of_a_job_end_with_it(run: Run) -> None:
    id = (await run("submit", "echo", "--wait")).lines[0]["id"]
    ran = await run("jobs", "events", id)
    assert [event["event"] for event in ran.lines] == ["succeeded"]


async def test_failed_jobs_are_grouped_by_masked_errors(run: Run) -> None:
    for _ in range(3):
        await run("submit", "fail", "--wait")
    ran = await run("errors")
    (group,) = ran.lines
    assert (group["count"], group["type"], group["code"]) == (3, "fail", "handler_error")
    assert group["message"] == "ValueError: it can't be done"
    assert (await run("jobs", "show", group["sample"][0])).code == 0
    assert len((await run("jobs", "list", "--failure", group["id"])).lines) == 3
    assert (await run("jobs", "retry", "--failure", group["id"], "--dry-run")).lines[0]["count"] == 3
    assert (await run("errors", "--failure", "0" * 16)).code == 1


async def test_groups_of_errors_are_a_table_for_a_person(run: Run) -> None:
    await run("submit", "fail", "--wait")
    ran = await run("errors", "-o", "table")
    assert all(word in ran.out for word in ("ValueError: it can't be done", "fail", "handler_error", "\u2588", "ago"))


async def test_without_a_failed_job_there_are_no_errors(run: Run, serving: Serving) -> None:
    assert (await run("errors")).code == 1


async def test_jobs_are_found_by_error_message_argument_and_age(run: Run) -> None:
    failed = (await run("submit", "fail", "--wait")).lines[0]["id"]
    held = (await run("submit", "hold", "note=seventeen", "-o", "id")).out.strip()
    for filters, found in (
        (["--error", "handler_error"], [failed]),
        (["--message", "CAN'T be"], [failed]),
        (["--arg", "note=seventeen"], [held]),
        (["--id-prefix", held], [held]),
        (["--parent", held], []),
        (["--since", "1h", "--sort", "oldest"], [failed, held]),
        (["--until", "2020-01-01"], []),
        (["--older-than", "1h"], []),
    ):
        assert (await run("jobs", "list", *filters, "-o", "id")).out.split() == found, filters
    assert (await run("jobs", "--count")).lines == [{"total": 2, "total_complete": True}]
    ran = await run("jobs", "list", "--error", "handler_eror")
    assert (ran.code, "did you mean 'handler_error'?" in ran.err) == (2, True)


async def test_a_dry_run_counts_and_changes_nothing(run: Run) -> None:
    id = (await run("submit", "hold", "note=x", "-o", "id")).out.strip()
    (told,) = (await run("jobs", "cancel", "--arg", "note=x", "--dry-run")).lines
    assert (told["count"], told["sample"]) == (1, [id])
    assert (await run("jobs", "show", id)).lines[0]["state"] == "running"


async def test_an_action_by_filters_is_asked_about_on_a_terminal(
    run: Run, on_terminal: Callable[..., Awaitable[Ran]]
) -> None:
    id = (await run("submit", "hold", "-o", "id")).out.strip()
    ran = await on_terminal("jobs", "cancel", "--type", "hold", typed="n\n", after="[y/N]")
    assert ran.code == 2
    assert "cancel 1 job? [y/N]" in ran.out
    assert (await run("jobs", "show", id)).lines[0]["state"] == "running"
    ran = await on_terminal("jobs", "cancel", "--type", "hold", typed="y\n", after="[y/N]")
    assert ran.code == 0
    assert "1 cancelled" in ran.out


async def test_a_failed_job_is_submitted_again_with_changes(run: Run) -> None:
    id = (await run("submit", "fail", "--priority", "4", "--wait")).lines[0]["id"]
    ran = await run("jobs", "resubmit", id, "--wait", "--priority", "5")
    (job,) = ran.lines
    assert (ran.code, job["state"], job["priority"]) == (1, "failed", 5)
    assert job["id"] != id
    echoed = (await run("submit", "echo", "value=1", "--wait")).lines[0]["id"]
    ran = await run("jobs", "resubmit", echoed)
    assert (ran.code, "keeps the arguments of live and failed jobs only" in ran.err) == (2, True)
