"""Schedules over HTTP: what they answer, whose they are, and what they cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import api_limits
from tests.http.keyed import ANN, BOB, OPS, SUB, auth, bearer

if TYPE_CHECKING:
    import aiohttp

    from jobqueue.keys import Key

HOURLY = {"type": "echo", "every_s": 3600}


async def ask(
    http: aiohttp.ClientSession, method: str, path: str, json: Any = None, key: Key | None = None
) -> tuple[int, Any]:
    async with http.request(method, f"/v1/schedules{path}", json=json, headers=bearer(key)) as response:
        return response.status, await response.json() if response.content_length else None


async def test_a_schedule_is_put_replaced_read_and_deleted(http: aiohttp.ClientSession) -> None:
    status, document = await ask(http, "PUT", "/mine", {**HOURLY, "args": {"value": "hi"}})
    assert (status, document["source"], document["args"], document["every_s"]) == (201, "api", {"value": "hi"}, 3600)
    assert len(document["next_runs"]) == 5
    status, document = await ask(http, "PUT", "/mine", {"type": "echo", "cron": "0 3 * * *", "tz": "Europe/Berlin"})
    assert (status, document["every_s"], document["cron"], document["tz"]) == (200, None, "0 3 * * *", "Europe/Berlin")
    assert (await ask(http, "GET", "/mine"))[1] == document
    assert (await ask(http, "DELETE", "/mine"))[0] == 204
    assert (await ask(http, "GET", "/mine"))[0] == 404


async def test_pages_go_through_all_schedules_by_name(http: aiohttp.ClientSession) -> None:
    for name in ("b", "c", "a", "d", "e"):
        await ask(http, "PUT", f"/{name}", HOURLY)
    names, cursor = list[str](), ""
    while cursor is not None:
        _, page = await ask(http, "GET", f"?limit=2&cursor={cursor}")
        names += [schedule["name"] for schedule in page["schedules"]]
        cursor = page["next_cursor"]
    assert names == ["a", "b", "c", "d", "e"]


async def test_a_pause_lasts_through_a_new_definition_until_it_is_ended(http: aiohttp.ClientSession) -> None:
    await ask(http, "PUT", "/mine", HOURLY)
    _, paused = await ask(http, "POST", "/mine:pause")
    assert (paused["next_at"], paused["next_runs"]) == (None, [])
    _, replaced = await ask(http, "PUT", "/mine", {**HOURLY, "every_s": 60})
    assert replaced["pause"] == paused["pause"]
    _, resumed = await ask(http, "POST", "/mine:resume")
    assert resumed["pause"] is None
    assert resumed["next_at"] is not None


async def test_a_run_on_request_answers_with_its_job(http: aiohttp.ClientSession) -> None:
    await ask(http, "PUT", "/mine", {**HOURLY, "args": {"value": "hi"}})
    status, job = await ask(http, "POST", "/mine:run")
    assert (status, job["type"]) == (202, "echo")
    _, document = await ask(http, "GET", "/mine")
    assert (document["last"]["job_id"], document["submitted_total"]) == (job["id"], 1)


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"type": "echo"}, ["/every_s"]),
        ({**HOURLY, "cron": "* * * * *"}, ["/every_s"]),
        ({"type": "echo", "every_s": 0}, ["/every_s"]),
        ({"type": "echo", "every_s": 1.5}, ["/every_s"]),
        ({"type": "echo", "cron": "0 0 30 2 *"}, ["/cron"]),
        ({"type": "echo", "cron": "0 0 * * *", "tz": "Mars/Olympus"}, ["/tz"]),
        ({"type": "echo", "cron": "0 0 * * *", "tz": "../../etc/passwd"}, ["/tz"]),
        ({**HOURLY, "tz": "Europe/Berlin"}, ["/tz"]),
        ({**HOURLY, "catch_up": "all"}, ["/catch_up"]),
        ({**HOURLY, "jitter_s": 3601}, ["/jitter_s"]),
        ({**HOURLY, "every": 5}, ["/every"]),
        ({**HOURLY, "args": {"value": "x" * 5000}}, ["/args"]),
        ({**HOURLY, "type": "nope", "catch_up": "all"}, ["/catch_up", "/type"]),
        ({**HOURLY, "queue": "nowhere"}, ["/queue"]),
    ],
)
async def test_a_schedule_without_a_meaning_is_refused_whole(
    http: aiohttp.ClientSession, body: Any, pointers: list[str]
) -> None:
    status, problem = await ask(http, "PUT", "/mine", body)
    assert status == 422
    assert [error["pointer"] for error in problem["errors"]] == pointers
    assert (await ask(http, "GET", "/mine"))[0] == 404


async def test_a_schedule_of_another_key_is_as_one_that_is_not_there(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "bob", "ops")))
    await ask(http, "PUT", "/mine", HOURLY, ANN)
    absent = await ask(http, "GET", "/none", key=BOB)
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", ":run"), ("POST", ":pause"), ("POST", ":resume")):
        status, problem = await ask(http, method, f"/mine{path}", key=BOB)
        assert (status, {**problem, "detail": ""}) == (absent[0], {**absent[1], "detail": ""})
    assert (await ask(http, "GET", "", key=BOB))[1]["schedules"] == []
    assert (await ask(http, "PUT", "/mine", {**HOURLY, "every_s": 60}, BOB))[0] == 201, "names are each owner's own"
    assert (await ask(http, "GET", "/mine", key=ANN))[1]["every_s"] == 3600
    _, page = await ask(http, "GET", "", key=OPS)
    assert [(each["name"], each["caller"]) for each in page["schedules"]] == [("mine", "key:ann"), ("mine", "key:bob")]


async def test_the_cursor_of_a_page_tells_nothing_of_schedules_of_another_key(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "bob")))
    for name, key in (("a", ANN), ("b-hidden", BOB), ("c", ANN), ("d-hidden", BOB)):
        await ask(http, "PUT", f"/{name}", HOURLY, key)
    _, page = await ask(http, "GET", "?limit=1", key=ANN)
    assert ([each["name"] for each in page["schedules"]], page["next_cursor"]) == (["a"], "a/key:ann")
    _, page = await ask(http, "GET", "?limit=1&cursor=a/key:ann", key=ANN)
    assert ([each["name"] for each in page["schedules"]], page["next_cursor"]) == (["c"], None)


async def test_a_key_cannot_take_the_name_of_a_schedule_of_the_settings(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "ops"), schedules={"nightly": HOURLY}))
    for key in (ANN, OPS):
        status, problem = await ask(http, "PUT", "/nightly", HOURLY, key)
        assert (status, problem["type"]) == (409, "/problems/schedule-fixed")


async def test_a_key_that_sees_all_replaces_the_schedule_of_another_key(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "bob", "ops")))
    await ask(http, "PUT", "/mine", HOURLY, ANN)
    status, replaced = await ask(http, "PUT", "/mine", {**HOURLY, "every_s": 60}, OPS)
    assert (status, replaced["caller"], replaced["every_s"]) == (200, "key:ann", 60)
    assert (await ask(http, "GET", "/mine", key=ANN))[1]["every_s"] == 60
    assert len((await ask(http, "GET", "", key=OPS))[1]["schedules"]) == 1


async def test_a_key_that_may_not_submit_puts_no_schedule(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "sub", ann=["operate"])))
    for key, lacks in ((ANN, "submit"), (SUB, "operate")):
        status, problem = await ask(http, "PUT", "/mine", HOURLY, key)
        assert (status, problem["type"], problem["scope"]) == (403, "/problems/insufficient-scope", lacks)
    assert (await ask(http, "GET", "", key=ANN))[1]["schedules"] == []


async def test_jobs_of_a_schedule_belong_to_the_key_that_has_put_it(start: Any, http_to: Any) -> None:
    http = await http_to(await start(auth=auth("ann", "bob", "ops")))
    await ask(http, "PUT", "/mine", {**HOURLY, "args": {"value": "hi"}}, ANN)
    _, job = await ask(http, "POST", "/mine:run", key=OPS)
    for key, status in ((ANN, 200), (BOB, 404)):
        async with http.get(f"/v1/jobs/{job['id']}", headers={**bearer(key), "Prefer": "wait=5"}) as response:
            assert response.status == status


async def test_one_caller_can_put_a_bounded_number_of_schedules(
    http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.schedules.operations.SCHEDULES_OF_CALLER_MAX", 2)
    assert api_limits.SCHEDULES_OF_CALLER_MAX * 10 <= api_limits.SCHEDULES_MAX
    for name in ("a", "b"):
        await ask(http, "PUT", f"/{name}", HOURLY)
    status, problem = await ask(http, "PUT", "/c", HOURLY)
    assert (status, problem["detail"]) == (422, "/: this caller has put 2 schedules, the maximum: delete one")
    assert (await ask(http, "PUT", "/b", HOURLY))[0] == 200


async def test_arguments_that_a_handler_redacts_are_not_shown(serving: Any, http: aiohttp.ClientSession) -> None:
    @serving.queue.handler(redact=("password",))
    async def login(password: str) -> None: ...

    body = {"type": "login", "every_s": 3600, "args": {"password": "hunter2"}}
    _, document = await ask(http, "PUT", "/mine", body)
    assert "hunter2" not in str(document)
