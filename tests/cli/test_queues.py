"""`jobqueue queues`, `status` and `top`: the state of a server."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.cli.main import main, parser_of
from jobqueue.cli.remote import top
from jobqueue.cli.remote.output import Output
from jobqueue.cli.remote.queues import Queue
from jobqueue.cli.remote.samples import Rates, Sample, spark
from jobqueue.client import Unreachable
from jobqueue.client.protocol import Answer
from tests import store_figures
from tests.journal_figures import FIGURES, figures, give_journal
from tests.store_figures import give_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Ran, Run
    from tests.http.serving import Serving


async def test_queues_lists_them_and_a_name_shows_one(run: Run) -> None:
    (queue,) = (await run("queues")).lines
    assert queue["name"] == "default"
    assert (await run("queues", "default")).lines == (await run("queues", "show", "default")).lines
    assert (await run("queues", "-o", "id")).out == "default\n"
    assert "discipline fifo, weight 1" in (await run("queues", "default", "-o", "table")).out


async def test_a_queue_is_paused_resumed_and_changed(run: Run) -> None:
    assert (await run("queues", "pause", "default")).lines[0]["paused"] is True
    assert (await run("queues", "resume", "default")).lines[0]["paused"] is False
    ran = await run("queues", "pause", "default", "--reason", "a deploy\x1b", "--for", "1h30m", "-o", "table")
    assert "paused since" in ran.out
    assert ": a deploy\n" in ran.out
    pause = (await run("queues", "default")).lines[0]["pause"]
    begin, end = (datetime.fromisoformat(pause[name]) for name in ("since", "until"))
    assert round((end - begin).total_seconds()) == 5400
    ran = await run("queues", "pause", "default", "--for", "soon")
    assert (ran.code, "write it as 30s, 5m" in ran.err) == (2, True)
    ran = await run("queues", "pause", "default", "--for", "0s")
    assert (ran.code, "for_s" in ran.err) == (2, True)
    assert (await run("queues", "resume", "default")).lines[0]["pause"] is None
    (queue,) = (await run("queues", "set", "default", "workers=3", "discipline=lifo")).lines
    assert (queue["workers"], queue["discipline"]) == (3, "lifo")


async def test_a_mistyped_setting_or_command_is_suggested(run: Run) -> None:
    ran = await run("queues", "set", "default", "worker=3")
    assert (ran.code, "did you mean 'workers'?" in ran.err) == (2, True)
    ran = await run("queues", "puase", "default")
    assert (ran.code, "did you mean 'pause'?" in ran.err) == (2, True)


async def test_an_unknown_queue_and_a_wrong_value_are_refused_with_the_reason(run: Run) -> None:
    ran = await run("queues", "mail")
    assert (ran.code, ran.err) == (1, "jobqueue: there is no queue 'mail'; there are: default\n")
    ran = await run("queues", "set", "default", "workers=many")
    assert ran.code == 2
    assert "/workers" in ran.err


async def test_status_of_a_ready_server_is_exit_code_0(run: Run, serving: Serving) -> None:
    ran = await run("status")
    assert ran.code == 0
    (told,) = ran.lines
    assert (told["url"], told["status"], told["degraded"]) == (serving.url, "ready", [])
    shown = await run("status", "-o", "table")
    assert f"at {serving.url}: ready" in shown.out
    assert "default" in shown.out
    assert await run("status", "-q") == (0, "", "")


async def test_status_of_a_draining_server_is_exit_code_3(run: Run, serving: Serving) -> None:
    await run("submit", "hold")
    drained = asyncio.ensure_future(serving.service.drain(60.0))
    while not serving.service.draining:
        await asyncio.sleep(0)
    ran = await run("status")
    assert (ran.code, ran.lines[0]["status"]) == (3, "draining")
    assert (await run("status", "-q")).code == 3
    serving.gate.set()
    await drained


async def test_status_and_top_have_a_line_of_the_store(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    give_store(monkeypatch, store_figures.FIGURES)
    line = "store ok; Valkey 9.1.0, valkey://store:6379/0, 3 servers share it, durability async, calls 0.4 ms"
    assert f"  {line}\n" in (await run("status", "-o", "table")).out
    assert line in (await run("top", "--count", "1", "-o", "table")).out
    give_store(monkeypatch, store_figures.figures(up=False, reason="connection refused", servers=1, call_s_p50=None))
    told = (await run("status", "-o", "table")).out
    assert "  store down: connection refused; Valkey 9.1.0, valkey://store:6379/0, 1 server shares it, dur" in told
    give_store(monkeypatch, store_figures.figures(missing=(store_figures.LOST,)))
    assert "3 servers share it, 1 missing, durability" in (await run("status", "-o", "table")).out


async def test_status_and_top_have_a_line_of_the_journal(
    run: Run, serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "journal" not in (await run("status", "-o", "table")).out
    give_journal(monkeypatch, serving.service, FIGURES)
    line = "journal ok; sync always, 12 of 4,096 MiB, commits 0.9 ms, 7.1 ms at worst, 15 jobs restored"
    shown = await run("status", "-o", "table")
    assert (shown.code, f"  {line}\n" in shown.out) == (0, True)
    assert f"{line}\n" in (await run("top", "--count", "1", "-o", "table")).out
    give_journal(monkeypatch, serving.service, figures(state="failed", reason="Input/output error"))
    shown = await run("status", "-o", "table")
    assert (shown.code, f"at {serving.url}: journal failed\n" in shown.out) == (3, True)
    assert "  journal failed: Input/output error; sync always" in shown.out
    assert (await run("status", "-q")).code == 3


async def test_top_writes_a_document_for_each_reading_into_a_pipe(run: Run) -> None:
    ran = await run("top", "--count", "2", "--interval", "100ms")
    assert ran.code == 0
    assert [reading["status"] for reading in ran.lines] == ["ready", "ready"]
    assert ran.lines[0]["queues"][0]["name"] == "default"
    assert (await run("top", "--count", "1", "--queue", "mail")).lines[0]["queues"] == []


async def test_top_is_a_screen_on_a_terminal_and_q_ends_it(
    run: Run, on_terminal: Callable[..., Awaitable[Ran]]
) -> None:
    await run("submit", "fail", "--wait")
    ran = await on_terminal("top", typed="q", after="it can't be done")
    assert ran.code == 0
    assert "\x1b[?1049h" in ran.out
    assert "default" in ran.out
    assert "it can't be done" in ran.out
    assert ran.out.endswith("\x1b[?1049l")


async def test_top_shows_the_types_at_the_key_t(run: Run, on_terminal: Callable[..., Awaitable[Ran]]) -> None:
    await run("submit", "fail", "--wait")
    ran = await on_terminal("top", "--interval", "10s", typed="tq", after="it can't be done")
    assert ran.code == 0
    assert "wait p95" in ran.out
    assert "sizes" in ran.out


async def test_top_writes_the_types_into_a_pipe_on_request(run: Run) -> None:
    await run("submit", "fail", "--wait")
    (document,) = (await run("top", "--count", "1", "--types")).lines
    failed = {each["type"]: each["failed_total"] for each in document["types"]}
    assert (failed["fail"], failed["echo"]) == (1, 0)
    (document,) = (await run("top", "--count", "1", "--types", "--queue", "other")).lines
    assert document["types"] == []
    ran = await run("top", "--count", "2", "--interval", "100ms", "--types", "-o", "table")
    assert all(word in ran.out for word in ("done/s", "run p95", "wait p50", "echo"))


async def test_top_shows_no_escape_of_a_job(run: Run, on_terminal: Callable[..., Awaitable[Ran]]) -> None:
    await run("submit", "big", "--group", "x", "size=1", "--wait")
    await run("submit", "sizes", "--wait")
    ran = await on_terminal("top", "--count", "1")
    assert ran.code == 0


class Restarting:
    """A connection to a server that is away at every second reading."""

    url = "http://127.0.0.1:1"

    def __init__(self, queue: dict[str, object]) -> None:
        self.readings = 0
        self._queue = queue

    def answer(self, target: str) -> Answer:
        self.readings += 1
        if self.readings % 2 == 0:
            raise Unreachable(f"{self.url} can't be reached")
        return Answer(200, {}, b'{"status": "ready"}')

    def read(self, target: str) -> dict[str, object]:
        return {"queues": [self._queue]} if target == "/v1/queues" else {"jobs": []}


def test_top_waits_for_a_server_that_restarts(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["top", "--count", "3", "--interval", "100ms", "-o", "jsonl"]
    options = parser_of(words).parse_args(words)
    connection: Any = Restarting(msgspec.to_builtins(queue()))
    assert top.top(connection, Output(options), options) == 0
    out, err = capsys.readouterr()
    assert [json.loads(line)["status"] for line in out.splitlines()] == ["ready", "ready"]
    assert err.startswith("http://127.0.0.1:1 can't be reached; for ")


def test_top_without_a_server_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--url", "http://127.0.0.1:1"]) == 4
    assert capsys.readouterr().err == "jobqueue: http://127.0.0.1:1 can't be reached: Connection refused\n"


def queue(**members: int) -> Queue:
    counts = {"delayed": 0, "queued": 0, "running": 0, "weight": 1, "workers": 1, "capacity": 10, **members}
    return Queue(name="mail", discipline="fifo", paused=False, **counts)  # type: ignore[arg-type]


def sample(at: float, queue: Queue) -> Sample:
    return Sample(at=at, state="ready", degraded=[], queues=(queue,), documents=())


def test_rates_are_differences_of_totals() -> None:
    rates = Rates()
    assert rates.rows(sample(1.0, queue(submitted_total=10, succeeded_total=5)))[0].out_per_s == 0
    (row,) = rates.rows(sample(3.0, queue(submitted_total=20, succeeded_total=8, failed_total=1)))
    assert (row.in_per_s, row.out_per_s) == (5.0, 2.0)


def test_a_restart_of_the_server_is_no_negative_rate() -> None:
    rates = Rates()
    rates.rows(sample(1.0, queue(submitted_total=10, succeeded_total=5)))
    (row,) = rates.rows(sample(2.0, queue(submitted_total=1)))
    assert (row.in_per_s, row.out_per_s) == (0.0, 0.0)


def test_a_line_of_blocks_shows_small_rates_too() -> None:
    assert spark([0, 1, 1000]) == " ▁█"
    assert spark([0, 0]) == ""


async def test_without_rich_a_terminal_gets_plain_tables(
    run: Run, on_terminal: Callable[..., Awaitable[Ran]], tmp_path: Path
) -> None:
    (tmp_path / "rich.py").write_text("raise ImportError('it is not installed')")
    for argv in (["queues"], ["top", "--count", "1"], ["submit", "echo", "value=1", "--wait"]):
        ran = await on_terminal(*argv, PYTHONPATH=str(tmp_path))
        assert (ran.code, "\x1b" in ran.out) == (0, False), ran.out
        assert "default" in ran.out
