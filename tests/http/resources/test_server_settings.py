"""The settings in effect, over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.config.load import Loaded, Origin
from tests.http.keyed import ANN, OPS, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def read(http: aiohttp.ClientSession, **headers: str) -> dict[str, dict[str, Any]]:
    async with http.get("/v1/server/settings", headers=headers) as response:
        assert response.status == 200, await response.text()
        document = await response.json()
    return {each["path"]: each for each in document["settings"]}


async def test_each_setting_has_its_value_default_source_and_when_it_applies(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    origins = {("limits", "files"): Origin("file", "config.yaml:7")}
    serving.process.readings = [Loaded(serving.service.settings, origins)]
    told = await read(http)
    assert told["limits.files"] == {
        "path": "limits.files",
        "value": "3",
        "default": "16",
        "source": "file",
        "origin": "config.yaml:7",
        "applies": "live",
    }
    workers = told["queues.default.workers"]
    assert (workers["value"], workers["source"], workers["origin"]) == ("1000", "default", None)
    assert (told["server.port"]["applies"], told["log.level"]["applies"]) == ("restart", "live")


async def test_changes_by_requests_are_in_effect_and_have_that_source(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    serving.process.readings = [Loaded(serving.service.settings)]
    async with http.patch("/v1/queues/default", json={"workers": 7, "discipline": "lifo"}) as response:
        assert response.status == 200
    async with http.patch("/v1/server", json={"log_level": "debug"}) as response:
        assert response.status == 200
    told = await read(http)
    changed = {path: each["value"] for path, each in told.items() if each["source"] == "request"}
    assert changed == {"queues.default.workers": "7", "queues.default.discipline": "lifo", "log.level": "debug"}


async def test_settings_of_an_embedded_queue_come_from_its_application(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    serving.api.process = None
    told = await read(http)
    assert (told["limits.files"]["source"], told["limits.header_bytes"]["source"]) == ("application", "default")


async def test_keys_are_hidden_and_those_of_their_file_are_not_told(start: Start, http_to: Open) -> None:
    serving = await start(auth=auth())
    serving.process.readings = [Loaded(serving.service.settings, keys_of_file=frozenset({"ann"}))]
    http = await http_to(serving)
    async with http.get("/v1/server/settings", headers=bearer(OPS)) as response:
        text = await response.text()
    told = await read(http, **bearer(OPS))
    assert [told[f"auth.keys.ops.{name}"]["value"] for name in ("id", "sha256", "scopes")] == [
        "hidden",
        "hidden",
        '["admin"]',
    ]
    assert told["auth.keys.ops.id"]["default"] == "required"
    assert not any(path.startswith("auth.keys.ann") for path in told)
    for key in (OPS, ANN):
        assert key.digest not in text
        assert key.id not in text


async def test_changes_that_wait_for_a_restart_have_both_values(serving: Serving, http: aiohttp.ClientSession) -> None:
    serving.process.restart_required = {"server.port": "8080 -> 9090"}
    async with http.get("/v1/server/settings") as response:
        assert (await response.json())["restart_required"] == {"server.port": "8080 -> 9090"}
    async with http.get("/v1/server/settings?all=1") as response:
        assert response.status == 400


async def test_the_settings_of_a_thousand_keys_are_made_in_slices(start: Start, http_to: Open) -> None:
    import asyncio

    serving = await start()
    settings = serving.service.settings
    one = msgspec.convert(auth("ops"), type(settings.auth)).keys["ops"]
    serving.service.settings = msgspec.structs.replace(
        settings, auth=msgspec.structs.replace(settings.auth, keys={f"key{number}": one for number in range(1000)})
    )
    http = await http_to(serving)
    turns, over = 0, asyncio.Event()

    async def count() -> None:
        nonlocal turns
        while not over.is_set():
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.ensure_future(count())
    told = await read(http)
    over.set()
    await counting
    assert len(told) > 10_000
    assert turns > 100
