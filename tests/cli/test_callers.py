"""`jobqueue callers`: the list, blocks and their ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.cli.main import main

if TYPE_CHECKING:
    from tests.cli.conftest import Run

NOWHERE = "203.0.113.9"


async def test_callers_are_listed_with_their_use(run: Run) -> None:
    await run("submit", "echo", "--wait")
    (caller,) = (await run("callers")).lines
    assert (caller["name"], caller["kind"], caller["records"]) == ("127.0.0.1", "address", 1)
    ran = await run("callers", "-o", "table")
    assert "127.0.0.1" in ran.out
    assert (await run("callers", "list", "-o", "id")).out == "127.0.0.1\n"


async def test_a_caller_is_blocked_for_a_time_and_unblocked(run: Run) -> None:
    (blocked,) = (await run("callers", "block", NOWHERE, "--for", "10m")).lines
    assert blocked["blocked_until"] is not None
    assert "blocked until" in (await run("callers", "block", NOWHERE, "--for", "1h", "-o", "table")).out
    assert (await run("callers")).lines[0]["name"] == NOWHERE
    ran = await run("callers", "unblock", NOWHERE, "-o", "table")
    assert ran.out == f"{NOWHERE} is not blocked\n"


async def test_an_own_address_and_an_unknown_name_are_not_blocked(run: Run) -> None:
    ran = await run("callers", "block", "127.0.0.1", "--for", "10m")
    assert (ran.code, "it would be blocked itself" in ran.err) == (2, True)
    assert (await run("callers", "block", "nothing", "--for", "10m")).code == 1


async def test_without_a_caller_the_exit_code_says_so(run: Run) -> None:
    assert (await run("callers")).code == 1


def test_a_block_needs_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["callers", "block", "key:ci"])
    assert "--for" in capsys.readouterr().err
