"""`jobqueue schedules`: what it prints, and what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Run

PUT = ("schedules", "put", "nightly", "echo", "value=hi", "--cron", "0 3 * * *", "--tz", "Europe/Berlin")


async def test_a_schedule_is_put_listed_shown_and_deleted(run: Run) -> None:
    assert (await run(*PUT, "--jitter", "5m", "--overlap", "queue", "--catch-up", "all")).code == 0
    (listed,) = (await run("schedules", "-o", "jsonl")).lines
    assert (listed["args"], listed["jitter_s"], listed["catch_up"]) == ({"value": "hi"}, 300, "all")
    table = (await run("schedules", "list", "-o", "table")).out
    assert "0 3 * * * Europe/Berlin" in table
    shown = (await run("schedules", "show", "nightly", "-o", "table")).out
    assert shown.count("next: ") == 5
    assert (await run("schedules", "delete", "nightly")).code == 0
    assert (await run("schedules", "list", "-o", "id")).out == ""


async def test_a_pause_shows_in_the_list_until_it_is_ended(run: Run) -> None:
    await run(*PUT)
    assert "paused" in (await run("schedules", "pause", "nightly", "-o", "table")).out
    assert "paused" not in (await run("schedules", "resume", "nightly", "-o", "table")).out


async def test_a_run_prints_the_job(run: Run) -> None:
    await run(*PUT)
    (job,) = (await run("schedules", "run", "nightly", "-o", "jsonl")).lines
    assert job["type"] == "echo"


async def test_a_schedule_without_a_meaning_is_exit_code_2(run: Run) -> None:
    ran = await run("schedules", "put", "nightly", "echo", "--cron", "0 0 30 2 *")
    assert ran.code == 2
    assert "/cron: it never comes" in ran.err


async def test_a_schedule_that_is_not_there_is_exit_code_1(run: Run) -> None:
    ran = await run("schedules", "show", "nope")
    assert ran.code == 1
    assert "there is no schedule 'nope'" in ran.err
