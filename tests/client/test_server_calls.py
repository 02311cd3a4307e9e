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
    assert (await call("release_type", "echo"))["quarantined"] is None
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


async def test_findings_and_settings_are_documents(call: Call) -> None:
    findings = await call("findings")
    assert [each["kind"] for each in findings] == ["started_recently"]
    settings = await call("server_settings")
    assert {each["path"] for each in settings["settings"]} >= {"server.port", "queues.default.workers"}


async def test_a_server_without_webhooks_has_no_receivers(call: Call) -> None:
    assert await call("webhooks") == ()


async def test_the_log_takes_its_parameters(call: Call) -> None:
    assert await call("server_log") == {"lines": [], "dropped": 3}
    assert (await call("server_log", level="warning", event="job.", limit=7))["lines"] == []
    with pytest.raises(ErrorAnswer, match="level is one of"):
        await call("server_log", level="loud")


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


async def test_failures_are_documents_by_filter(call: Call) -> None:
    with pytest.raises(errors.JobFailed):
        await call("run", "fail")
    found = await call("failures", type="fail", args={}, since=datetime(2020, 1, 1, tzinfo=UTC), sort="count", limit=5)
    (group,) = found["groups"]
    assert (await call("failure", group["id"]))["sample"] == group["sample"]
    assert [job.id for job in (await call("list", failure=group["id"])).jobs] == group["sample"]
    with pytest.raises(ErrorAnswer, match="sort is one of newest, count"):
        await call("failures", sort="oldest")
    with pytest.raises(errors.JobNotFound, match="no failed job is in the group"):
        await call("failure", "0" * 16)


async def test_callers_are_blocked_and_unblocked(call: Call) -> None:
    await call("run", "echo")
    own = (await call("callers", limit=1))["callers"][0]["name"]
    with pytest.raises(errors.InvalidSubmission, match="it would be blocked itself"):
        await call("block_caller", own, 60)
    assert (await call("block_caller", "2001:db8::17", 60))["blocked_until"] is not None
    assert (await call("unblock_caller", "2001:db8::/64"))["blocked_until"] is None
    with pytest.raises(errors.JobNotFound, match="no caller has the name"):
        await call("block_caller", "nothing", 60)
