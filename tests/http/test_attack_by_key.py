"""Attacks with a key on the jobs of another: read, guess, change, exhaust, time. Each finds its own jobs, and totals.

The attacker has a key of the scope `submit`; where that ends in a 403, an attack is repeated with `operate`, which
includes `read`. What was tried is the list of the tests; what an attack sees of others is in `docs/how-to/access.md`.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core.ids import ALPHABET, ID_LENGTH
from jobqueue.http.routes import ROUTES
from jobqueue.keys import Key, new_key
from tests.http.keyed import ANN as VICTIM
from tests.http.keyed import BOB as ATTACKER
from tests.http.keyed import OPS, auth, request
from tests.http.keyed import SUB as SUBMITTER
from tests.http.serving import Serving, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Answer

    Start = Callable[..., Awaitable[Serving]]

SECRET_NOTE = "the victim's own words"


class Crime:
    """A server with jobs of the victim, and the attacker's requests."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        self.ids: dict[str, str] = {}
        self.seen = ""

    async def begin(self) -> None:
        for name, body in {
            "running": {"type": "hold", "args": {"note": SECRET_NOTE}, "unique": "u"},
            "delayed": {"type": "echo", "args": {"value": SECRET_NOTE}, "delay_s": 1000, "group": "theirs"},
            "succeeded": {"type": "echo", "args": {"value": SECRET_NOTE}},
            "failed": {"type": "fail"},
        }.items():
            answer = await self.ask("POST", "/v1/jobs", VICTIM, "Idempotency-Key: " + name, body=body)
            self.ids[name] = json.loads(answer.rest)["id"]
        for name in ("succeeded", "failed"):
            await self.serving.service.backend.wait(self.ids[name])
        self._before = await self.state()

    async def is_foreign(self) -> bool:
        """Whether no id passes for one of the attacker's own, as one in 4,096 does: its check has 12 bits."""
        answers = [await self.ask("GET", f"/v1/jobs/{job_id}", ATTACKER) for job_id in self.ids.values()]
        self.seen = ""
        return all(answer.status == 404 for answer in answers)

    async def state(self) -> list[str]:
        return [repr(await self.serving.service.backend.get(job_id)) for job_id in self.ids.values()]

    async def ask(self, method: str, path: str, key: Key | None, *lines: str, body: object = None) -> Answer:
        data = b"" if body is None else json.dumps(body).encode()
        async with self.serving.connect() as (reader, writer):
            writer.write(request(method, path, key, *lines, body=data))
            answer = await read_answer(reader)
        self.seen += answer.rest.decode() + json.dumps(answer.headers)
        return answer

    async def failed(self) -> None:
        """Check that the victim's jobs are as they were, and that no answer has a trace of them."""
        assert await self.state() == self._before
        for trace in (*self.ids.values(), SECRET_NOTE, "theirs"):
            assert trace not in self.seen


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
async def crime(start: Start, request: pytest.FixtureRequest) -> Crime:
    while True:
        serving = await start(
            auth=auth(),
            server={"fast_path": request.param},
            limits={"caller_jobs_max": 20},
            queues={"default": {"workers": 2, "discipline": "fair"}},
        )
        crime = Crime(serving)
        await crime.begin()
        if await crime.is_foreign():
            return crime


# -- read and change


async def test_a_submit_key_may_only_submit(crime: Crime) -> None:
    for row in ROUTES:
        if row.scope in (None, "submit"):
            continue
        for method in row.methods:
            for job_id in crime.ids.values():
                path = row.path.replace("{id}", job_id).replace("{name}", "default")
                body = {} if row.body is not None else None
                if method != "HEAD":
                    assert (await crime.ask(method, path, SUBMITTER, body=body)).status == 403
    await crime.failed()


async def test_known_ids_neither_read_nor_changed(crime: Crime) -> None:
    for job_id in crime.ids.values():
        told = []
        for method, below in (
            ("GET", ""),
            ("GET", "/result"),
            ("GET", "/events"),
            ("POST", ":cancel"),
            ("POST", ":retry"),
            ("POST", ":run"),
            ("DELETE", ""),
        ):
            for line in ("Prefer: wait=1", "If-None-Match: *", "Last-Event-ID: 1", "X-Forwarded-For: 127.0.0.1"):
                answer = await crime.ask(method, f"/v1/jobs/{job_id}{below}", ATTACKER, line)
                told.append((answer.status, answer.kind))
        assert set(told) == {(404, "job-not-found")}
    crime.seen = crime.seen.replace(next(iter(crime.ids.values())), "")
    for job_id in crime.ids.values():  # an answer repeats the id that it was asked for
        crime.seen = crime.seen.replace(job_id, "")
    await crime.failed()


