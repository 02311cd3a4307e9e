"""The server over HTTP: its document, and the commands of admins."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue import __version__
from jobqueue.errors import ConfigError
from tests import store_figures
from tests.http.keyed import ANN, OPS, auth, bearer
from tests.http.resources.test_jobs import ended, submit
from tests.journal_figures import FIGURES, figures, give_journal
from tests.store_figures import give_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

COMMANDS = [("POST", "/v1/server:reload", None), ("POST", "/v1/server:drain", None)]
COMMANDS_AND_CHANGE = [*COMMANDS, ("PATCH", "/v1/server", {"log_level": "debug"})]


async def read(http: aiohttp.ClientSession, **headers: str) -> dict[str, Any]:
    async with http.get("/v1/server", headers=headers) as response:
        assert response.status == 200, await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def test_the_document_has_the_state_of_the_server(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo", args={"value": "x" * 100})
    held = await submit(http, type="hold")
    await ended(serving, job)
    serving.lag_s = 0.25
    async with http.get(f"/v1/jobs/{held['id']}/events"):
        server = await read(http)
    limits = serving.service.settings.limits
    assert (server["version"], server["pid"], server["draining"]) == (__version__, os.getpid(), False)
    assert job["id"].startswith(server["run"])
    assert server["loop_lag_s"] == 0.25
    assert (server["streams"], server["long_polls"], server["long_polls_max"]) == (1, 1, limits.long_polls_max)
    assert (server["jobs_live"], server["jobs_terminal"]) == (1, 1)
    assert 0 < server["jobs_bytes"] < server["jobs_bytes_max"]
    assert (server["spool_bytes"], server["spool_bytes_max"]) == (0, serving.service.settings.spool.bytes_max)
    assert server["threads"]["size"] == serving.service.settings.runtime.threads
    assert server["processes"] == {"size": 0, "busy": 0, "idle": 0, "restarts": 0}
    assert server["uptime_s"] >= 0
    assert server["cpu_s"] > 0
    assert server["process"]["config"] == "no file"
    serving.api.process = None
    assert (await read(http))["process"] is None


async def test_the_document_tells_of_the_journal_if_there_is_one(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await read(http))["journal"] is None
    give_journal(monkeypatch, serving.service, FIGURES)
    journal = (await read(http))["journal"]
    assert (journal["state"], journal["reason"], journal["sync"]) == ("ok", None, "always")
    assert (journal["bytes"], journal["bytes_max"], journal["segments"]) == (12 * 2**20, 4 * 2**30, 2)
    assert (journal["commits"], journal["errors"]) == (7, 1)
    assert (journal["commit_s_last"], journal["commit_s_p50"], journal["commit_s_max"]) == (0.0008, 0.0009, 0.0071)
    assert (journal["snapshot_at"], journal["snapshot_s"]) == ("2023-11-14T22:13:20.000Z", 0.25)
    assert (journal["recovered"], journal["recovered_s"]) == ({"queued": 12, "succeeded": 3}, 0.04)
    give_journal(monkeypatch, serving.service, figures(state="failed", reason="no room", snapshot_at=None))
    journal = (await read(http))["journal"]
    assert (journal["state"], journal["reason"], journal["snapshot_at"]) == ("failed", "no room", None)


async def test_the_document_has_the_figures_of_a_shared_store(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await read(http))["store"] is None
    give_store(monkeypatch, store_figures.FIGURES)
    store = (await read(http))["store"]
    assert (store["product"], store["up"], store["reason"], store["servers"]) == ("Valkey 9.1.0", True, None, 3)
    assert (store["address"], store["namespace"], store["durability"]) == ("valkey://store:6379/0", "jobs", "async")
    assert (store["calls"], store["call_s_p50"], store["copy_age_s"]) == (12, 0.0004, 0.25)
    assert (store["errors"], store["reconnects"]) == ({"connection": 2}, 1)
    (member,) = store["members"]
    assert (member["name"], member["own"], store["missing"]) == ("box-7:12", True, [])
    lost = store_figures.figures(missing=(store_figures.LOST,))
    give_store(monkeypatch, lost)
    (missing,) = (await read(http))["store"]["missing"]
    assert (missing["name"], missing["jobs"]) == ("box-8:13", 4)
    between = datetime.fromisoformat(missing["heard_at"]) - datetime.fromisoformat(member["joined_at"])
    assert between.total_seconds() == 5
    give_store(monkeypatch, store_figures.figures(up=False, reason="connection refused", call_s_p50=None))
    store = (await read(http))["store"]
    assert (store["up"], store["reason"], store["call_s_p50"]) == (False, "connection refused", None)


@pytest.mark.parametrize("state", ["failed", "full", "stalled"])
async def test_a_server_with_a_failed_journal_is_not_ready(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    give_journal(monkeypatch, serving.service, FIGURES)
    async with http.get("/readyz") as response:
        assert response.status == 200
    give_journal(monkeypatch, serving.service, figures(state=state, reason="/srv/jobs: Input/output error"))
    async with http.get("/readyz") as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (503, "/problems/journal-failed")
    assert problem["detail"] == f"the journal can't keep jobs ({state})", "the folder is for admins"
    assert response.headers["Retry-After"] == "10"


async def test_an_admin_changes_the_level_of_the_log(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.patch("/v1/server", json={"log_level": "debug"}) as response:
        assert (response.status, (await response.json())["process"]["log_level"]) == (200, "debug")
    assert (await read(http))["process"]["log_level"] == "debug"
    async with http.patch("/v1/server", json={}) as response:
        assert response.status == 200
    assert serving.process.level == "debug"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"log_level": "loud"}, "/log_level"),
        ({"log_level": None}, "/log_level"),
        ({"log_level": ["debug"]}, "/log_level"),
        ({"loglevel": "debug"}, "/loglevel"),
        ([], ""),
        ("debug", ""),
    ],
)
async def test_an_invalid_change_names_its_fault(
    serving: Serving, http: aiohttp.ClientSession, body: Any, pointer: str
) -> None:
    async with http.patch("/v1/server", json=body) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (422, "/problems/invalid-request")
    assert problem["errors"][0]["pointer"] == pointer
    assert serving.process.level == "info"


async def test_a_reload_is_answered_with_its_changes_or_its_faults(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.post("/v1/server:reload") as response:
        assert await response.json() == {"changed": ["log.level"], "restart_required": ["server.port"]}
    faults = [f"config.yaml:{line}:3: unknown setting 'x', did you mean 'y'?" for line in range(50)]
    serving.process.error = ConfigError(*faults)
    async with http.post("/v1/server:reload") as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (422, "/problems/invalid-settings")
    assert problem["detail"] == f"{faults[0]}; and 49 more"
    assert problem["faults"] == faults[:32]
    assert (await read(http))["process"]["config_reload_failed"] is True


async def test_a_drain_is_answered_with_the_work_that_is_left(serving: Serving, http: aiohttp.ClientSession) -> None:
    await submit(http, type="hold")
    for _ in range(2):
        async with http.post("/v1/server:drain") as response:
            settings = serving.service.settings.server
            assert response.status == 202
            assert await response.json() == {"live": 1, "drain_s": settings.drain_s, "linger_s": settings.linger_s}


@pytest.mark.parametrize(("method", "path", "body"), COMMANDS_AND_CHANGE)
async def test_commands_have_no_effect_where_the_api_is_mounted(
    serving: Serving, http: aiohttp.ClientSession, method: str, path: str, body: Any
) -> None:
    serving.api.process = None
    async with http.request(method, path, json=body) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (409, "/problems/not-served")


@pytest.mark.parametrize(("method", "path", "body"), COMMANDS_AND_CHANGE)
async def test_commands_of_foreign_pages_and_other_keys_have_no_effect(
    start: Start, http_to: Open, method: str, path: str, body: Any
) -> None:
    serving = await start()
    http = await http_to(serving)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Host": "evil.example"}):
        async with http.request(method, path, json=body, headers=headers) as response:
            assert response.status in (403, 421)
    keyed = await start(auth=auth())
    http = await http_to(keyed)
    for key, status in ((None, 401), (ANN, 403)):
        async with http.request(method, path, json=body, headers=bearer(key)) as response:
            assert response.status == status
    for each in (serving, keyed):
        assert (each.process.commands, each.process.level) == ([], "info")


async def test_commands_leave_a_line_with_their_caller(
    start: Start, http_to: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    http = await http_to(await start(auth=auth()))
    for method, path, body in COMMANDS_AND_CHANGE:
        async with http.request(method, path, json=body, headers=bearer(OPS)) as response:
            assert response.status in (200, 202)
    logged = [record.getMessage() for record in caplog.records if "server.commanded" in record.getMessage()]
    assert len(logged) == 3
    assert all("key:ops" in line for line in logged)
    assert "to=debug" in logged[-1]
