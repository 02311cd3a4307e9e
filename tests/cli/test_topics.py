"""`jobqueue topics`: subscribers, publishes, and what is published."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

from jobqueue.cli.remote.topics import line_of
from jobqueue.client import TopicEvent
from tests.cli.conftest import run_here
from tests.http.resources.test_topics import subscribe

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.cli.conftest import Run
    from tests.http.serving import Serving


async def test_topics_lists_the_subscribers(run: Run, serving: Serving) -> None:
    ran = await run("topics")
    assert (ran.code, ran.out, ran.err) == (0, "", "no handler subscribes to topics\n")
    subscribe(serving)
    assert [line["name"] for line in (await run("topics", "list")).lines] == ["bill", "audit"]
    table = (await run("topics", "-o", "table")).out
    assert "order.> order.*" in table
    assert "published: 0; without a subscriber: 0; listeners: none" in table


async def test_publish_prints_the_jobs(run: Run, serving: Serving, tmp_path: Path) -> None:
    subscribe(serving)
    (publication,) = (await run("topics", "publish", "order.paid", "id=17")).lines
    assert (publication["subscribers"], publication["deduplicated"]) == (2, False)
    given = tmp_path / "data.json"
    given.write_text('{"id": 18}')
    ran = await run("topics", "publish", "order.paid", "--data", f"@{given}", "--idempotency-key", "k", "-o", "id")
    first, second = ran.out.split()
    again = await run("topics", "publish", "order.paid", "--data", f"@{given}", "--idempotency-key", "k", "-o", "table")
    assert again.out == f"{first}  bill\n{second}  audit\n"
    ran = await run("topics", "publish", "nothing.here", "--data", "[1]", "-o", "table")
    assert (ran.code, ran.out, ran.err) == (0, "", "no handler subscribes to this topic\n")


async def test_faults_of_a_publish_end_the_command(run: Run, serving: Serving) -> None:
    subscribe(serving)
    ran = await run("topics", "publish", "order.paid", "id=x")
    assert (ran.code, "/data/id: subscriber 'bill'" in ran.err) == (2, True)
    ran = await run("topics", "publish", "order..paid")
    assert (ran.code, "token 2 is empty" in ran.err) == (2, True)
    ran = await run("topics", "publish", "order.paid", "--data", "{")
    assert (ran.code, "is not JSON" in ran.err) == (2, True)


async def test_listen_prints_data_as_it_is_published(serving: Serving, run: Run) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobqueue", "topics", "listen", "order.>", "-o", "jsonl", "--url", serving.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    while not serving.service.topics.heard:
        await asyncio.sleep(0.01)
    await run("topics", "publish", "order.paid", "id=17")
    line = await asyncio.wait_for(process.stdout.readline(), 10)
    assert b'"topic":"order.paid"' in line
    assert b'"data":{"id":17}' in line
    process.kill()
    await process.communicate()


def test_an_event_is_one_line_without_control_characters() -> None:
    event = TopicEvent(id="1", name="published", topic="a.b", data={"x": "\x1b[31m\n"})
    assert line_of(event) == '--:--:--  a.b  {"x":"\\u001b[31m\\n"}'
    assert line_of(TopicEvent(id="1", name="published", topic="a", omitted_bytes=70_000)).endswith("a  (70,000 bytes)")
    assert line_of(TopicEvent(id="1", name="reset")) == "--:--:--  reset: some may be missed"


def test_help_names_the_commands_of_topics(capsys: pytest.CaptureFixture[str]) -> None:
    assert "publish" in run_here(capsys, "topics", "--help").out
