"""Access by keys: each request is admitted by its key and scope, and sees the jobs of its own key."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue.core.ids import ID_LENGTH
from jobqueue.core.tuning import Tuning
from jobqueue.http.console_routes import is_of_console
from jobqueue.http.routes import ROUTES
from jobqueue.keys import IMPLIED, SCOPES, Key, Scope
from jobqueue.log import event_logger
from tests.http.declared import ANSWERS
from tests.http.keyed import ANN, BOB, OPS, READER, STRANGER, SUB, auth, bearer, reload, request
from tests.http.serving import Answer, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobqueue.http.route import Route
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]

ABSENT = "z" * ID_LENGTH
TRIES = 3
"""Servers until one has ids that are foreign to other keys: two by chance in a row are one in 17 million."""
REALM = 'Bearer realm="jobqueue"'
EVERY_PATH = pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])


async def serve(start: Start, fast_path: bool = True, section: dict[str, Any] | None = None, **more: Any) -> Serving:
    return await start(auth=section or auth(), server={"fast_path": fast_path}, **more)


async def ask(serving: Serving, data: bytes) -> Answer:
    """Send one request over a connection of its own."""
    async with serving.connect() as (reader, writer):
        writer.write(data)
        return await read_answer(reader)


async def submit(serving: Serving, key: Key, kind: str = "hold", **fields: Any) -> str:
    answer = await ask(serving, request("POST", "/v1/jobs", key, body=json.dumps({"type": kind, **fields}).encode()))
    assert answer.status == 202
    job_id: str = json.loads(answer.rest)["id"]
    return job_id


async def end_of(serving: Serving, key: Key, job_id: str) -> dict[str, Any]:
    """Wait for a job's end."""
    answer = await ask(serving, request("GET", f"/v1/jobs/{job_id}", key, "Prefer: wait=10"))
    assert answer.status == 200
    document: dict[str, Any] = json.loads(answer.rest)
    return document


@contextlib.asynccontextmanager
async def session(serving: Serving, key: Key | None) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(serving.url, headers=bearer(key), trace_configs=[ANSWERS.trace]) as http:
        yield http


# -- routes and scopes


def line_of(row: Route, method: str, key: Key | None) -> bytes:
    path = re.sub(r"\{\w+\}", "default", row.path.replace("{id}", ABSENT))
    return request(method, path, key, "Connection: close", body=b"{}" if row.body is not None else b"")


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: row.name)
@EVERY_PATH
async def test_each_route_is_answered_for_its_scope_only(start: Start, row: Route, fast_path: bool) -> None:
    names: dict[Scope, str] = {"submit": "sub", "read": "reader", "operate": "ann", "admin": "ops"}
    keys = {"sub": SUB, "reader": READER, "ann": ANN, "ops": OPS}
    # The statistics, and forecasts on them, are for keys that see all jobs.
    shared = row.name in ("get_stats", "simulate_queue")
    serving = await serve(start, fast_path, auth(ann=["operate"], shared=shared))
    for method in row.methods:
        without = await ask_head(serving, line_of(row, method, None))
        assert (without.status == 401) == (row.scope is not None)
        for scope in SCOPES:
            answer = await ask_head(serving, line_of(row, method, keys[names[scope]]))
            needed = (each for each in (row.scope, row.further_scope) if each is not None)
            missing = next((each for each in needed if each not in IMPLIED[scope]), None)
            if missing is None:
                assert answer.status not in (401, 403)
                continue
            assert answer.status == 403
            challenge = f'{REALM}, error="insufficient_scope", scope="{missing}"'
            assert answer.headers["www-authenticate"] == challenge


async def ask_head(serving: Serving, data: bytes) -> Answer:
    """As `ask`, without the body: a stream has no end."""
    async with serving.connect() as (reader, writer):
        writer.write(data)
        return Answer(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5))