async def test_filters_of_lists_and_actions_find_only_own_jobs(crime: Crime) -> None:
    for query in ("", "?group=theirs", "?state=running", "?state=failed", "?type=echo", "?limit=100"):
        page = json.loads((await crime.ask("GET", f"/v1/jobs{query}", ATTACKER)).rest)
        assert page == {"jobs": [], "next_cursor": None}
    for action in ("cancel", "retry", "run", "delete"):
        for job_filter in ({"older_than_s": 0}, {"group": "theirs"}, {"state": "failed"}, {"type": "hold"}):
            answer = await crime.ask("POST", f"/v1/jobs:{action}", ATTACKER, body=job_filter)
            assert json.loads(answer.rest) == {"count": 0}
    await crime.failed()


async def test_cursors_of_any_form_lead_to_no_job_of_others(crime: Crime) -> None:
    for sort in ("", "&sort=oldest"):
        for cursor in (*crime.ids.values(), "0" * ID_LENGTH, ALPHABET[0] * ID_LENGTH, ALPHABET[-1] * ID_LENGTH):
            answer = await crime.ask("GET", f"/v1/jobs?cursor={cursor}{sort}", ATTACKER)
            # A cursor of the other order is malformed, whatever the key.
            other_order = cursor == ALPHABET[0 if sort else -1] * ID_LENGTH
            assert answer.status == 400 if other_order else json.loads(answer.rest)["jobs"] == []
    await crime.failed()


@pytest.mark.parametrize("mode", ["return", "reject", "replace", "debounce"])
@pytest.mark.parametrize("key", [SUBMITTER, ATTACKER], ids=["submit", "operate"])
async def test_the_unique_value_of_a_job_touches_and_reveals_nothing(crime: Crime, mode: str, key: Key) -> None:
    body = {"type": "hold", "unique": {"value": "u", "mode": mode}, "delay_s": 1000}
    single = await crime.ask("POST", "/v1/jobs", key, body=body)
    assert (single.status, json.loads(single.rest)["id"] in crime.ids.values()) == (202, False)
    batch = await crime.ask("POST", "/v1/jobs:batch", key, body={"jobs": [body]})
    assert json.loads(batch.rest)["jobs"][0].get("id") not in crime.ids.values()
    await crime.failed()


# -- flows, schedules and topics

SCHEDULE = {"type": "echo", "args": {"value": SECRET_NOTE}, "every_s": 3600}


async def of_flow(crime: Crime) -> str:
    """Submit a flow of the victim, and return its id."""
    body = {"jobs": [{"name": "a", "type": "hold"}, {"name": "b", "type": "echo", "after": ["a"]}]}
    flow: str = json.loads((await crime.ask("POST", "/v1/flows", VICTIM, body=body)).rest)["id"]
    crime.seen = ""
    return flow


async def test_a_flow_is_as_absent_as_one_that_never_was(crime: Crime) -> None:
    flow = await of_flow(crime)
    absent = flow[:10] + "z" * (ID_LENGTH - 10)
    for method, below in (("GET", ""), ("GET", "/events"), ("POST", ":cancel"), ("POST", ":retry")):
        theirs, none = [await crime.ask(method, f"/v1/flows/{each}{below}", ATTACKER) for each in (flow, absent)]
        assert (theirs.status, theirs.rest.replace(flow.encode(), b"")) == (
            404,
            none.rest.replace(absent.encode(), b""),
        )
    for cursor in ("", f"?cursor={flow}", f"?limit=1&cursor={ALPHABET[-1] * ID_LENGTH}"):
        page = await crime.ask("GET", f"/v1/flows{cursor}", ATTACKER)
        assert page.status == 400 or json.loads(page.rest)["flows"] == []
    assert json.loads((await crime.ask("GET", f"/v1/jobs?parent={flow}", ATTACKER)).rest).get("jobs", []) == []
    assert json.loads((await crime.ask("GET", f"/v1/flows/{flow}", VICTIM)).rest)["state"] == "running"


@pytest.mark.parametrize("key", [SUBMITTER, ATTACKER], ids=["submit", "operate"])
async def test_no_job_waits_for_a_job_of_others(crime: Crime, key: Key) -> None:
    absent = crime.ids["running"][:10] + "z" * (ID_LENGTH - 10)
    for path, body in (
        ("/v1/jobs", lambda parent: {"type": "echo", "after": [parent]}),
        ("/v1/flows", lambda parent: {"jobs": [{"name": "a", "type": "echo", "after": [parent]}]}),
    ):
        none = await crime.ask("POST", path, key, body=body(absent))
        for job_id in crime.ids.values():
            theirs = await crime.ask("POST", path, key, body=body(job_id))
            assert (theirs.status, theirs.kind) == (none.status, none.kind) == (404, "job-not-found")
            crime.seen = crime.seen.replace(job_id, "")  # an answer repeats the id that it was asked for
    await crime.failed()


