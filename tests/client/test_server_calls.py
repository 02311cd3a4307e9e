"""Calls on the server: types, statistics, problems, its own document, and what its operators do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from jobqueue import errors
from jobqueue.client import ErrorAnswer
from tests.client.calling import answer, scripted

if TYPE_CHECKING:
    from tests.client.calling import Call


async def test_types_of_the_server_are_documents(call: Call) -> None:
    types = await call("types")

    assert {"echo", "hold", "fail"} <= {each["type"] for each in types}
    assert (await call("job_type", "echo"))["type"] == "echo"
    with pytest.raises(ErrorAnswer, match="404") as missing:
        await call("job_type", "no/such type")
    assert missing.value.status == 404


async def test_the_server_and_its_problems_are_documents(call: Call) -> None:
    assert (await call("server"))["draining"] is False
    assert "job-gone" in str(await call("problems"))


async def test_statistics_take_their_parameters(call: Call) -> None:
    await call("run", "echo")

    assert (await call("stats"))["by"] == "queue"
    now = datetime.now(UTC)
    stats = await call("stats", "type", name="echo", since=now, step_s=10)
    assert (stats["by"], stats["step_s"]) == ("type", 10)
    with pytest.raises(ErrorAnswer):
        await call("stats", "nothing")


async def test_a_document_has_the_members_that_were_included(call: Call) -> None:
    job = await call("submit", "hold", {"note": "halfway"}, priority=3)

    plain, whole = await call("get", job.id), await call("get", job.id, include=["args", "spec", "files", "events"])

    assert (plain.args, plain.spec, plain.files, plain.events) == (None, None, None, None)
    assert whole.args == {"note": "halfway"}
    assert whole.spec["timeout_s"]
    assert (whole.files, whole.result_file, whole.events) == ((), None, None)
    with pytest.raises(ErrorAnswer, match="include takes no"):
        await call("get", job.id, include=["nothing"])


async def test_operators_reload_drain_and_change_the_log(kind: str) -> None:
    reloaded = {"changed": ["log.level"], "restart_required": []}
    answers = (answer(200, reloaded), answer(202, {"live": 3}), answer(200, {"log_level": "debug"}))
    async with scripted(kind, *answers) as (call, script):
        assert await call("reload") == reloaded
        assert await call("drain") == {"live": 3}
        assert await call("set_log_level", "debug") == {"log_level": "debug"}

    assert script.requests == ["POST /v1/server:reload", "POST /v1/server:drain", "PATCH /v1/server"]
    assert script.bodies == [b"", b"", b'{"log_level": "debug"}']


async def test_faults_of_the_settings_are_a_config_error(kind: str) -> None:
    fault = "config.yaml:3: log.level: must be one of debug, info, warning, error"
    problem = {"type": "/problems/invalid-settings", "detail": "1 fault", "faults": [fault]}
    plain = {"type": "/problems/invalid-settings", "detail": "config.yaml: not found"}
    async with scripted(kind, answer(422, problem), answer(422, plain)) as (call, _):
        with pytest.raises(errors.ConfigError, match=r"log\.level: must be one of"):
            await call("reload")
        with pytest.raises(errors.ConfigError, match=r"config\.yaml: not found"):
            await call("reload")


@pytest.mark.parametrize("body", [{}, {"types": 5}, {"types": [7]}, ["types"]])
async def test_an_answer_of_another_form_is_an_error(kind: str, body: object) -> None:
    async with scripted(kind, answer(200, body)) as (call, _):  # type: ignore[arg-type]
        with pytest.raises(ErrorAnswer, match="not an answer of this API"):
            await call("types")