def test_only_probes_and_descriptions_need_no_key() -> None:
    open_paths = {row.path for row in ROUTES if row.scope is None and not is_of_console(row)}
    assert open_paths == {"/livez", "/readyz", "/problems", "/problems/{slug}", "/"}
    assert {row.scope for row in ROUTES} == {None, "submit", "read", "operate", "admin"}


@EVERY_PATH
async def test_a_403_names_the_missing_scope(start: Start, fast_path: bool) -> None:
    answer = await ask(await serve(start, fast_path), request("GET", f"/v1/jobs/{ABSENT}", SUB))
    assert answer.problem == {
        "type": "/problems/insufficient-scope",
        "title": "API key lacks a scope",
        "status": 403,
        "detail": "the key lacks the scope read, which this request needs",
        "scope": "read",
    }


@pytest.mark.parametrize("path", ["/nowhere", "/problems/a/b", "/v1/jobs/a/b/c", "/livez/x"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS"])
async def test_a_path_without_a_resource_needs_a_key(start: Start, method: str, path: str) -> None:
    serving = await serve(start)
    assert (await ask(serving, request(method, path, None))).status == 401
    assert (await ask(serving, request(method, path, SUB))).status in (404, 405)


async def test_a_preflight_needs_no_key_and_allows_one_to_be_sent(start: Start) -> None:
    serving = await start(auth=auth(), server={"origins": ["https://app.example"]})
    lines = ("Origin: https://app.example", "Access-Control-Request-Method: POST")
    answer = await ask(serving, request("OPTIONS", "/v1/jobs", None, *lines))
    assert answer.status == 204
    assert "Authorization" in answer.headers["access-control-allow-headers"].split(", ")
    foreign = await ask(serving, request("GET", f"/v1/jobs/{ABSENT}", ANN, "Origin: https://evil.example"))
    assert (foreign.status, foreign.kind) == (403, "cross-origin")


async def test_a_body_is_asked_for_only_with_a_key(start: Start) -> None:
    serving = await serve(start)
    for key, status in ((None, 401), (STRANGER, 401), (READER, 403), (SUB, 100)):
        lines = ("Content-Type: application/json", "Content-Length: 15", "Expect: 100-continue")
        answer = await ask_head(serving, request("POST", "/v1/jobs", key, *lines))
        assert answer.status == status


# -- 401


VALID = f"Authorization: Bearer {ANN.text}"


@pytest.mark.parametrize(
    ("lines", "challenge"),
    [
        ((), REALM),
        (("Authorization:",), REALM),
        (("Authorization: Basic YW5uOng=",), REALM),
        ((f"Authorization: {ANN.text}",), REALM),
        ((f"Authorization: Token {ANN.text}",), REALM),
        ((f"X-Api-Key: {ANN.text}",), REALM),
        (("Authorization: Bearer",), f'{REALM}, error="invalid_token"'),
        (("Authorization: Bearer ",), f'{REALM}, error="invalid_token"'),
        (("Authorization: Bearer x",), f'{REALM}, error="invalid_token"'),
        ((VALID[:-1],), f'{REALM}, error="invalid_token"'),
        ((f"{VALID}a",), f'{REALM}, error="invalid_token"'),
        ((VALID.upper(),), f'{REALM}, error="invalid_token"'),
        ((f"{VALID} x",), f'{REALM}, error="invalid_token"'),
        ((f"{VALID}, {VALID}",), f'{REALM}, error="invalid_token"'),
        ((VALID, VALID), f'{REALM}, error="invalid_token"'),
        ((VALID, "Authorization: Basic x"), f'{REALM}, error="invalid_token"'),
        (("Authorization: Basic x", VALID), f'{REALM}, error="invalid_token"'),
        ((f"Authorization: Bearer jq_{ANN.id}_{BOB.secret}",), f'{REALM}, error="invalid_token"'),
        ((f"Authorization: Bearer {STRANGER.text}",), f'{REALM}, error="invalid_token"'),
        ((f"Authorization: Bearer jq_{ANN.id}_{ANN.digest[:52]}",), f'{REALM}, error="invalid_token"'),
        ((f"Authorization: Bearer {'jq_' * 4000}",), f'{REALM}, error="invalid_token"'),
        (
            ("Authorization: Bearer jq_\N{LATIN SMALL LETTER E WITH ACUTE}" + ANN.text[4:],),
            f'{REALM}, error="invalid_token"',
        ),
    ],
)
@EVERY_PATH
async def test_a_request_without_a_valid_key_is_refused(
    start: Start, lines: tuple[str, ...], challenge: str, fast_path: bool
) -> None:
    serving = await serve(start, fast_path)
    job_id = await submit(serving, ANN)
    for method in ("GET", "HEAD"):
        answer = await ask_head(serving, request(method, f"/v1/jobs/{job_id}", None, *lines))
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == challenge
    live = (await serving.queue.service.backend.get(job_id)).live
    assert live


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
@EVERY_PATH
async def test_the_scheme_has_no_case_and_any_number_of_spaces(start: Start, scheme: str, fast_path: bool) -> None:
    serving = await serve(start, fast_path)
    job_id = await submit(serving, ANN)
    for spaces in (" ", "  ", " " * 9):
        line = f"Authorization: {scheme}{spaces}{ANN.text}"
        assert (await ask(serving, request("GET", f"/v1/jobs/{job_id}", None, line))).status == 202


async def test_an_unknown_id_and_a_wrong_secret_get_the_same_answer(start: Start) -> None:
    serving = await serve(start)
    wrong, unknown = Key(ANN.id, STRANGER.secret), STRANGER
    answers = [await ask(serving, request("GET", f"/v1/jobs/{ABSENT}", key)) for key in (wrong, unknown)]
    assert answers[0].rest == answers[1].rest
    assert {**answers[0].headers, "date": ""} == {**answers[1].headers, "date": ""}


async def test_no_answer_and_no_line_of_the_log_has_a_secret(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("jobqueue.http.request.grant.log", event_logger("auth"))  # its first failure is logged at once
    serving = await serve(start)
    wrong = Key(ANN.id, STRANGER.secret)
    told = b""
    for key in (wrong, ANN, SUB):
        for path in (f"/v1/jobs/{ABSENT}", f"/v1/jobs/{key.text}", f"/v1/jobs?cursor={key.text}", "/nowhere"):
            async with serving.connect() as (reader, writer):
                writer.write(request("GET", path, key, "Connection: close"))
                answer = await asyncio.wait_for(reader.read(), 5)
            if key.text not in path:
                told += answer
    await reload(serving, auth("bob"))
    logged = "\n".join(f"{record.getMessage()} {vars(record)}" for record in caplog.records)
    assert "auth.failed" in logged
    for key in (wrong, ANN, SUB):
        assert key.secret not in told.decode()
        assert key.secret not in logged
        assert key.secret not in repr(vars(serving.service))


# -- jobs of others


@pytest.mark.parametrize(
    ("method", "below", "line"),
    [
        ("GET", "", ""),
        ("HEAD", "", ""),
        ("GET", "", "Prefer: wait=5"),
        ("HEAD", "", "Prefer: wait=5"),
        ("GET", "", 'If-None-Match: "0"'),
        ("GET", "", "If-None-Match: *"),
        ("GET", "", "Last-Event-ID: x"),
        ("GET", "/result", ""),
        ("HEAD", "/result", ""),
        ("GET", "/events", ""),
        ("GET", "/events", "Last-Event-ID: 000000000000-0"),
        ("POST", ":cancel", ""),
        ("POST", ":retry", ""),
        ("POST", ":run", ""),
        ("DELETE", "", ""),
    ],
)
@EVERY_PATH
async def test_a_foreign_a_malformed_and_an_absent_id_get_the_identical_404(
    start: Start, method: str, below: str, line: str, fast_path: bool
) -> None:
    jobs: tuple[dict[str, Any], ...] = ({}, {"kind": "echo", "delay_s": 1000}, {"kind": "fail"}, {"kind": "fail"})
    for _ in range(TRIES):
        serving = await serve(start, fast_path, statuses={"ttl_s": 0})
        live, delayed, failed, gone = [await submit(serving, ANN, **fields) for fields in jobs]
        if not await passes_by_chance(serving, BOB, live, delayed, failed, gone):
            break
    for job_id in (failed, gone):
        await serving.queue.service.backend.wait(job_id)
    await serving.queue.service.backend.delete(gone)
    changed = failed[:-1] + ("0" if failed[-1] != "0" else "1")
    before = [repr(await serving.service.backend.get(job_id)) for job_id in (live, delayed, failed)]
    told = set()
    for job_id in (live, delayed, failed, gone, changed, ABSENT, "!" * ID_LENGTH, "-" * ID_LENGTH):
        answer = await ask_whole(serving, request(method, f"/v1/jobs/{job_id}{below}", BOB, *filter(None, [line])))
        assert answer.startswith(b"HTTP/1.1 404 "), answer
        told.add(re.sub(rb"Date: [^\r]*", b"Date", answer).replace(job_id.encode(), b"<id>"))
    assert len(told) == 1
    assert [repr(await serving.service.backend.get(job_id)) for job_id in (live, delayed, failed)] == before


async def passes_by_chance(serving: Serving, key: Key, *foreign: str) -> bool:
    """Whether an id passes for one of a key's own, as one in 4,096 does: its check has 12 bits."""
    answers = [await ask(serving, request("GET", f"/v1/jobs/{job_id}", key)) for job_id in foreign]
    return any(answer.status == 410 for answer in answers)


async def ask_whole(serving: Serving, data: bytes) -> bytes:
    """Return the bytes of one answer; of a HEAD those of its head."""
    async with serving.connect() as (reader, writer):
        writer.write(data)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        length = re.search(rb"Content-Length: (\d+)", head)
        return head + (await reader.readexactly(int(length[1])) if length and not data.startswith(b"HEAD") else b"")


@EVERY_PATH
async def test_of_a_gone_id_only_its_owner_and_admins_learn_that_it_was_issued(start: Start, fast_path: bool) -> None:
    serving = await serve(start, fast_path)
    ids = [await submit(serving, ANN, "echo") for _ in range(20)]
    for job_id in ids:
        await serving.service.backend.wait(job_id)
        await serving.service.backend.delete(job_id)
    statuses = {
        name: [(await ask(serving, request("GET", f"/v1/jobs/{job_id}", key))).status for job_id in ids]
        for name, key in (("ann", ANN), ("ops", OPS), ("bob", BOB))
    }
    assert statuses["ann"] == statuses["ops"] == [410] * 20
    assert statuses["bob"].count(410) <= 1  # one of 4,096 by mistake


@EVERY_PATH
async def test_an_owner_reads_and_changes_its_job_and_an_admin_does_so_with_all(start: Start, fast_path: bool) -> None:
    serving = await serve(start, fast_path)
    for key in (ANN, OPS):
        job_id = await submit(serving, ANN, "echo", delay_s=1000)
        for method, below, status in (
            ("GET", "", 202),
            ("HEAD", "", 202),
            ("GET", "/result", 409),
            ("POST", ":run", 202),
        ):
            assert (await ask_head(serving, request(method, f"/v1/jobs/{job_id}{below}", key))).status == status
        await end_of(serving, key, job_id)
        assert (await ask(serving, request("GET", f"/v1/jobs/{job_id}/result", key))).rest == b"null\n"
        assert (await ask(serving, request("POST", f"/v1/jobs/{job_id}:cancel", key))).status == 409
        assert (await ask_head(serving, request("DELETE", f"/v1/jobs/{job_id}", key))).status == 204


async def test_shared_keys_see_and_change_the_jobs_of_all_keys(start: Start) -> None:
    serving = await serve(start, section=auth(shared=True))
    job_id = await submit(serving, ANN)
    assert (await ask(serving, request("GET", f"/v1/jobs/{job_id}", BOB))).status == 202
    assert (await ask(serving, request("GET", f"/v1/jobs/{job_id}", SUB))).status == 403
    assert (await ask(serving, request("POST", f"/v1/jobs/{job_id}:cancel", BOB))).status == 202


async def test_jobs_of_the_application_itself_are_for_admins(start: Start) -> None:
    serving = await serve(start)
    handle = await serving.queue.submit("hold")
    assert (await ask(serving, request("GET", f"/v1/jobs/{handle.id}", ANN))).status == 404
    assert (await ask(serving, request("GET", f"/v1/jobs/{handle.id}", OPS))).status == 202


async def test_lists_have_the_jobs_of_the_key_and_no_trace_of_others(start: Start) -> None:
    serving = await serve(start)
    foreign = [await submit(serving, BOB, "echo", delay_s=1000, group="g") for _ in range(30)]
    own = [await submit(serving, ANN, "echo", delay_s=1000, group="g") for _ in range(3)]
    foreign += [await submit(serving, BOB, "echo", delay_s=1000, group="g") for _ in range(30)]
    async with session(serving, ANN) as http:
        for query in ("", "?group=g", "?state=delayed", "?type=echo&queue=default", "?limit=1"):
            found, text, cursor = [], "", ""
            while cursor is not None:
                joined = f"{query}{'&' if query else '?'}cursor={cursor}" if cursor else query
                async with http.get(f"/v1/jobs{joined}") as response:
                    page = await response.json()
                    text += await response.text()
                found += [job["id"] for job in page["jobs"]]
                cursor = page["next_cursor"]
            assert found == own[::-1]
            assert not any(job_id in text for job_id in foreign)
    async with session(serving, OPS) as http, http.get("/v1/jobs?limit=100") as response:
        assert len((await response.json())["jobs"]) == 63


async def test_a_cursor_at_a_foreign_job_has_not_its_id(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = await serve(start)
    ids = [await submit(serving, BOB, "echo", delay_s=1000) for _ in range(3)]
    backend: Any = serving.service.local
    monkeypatch.setattr(backend._searches, "_tuning", Tuning(search_first=1, search_max=1))
    async with session(serving, ANN) as http, http.get("/v1/jobs") as response:
        page = await response.json()
    assert page["jobs"] == []
    assert page["next_cursor"] not in (None, *ids)


@pytest.mark.parametrize("wait", [False, True])
@EVERY_PATH
async def test_a_list_of_ids_has_the_same_stand_in_for_foreign_and_absent_ones(
    start: Start, wait: bool, fast_path: bool
) -> None:
    for _ in range(TRIES):
        serving = await serve(start, fast_path)
        own, foreign = await submit(serving, ANN, "echo"), await submit(serving, BOB)
        if not await passes_by_chance(serving, ANN, foreign):
            break
    await end_of(serving, ANN, own)
    lines = ["Prefer: wait=5"] if wait else []
    answer = await ask(serving, request("GET", f"/v1/jobs?ids={own},{foreign},{ABSENT}", ANN, *lines))
    first, second, third = json.loads(answer.rest)["jobs"]
    assert first["id"] == own
    assert json.dumps(second).replace(foreign, ABSENT) == json.dumps(third)


@pytest.mark.parametrize("action", ["cancel", "delete", "retry"])
async def test_an_action_on_all_jobs_leaves_those_of_others_alone(start: Start, action: str) -> None:
    serving = await serve(start)
    kind = {"cancel": ("echo", {"delay_s": 1000}), "delete": ("echo", {}), "retry": ("fail", {})}[action]
    own, foreign = await submit(serving, ANN, kind[0], **kind[1]), await submit(serving, BOB, kind[0], **kind[1])
    if action != "cancel":
        for job_id in (own, foreign):
            await serving.service.backend.wait(job_id)
    before = await serving.service.backend.get(foreign)
    job_filter = {"older_than_s": 0, "type": kind[0]}
    async with session(serving, ANN) as http, http.post(f"/v1/jobs:{action}", json=job_filter) as response:
        assert await response.json() == {"count": 1}
    assert await serving.service.backend.get(foreign) == before


async def test_a_unique_value_belongs_to_its_key(start: Start) -> None:
    serving = await serve(start)
    first = await submit(serving, ANN, unique="u")
    for mode in ("return", "reject", "replace"):
        other = await submit(serving, BOB, unique={"value": "u", "mode": mode} if mode != "return" else "u")
        assert other != first
        assert (await serving.service.backend.get(first)).state == "running"
        assert (await ask(serving, request("POST", f"/v1/jobs/{other}:cancel", BOB))).status == 202
        await serving.service.backend.wait(other)
    assert await submit(serving, ANN, unique="u") == first


async def test_an_idempotency_key_belongs_to_its_api_key(start: Start) -> None:
    serving = await serve(start)
    body = b'{"type":"hold"}'
    ids = []
    for key in (ANN, BOB, ANN, BOB):
        answer = await ask(serving, request("POST", "/v1/jobs", key, "Idempotency-Key: k", body=body))
        ids.append(json.loads(answer.rest)["id"])
    assert ids[:2] == ids[2:]
    assert ids[0] != ids[1]
    other = await ask(serving, request("POST", "/v1/jobs", SUB, "Idempotency-Key: k", body=b'{"type":"echo"}'))
    assert other.status == 202


async def test_a_quota_counts_by_key_and_not_by_address(start: Start) -> None:
    serving = await start(auth=auth(), limits={"caller_jobs_max": 1})
    body = b'{"type":"hold"}'
    statuses = [(await ask(serving, request("POST", "/v1/jobs", key, body=body))).status for key in (ANN, BOB, ANN)]
    assert statuses == [202, 202, 429]


async def test_the_events_of_all_jobs_are_those_of_the_key(start: Start) -> None:
    serving = await serve(start)
    async with serving.connect() as (reader, writer), serving.connect() as (all_reader, all_writer):
        for stream, key in ((writer, ANN), (all_writer, OPS)):
            stream.write(request("GET", "/v1/events", key))
        for stream in (reader, all_reader):
            await asyncio.wait_for(stream.readuntil(b"\n\n\r\n"), 5)
        foreign, own = await submit(serving, BOB), await submit(serving, ANN)
        seen = await asyncio.wait_for(reader.readuntil(f'"id":"{own}"'.encode()), 5)
        assert foreign.encode() not in seen
        seen = await asyncio.wait_for(all_reader.readuntil(f'"id":"{own}"'.encode()), 5)
        assert foreign.encode() in seen
        last_id = re.findall(rb"id: (\S+)", seen)[-1].decode()
    recording = last_id.split("-")[0]
    async with serving.connect() as (reader, writer):
        writer.write(request("GET", "/v1/events", ANN, f"Last-Event-ID: {recording}-0"))
        seen = await asyncio.wait_for(reader.readuntil(f'"id":"{own}"'.encode()), 5)
        assert foreign.encode() not in seen


# -- one connection, several keys


@EVERY_PATH
async def test_each_request_of_a_connection_has_its_own_key(start: Start, fast_path: bool) -> None:
    serving = await serve(start, fast_path)
    own = {key: await submit(serving, key) for key in (ANN, BOB)}
    async with serving.connect() as (reader, writer):
        for _ in range(3):  # learned by the first round
            for key in (ANN, BOB):
                for owner, job_id in own.items():
                    writer.write(request("GET", f"/v1/jobs/{job_id}", key))
                    assert (await read_answer(reader)).status == (202 if owner is key else 404)
            for key in (None, STRANGER):
                writer.write(request("GET", f"/v1/jobs/{own[ANN]}", key))
                assert (await read_answer(reader)).status == 401
            for key in (ANN, BOB, SUB):
                writer.write(request("POST", "/v1/jobs", key, body=b'{"type":"echo"}'))
                job_id = json.loads((await read_answer(reader)).rest)["id"]
                assert (await serving.service.backend.get(job_id)).owner == {
                    ANN: "key:ann",
                    BOB: "key:bob",
                    SUB: "key:sub",
                }[key]


# -- reload


@EVERY_PATH
async def test_a_removed_key_is_refused_at_once_and_an_added_one_is_taken(start: Start, fast_path: bool) -> None:
    serving = await serve(start, fast_path, auth("ann", "ops"))
    job_id = await submit(serving, ANN)
    async with serving.connect() as (reader, writer):

        async def status(key: Key) -> int:
            writer.write(request("GET", f"/v1/jobs/{job_id}", key))
            return (await read_answer(reader)).status

        assert [await status(key) for key in (ANN, ANN, BOB, OPS)] == [202, 202, 401, 202]
        await reload(serving, auth("bob", "ops"))
        assert [await status(key) for key in (ANN, ANN, BOB, OPS)] == [401, 401, 404, 202]
        await reload(serving, auth("ann", "bob"))
        assert [await status(key) for key in (ANN, ANN, BOB, OPS)] == [202, 202, 404, 401]
        await reload(serving, auth(ann=["submit"]))
        assert [await status(key) for key in (ANN, ANN, BOB, OPS)] == [403, 403, 404, 202]
        await reload(serving, auth(shared=True))
        assert [await status(key) for key in (ANN, BOB, BOB, OPS)] == [202, 202, 202, 202]
        await reload(serving, auth())
        assert [await status(key) for key in (ANN, BOB, BOB, OPS)] == [202, 404, 404, 202]


@pytest.mark.parametrize(
    "section", [auth("bob"), auth(ann=["submit"]), auth(shared=True)], ids=["gone", "less", "shared"]
)
@pytest.mark.parametrize("target", ["/v1/jobs/{id}", "/v1/jobs?ids={id}"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@EVERY_PATH
async def test_a_changed_key_ends_its_waits(
    start: Start, method: str, target: str, section: dict[str, Any], fast_path: bool
) -> None:
    serving = await serve(start, fast_path)
    job_id, other = await submit(serving, ANN), await submit(serving, BOB)
    async with serving.connect() as (reader, writer), serving.connect() as (other_reader, other_writer):
        writer.write(request(method, target.format(id=job_id), ANN, "Prefer: wait=50"))
        other_writer.write(request("GET", f"/v1/jobs/{other}", BOB, "Prefer: wait=50"))
        await waiting(serving, 2)
        await reload(serving, section)
        answer = Answer(await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5))
        assert answer.status == 401
        assert answer.headers["www-authenticate"] == f'{REALM}, error="invalid_token"'
        if not section["shared"]:
            assert serving.waiting.count == 1
            serving.gate.set()
            assert (await read_answer(other_reader)).status == 200


async def waiting(serving: Serving, count: int) -> None:
    while serving.waiting.count < count:
        await asyncio.sleep(0)


@EVERY_PATH
async def test_a_submission_that_waits_is_answered_with_its_job_when_its_key_is_removed(
    start: Start, fast_path: bool
) -> None:
    serving = await serve(start, fast_path)
    async with serving.connect() as (reader, writer):
        writer.write(request("POST", "/v1/jobs", ANN, "Prefer: wait=50", body=b'{"type":"hold"}'))
        await waiting(serving, 1)
        await reload(serving, auth("bob"))
        assert (await read_answer(reader)).status == 202


FORM = (
    b'--b\r\nContent-Disposition: form-data; name="job"\r\nContent-Type: application/json\r\n\r\n{"type":"sizes"}\r\n'
    b'--b\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\nx\r\n--b--\r\n'
)


@EVERY_PATH
@pytest.mark.parametrize(
    ("method", "path", "kind", "body"),
    [
        ("POST", "/v1/jobs", "application/json", b'{"type":"echo"}'),
        ("POST", "/v1/jobs", "multipart/form-data; boundary=b", FORM),
        ("POST", "/v1/jobs:batch", "application/json", b'{"jobs":[{"type":"echo"}]}'),
        ("POST", "/v1/jobs:cancel", "application/json", b'{"state":"running"}'),
    ],
    ids=["one", "with a file", "batch", "many"],
)
async def test_a_key_that_is_removed_before_the_body_is_whole_changes_nothing(
    start: Start, fast_path: bool, method: str, path: str, kind: str, body: bytes
) -> None:
    serving = await serve(start, fast_path)
    job_id = await submit(serving, ANN)
    head = request(method, path, ANN, f"Content-Type: {kind}", f"Content-Length: {len(body)}")
    async with serving.connect() as (reader, writer):
        writer.write(head + body[:-3])
        async with asyncio.timeout(5):
            while not any(connection._request_in_progress for connection in serving.server.connections):
                await asyncio.sleep(0)
        await reload(serving, auth("bob", "ops"))
        writer.write(body[-3:])
        answer = await read_answer(reader)
    assert (answer.status, answer.kind) == (401, "unauthorized")
    page = json.loads((await ask(serving, request("GET", "/v1/jobs", OPS))).rest)
    assert [(job["id"], job["state"]) for job in page["jobs"]] == [(job_id, "running")]


async def test_a_changed_key_ends_its_streams_with_an_event(start: Start) -> None:
    serving = await serve(start)
    job_id = await submit(serving, ANN)
    for path in ("/v1/events", f"/v1/jobs/{job_id}/events"):
        await reload(serving, auth())
        async with serving.connect() as (reader, writer), serving.connect() as (_, other):
            writer.write(request("GET", path, ANN))
            other.write(request("GET", "/v1/events", BOB))
            await waiting(serving, 2)
            await asyncio.wait_for(reader.readuntil(b"\n\n\r\n"), 5)
            await reload(serving, auth("bob"))
            end = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 5)
            assert b"event: revoked\n" in end
            assert serving.waiting.count == 1
        while serving.waiting.count:
            await asyncio.sleep(0)


@EVERY_PATH
async def test_reloaded_keys_end_waits_that_began_without_one(start: Start, fast_path: bool) -> None:
    serving = await start(server={"fast_path": fast_path})
    handle = await serving.queue.submit("hold")
    async with serving.connect() as (reader, writer):
        writer.write(request("GET", f"/v1/jobs/{handle.id}", None))
        assert (await read_answer(reader)).status == 202
        writer.write(request("GET", f"/v1/jobs/{handle.id}", None, "Prefer: wait=50"))
        await waiting(serving, 1)
        await reload(serving, auth())
        assert (await read_answer(reader)).status == 401
        writer.write(request("GET", f"/v1/jobs/{handle.id}", None))
        assert (await read_answer(reader)).status == 401
        await reload(serving, {})
        writer.write(request("GET", f"/v1/jobs/{handle.id}", None))
        assert (await read_answer(reader)).status == 202


async def test_a_file_without_keys_lets_nothing_in(start: Start) -> None:
    serving = await serve(start, section={"keys_file": "keys.yaml"})
    assert (await ask(serving, request("GET", f"/v1/jobs/{ABSENT}", ANN))).status == 401
    assert (await ask(serving, request("GET", "/readyz", None))).status == 200