async def test_a_schedule_of_others_is_absent_and_its_name_free(crime: Crime) -> None:
    await crime.ask("PUT", "/v1/schedules/theirs", VICTIM, body=SCHEDULE)
    crime.seen = ""
    for method, below in (("GET", ""), ("DELETE", ""), ("POST", ":run"), ("POST", ":pause"), ("POST", ":resume")):
        answer = await crime.ask(method, f"/v1/schedules/theirs{below}", ATTACKER)
        assert (answer.status, answer.kind) == (404, "schedule-not-found")
    for query in ("", "?limit=1", "?cursor=a"):
        page = await crime.ask("GET", f"/v1/schedules{query}", ATTACKER)
        assert page.status == 400 or json.loads(page.rest)["schedules"] == []
    own = await crime.ask("PUT", "/v1/schedules/theirs", ATTACKER, body={"type": "echo", "every_s": 60})
    assert own.status == 201
    assert SECRET_NOTE not in crime.seen
    kept = json.loads((await crime.ask("GET", "/v1/schedules/theirs", VICTIM)).rest)
    assert (kept["every_s"], kept["pause"]) == (3600, None)


async def test_a_stream_of_topics_has_no_data_of_others(crime: Crime) -> None:
    body = {"data": SECRET_NOTE}
    async with crime.serving.connect() as (reader, writer):
        writer.write(request("GET", "/v1/topics/>/events", ATTACKER))
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert (await crime.ask("POST", "/v1/topics/theirs", VICTIM, "Idempotency-Key: k", body=body)).status == 202
        own = await crime.ask("POST", "/v1/topics/theirs", ATTACKER, "Idempotency-Key: k", body={"data": "own"})
        assert (own.status, "Job-Deduplicated" in own.headers) == (202, False)
        seen = await asyncio.wait_for(reader.readuntil(b'"own"'), 5)
    assert SECRET_NOTE.encode() not in seen
    for path in ("/v1/topics", "/v1/failures", "/v1/findings", "/v1/webhooks", "/v1/stats"):
        crime.seen = ""
        await crime.ask("GET", path, ATTACKER)
        assert SECRET_NOTE not in crime.seen


async def test_the_idempotency_key_of_a_submission_finds_no_job(crime: Crime) -> None:
    for name in crime.ids:
        for key in (SUBMITTER, ATTACKER):
            answer = await crime.ask("POST", "/v1/jobs", key, f"Idempotency-Key: {name}", body={"type": "echo"})
            assert answer.status == 202, "neither the job, nor a 422 that tells that the key was used"
    await crime.failed()


async def test_a_stream_of_all_jobs_tells_nothing_of_others(crime: Crime) -> None:
    async with crime.serving.connect() as (reader, writer):
        writer.write(request("GET", "/v1/events", ATTACKER))
        await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), 5)
        await crime.ask("POST", "/v1/jobs", VICTIM, body={"type": "fail", "group": "theirs"})
        own = json.loads((await crime.ask("POST", "/v1/jobs", ATTACKER, body={"type": "echo", "group": "own"})).rest)
        seen = await asyncio.wait_for(reader.readuntil(f'"id":"{own["id"]}"'.encode()), 5)
    assert set(re.findall(rb'"id":"([^"]+)"', seen)) == {own["id"].encode()}
    assert b"theirs" not in seen


async def test_the_message_of_a_quarantine_is_not_told(start: Start) -> None:
    crime = Crime(await start(auth=auth(), queues={"default": {"capacity": 10, "retry_budget": 1}}))
    for _ in range(4):
        await crime.ask("POST", "/v1/jobs", VICTIM, body={"type": "fail"})
    while not crime.serving.service.backend.stats()[1][0].quarantined:
        await asyncio.sleep(0)
    crime.seen = ""
    for key in (SUBMITTER, ATTACKER):
        while (answer := await crime.ask("POST", "/v1/jobs", key, body={"type": "fail"})).status == 202:
            pass
        assert answer.kind == "type-quarantined"
    for path in ("/v1/queues", "/v1/queues/default"):
        assert (await crime.ask("GET", path, ATTACKER)).status == 200
    assert "it can't be done" not in crime.seen
    assert "it can't be done" in (await crime.ask("GET", "/v1/queues", OPS)).rest.decode()


# -- guess


