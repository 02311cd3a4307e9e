"""`jobqueue webhooks`: the receivers of a server, and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.webhooks.signature import keys_of
from tests.http.resources.test_webhooks import webhooks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.cli.conftest import Run
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]


async def test_the_receivers_are_a_list(run: Run, start: Start) -> None:
    serving = await start(webhooks=webhooks())
    table = await run("webhooks", f"--url={serving.url}", "-o", "table")
    assert table.code == 0
    assert [line.split()[0] for line in table.out.splitlines()[1:]] == ["crm", "@127.0.0.1:1"]
    listed = await run("webhooks", "list", f"--url={serving.url}")
    assert [(each["name"], each["state"], each["pending"]) for each in listed.lines] == [
        ("crm", "enabled", 0),
        ("@127.0.0.1:1", "enabled", 0),
    ]
    assert (await run("webhooks", f"--url={serving.url}", "-o", "id")).out == "crm\n@127.0.0.1:1\n"


async def test_a_server_without_webhooks_is_exit_code_1(run: Run) -> None:
    ran = await run("webhooks")
    assert (ran.code, ran.out) == (1, "")
    assert "the settings have no webhooks" in ran.err


async def test_each_secret_is_another_one_and_usable(run: Run) -> None:
    first, second = (await run("webhooks", "secret")).out.strip(), (await run("webhooks", "secret")).out.strip()
    assert first != second
    assert [len(key) for key in keys_of(f"{first} {second}")] == [32, 32]


async def test_submit_takes_a_callback(run: Run, start: Start) -> None:
    serving = await start(webhooks=webhooks())
    assert (await run("submit", "echo", f"--url={serving.url}", "--callback=http://127.0.0.1:1/")).code == 0
    ran = await run("submit", "echo", f"--url={serving.url}", "--callback=https://example.com/")
    assert ran.code == 2
    assert "/callback: no callbacks go to this host" in ran.err