async def test_neighbours_of_an_own_id_are_absent(crime: Crime) -> None:
    rng = random.Random(7)
    own: str = json.loads((await crime.ask("POST", "/v1/jobs", ATTACKER, body={"type": "echo"})).rest)["id"]
    guesses = {
        own[:at] + character + own[at + 1 :] for at in range(3, ID_LENGTH) for character in rng.sample(ALPHABET, 5)
    }
    # The sequence of a job of the victim, which is no secret, with the tag of an own id.
    guesses |= {job_id[:10] + own[10:] for job_id in crime.ids.values()}
    for guess in guesses - {own, *crime.ids.values()}:
        answer = await crime.ask("GET", f"/v1/jobs/{guess}", ATTACKER)
        assert (answer.status, answer.kind) == (404, "job-not-found")


async def test_keys_that_resemble_a_valid_one_are_refused(crime: Crime) -> None:
    path = f"/v1/jobs/{crime.ids['succeeded']}"
    guesses = [Key(VICTIM.id, new_key().secret), Key(new_key().id, VICTIM.secret), Key(VICTIM.id, ATTACKER.secret)]
    guesses += [Key(VICTIM.id, VICTIM.secret[:-1] + letter) for letter in "abcdefgh" if letter != VICTIM.secret[-1]]
    guesses += [Key(VICTIM.id, VICTIM.digest[:52]), Key(VICTIM.id, "")]
    for key in guesses:
        assert (await crime.ask("GET", path, key)).status == 401
    for line in (f"Cookie: key={VICTIM.text}", f"X-Api-Key: {VICTIM.text}", "X-Forwarded-User: ann", "Host: key:ann"):
        assert (await crime.ask("GET", path, None, line)).status in (400, 401, 421)
    assert (await crime.ask("GET", f"{path}?key={VICTIM.text}", None)).status == 401
    await crime.failed()


# -- exhaust


async def test_a_flood_of_jobs_ends_at_the_quota_of_its_key(crime: Crime) -> None:
    body = {"type": "hold", "delay_s": 1000, "args": {}}
    statuses = [(await crime.ask("POST", "/v1/jobs", SUBMITTER, body=body)).status for _ in range(25)]
    assert statuses == [202] * 20 + [429] * 5
    batch = await crime.ask("POST", "/v1/jobs:batch", SUBMITTER, body={"jobs": [body] * 5})
    assert {item["status"] for item in json.loads(batch.rest)["jobs"]} == {429}
    assert (await crime.ask("POST", "/v1/jobs", VICTIM, body={"type": "echo"})).status == 202
    await crime.failed()


async def test_a_flood_under_the_group_of_another_key_takes_its_own_turns(crime: Crime) -> None:
    backend = crime.serving.service.backend
    await crime.ask("POST", "/v1/jobs", ATTACKER, body={"type": "hold"})  # both workers hold
    flood = [
        json.loads((await crime.ask("POST", "/v1/jobs", SUBMITTER, body={"type": "hold", "group": "g"})).rest)["id"]
        for _ in range(15)
    ]
    late = json.loads((await crime.ask("POST", "/v1/jobs", VICTIM, body={"type": "hold", "group": "g"})).rest)["id"]
    positions = [crime.serving.service.local.estimate_now(job).position for job in map(find(crime), (*flood, late))]
    assert positions[-1] is not None
    assert positions[-1] <= 2
    assert (await backend.get(late)).live


def find(crime: Crime) -> Callable[[str], Any]:
    return crime.serving.service.local.find


# -- time


class Calls:
    """The functions that Python calls while a request is answered."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __call__(self, frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            self.names.append(frame.f_code.co_qualname)
        elif event == "c_call":
            self.names.append(argument.__qualname__)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_foreign_and_an_absent_id_take_the_same_calls(crime: Crime, method: str) -> None:
    fast_path = crime.serving.server.fast_path
    if fast_path is None:
        pytest.skip("the stock path has coroutines, whose calls depend on the loop")
    absent = crime.ids["running"][:10] + "z" * 12
    client: Any = None
    traces = []
    for job_id in (*crime.ids.values(), absent) * 2:
        data = request(method, f"/v1/jobs/{job_id}", ATTACKER)
        async with crime.serving.connect() as (reader, writer):
            writer.write(data)  # so that the head is learned
            await reader.readuntil(b"\r\n\r\n")
        calls = Calls()
        now = asyncio.get_running_loop().time()
        sys.setprofile(calls)
        try:
            answer = fast_path.recall(data, client, now)
        finally:
            sys.setprofile(None)
        assert answer is not None
        assert answer.startswith(b"HTTP/1.1 404 ")
        traces.append(tuple(calls.names))
    # The first ones fill caches of lengths and dates.
    first, *others = traces[len(crime.ids) + 1 :]
    assert [other for other in others if other != first] == []
