"""`?include=`: the parts of a job's record that a document has on request only."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue.handlers.redaction import HIDDEN, REDACTED_BYTES_MAX
from jobqueue.http.resources.included_document import IncludedDocument
from jobqueue.http.response.job_document import JobDocument
from jobqueue.http.response.long_response import WHOLE_BYTES_MAX
from jobqueue.http.response.reply import RESULT_BYTES_MAX
from tests.http.keyed import ANN, BOB, OPS, auth, bearer
from tests.http.resources.test_jobs import ended, submit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

ALL = "args,spec,files,events"
OF_JOB = list(JobDocument.__struct_fields__)
INCLUDED = ["spec", "files", "result_file", "events", "args"]


def add_sink(serving: Serving) -> None:
    """Add a handler that fails: a dead letter keeps its arguments."""

    @serving.queue.handler
    async def sink(value: Any) -> None:
        raise ValueError


async def read(http: aiohttp.ClientSession, job: dict[str, Any], names: str, **headers: str) -> dict[str, Any]:
    async with http.get(f"/v1/jobs/{job['id']}", params={"include": names}, headers=headers) as response:
        assert response.status in (200, 202), await response.text()
        document: dict[str, Any] = await response.json()
        return document


async def test_a_job_without_include_has_the_same_bytes_as_before(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    add_sink(serving)
    job = await submit(http, type="sink", args={"value": 1})
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}") as response:
        plain = await response.read()
    assert list(json.loads(plain)) == OF_JOB
    async with http.get(f"/v1/jobs/{job['id']}?include=args") as response:
        assert await response.read() == plain[:-2] + b',"args":{"value": 1}}\n'


async def test_each_name_includes_its_members_alone(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_sink(serving)
    job = await submit(http, type="sink", args={"value": [1, {"a": None}]})
    await ended(serving, job)
    for names, added in (
        ("args", ["args"]),
        ("spec", ["spec"]),
        ("files", ["files", "result_file"]),
        ("events", ["events"]),
        ("spec,args", ["spec", "args"]),
        (" args , spec,args", ["spec", "args"]),
        (ALL, INCLUDED),
    ):
        assert list(await read(http, job, names)) == [*OF_JOB, *added]
    assert [*OF_JOB, *sorted(INCLUDED)] == [*OF_JOB, *sorted(set(IncludedDocument.__struct_fields__) - set(OF_JOB))]
    assert (await read(http, job, "args"))["args"] == {"value": [1, {"a": None}]}


async def test_the_spec_has_the_options_of_the_submission(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    options = {"start_by_s": 100, "delay_s": 50, "ttl_s": 7, "timeout_s": 3, "unique": {"value": "u", "mode": "reject"}}
    headers = {**bearer(ANN), "Idempotency-Key": "k-1"}
    async with http.post("/v1/jobs", json={"type": "hold", **options}, headers=headers) as response:
        job = await response.json()
    spec = (await read(http, job, "spec", **bearer(ANN)))["spec"]
    assert spec.pop("start_by_at") > job["run_at"]
    assert spec == {
        "run_in": "loop",
        "timeout_s": 3.0,
        "ttl_s": 7.0,
        "unique": {"value": "u", "mode": "reject"},
        "idempotency_key": "k-1",
        "caller": "key:ann",
        "worker": None,
        "lineage": None,
    }


async def test_the_spec_of_a_plain_job_has_its_defaults_and_of_a_running_one_its_worker(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold")
    async with http.get(f"/v1/jobs/{job['id']}/events") as events:
        async for line in events.content:
            if line == b"event: started\n":
                break
    spec = (await read(http, job, "spec"))["spec"]
    assert spec == {
        "run_in": "loop",
        "timeout_s": 864000.0,
        "start_by_at": None,
        "ttl_s": None,
        "unique": None,
        "idempotency_key": None,
        "caller": "127.0.0.1",
        "worker": {"kind": "loop", "pid": os.getpid()},
        "lineage": None,
    }
    serving.gate.set()
    await ended(serving, job)
    assert (await read(http, job, "spec"))["spec"]["worker"] is None


async def test_the_spec_of_a_child_tells_its_lineage(serving: Serving, http: aiohttp.ClientSession) -> None:
    parent = await submit(http, type="hold")
    child = await submit(http, type="hold", after=[parent["id"]], on_failure="run")
    assert (await read(http, child, "spec"))["spec"]["lineage"] == {
        "flow": None,
        "name": None,
        "after": [parent["id"]],
        "after_count": 1,
        "on_failure": "run",
    }
    serving.gate.set()


async def test_files_are_listed_by_part_without_their_places(serving: Serving, http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    form.add_field("job", '{"type":"named"}', content_type="application/json")
    form.add_field("a", b"12", filename="x.txt", content_type="text/plain")
    form.add_field("a", b"345", filename="y.bin", content_type="application/octet-stream")
    form.add_field("b", b"", filename="../../z", content_type="text/csv")
    async with http.post("/v1/jobs", data=form) as response:
        job = await response.json()
    document = await read(http, job, "files")
    assert document["files"][:2] == [
        {"part": "a", "filename": "x.txt", "media_type": "text/plain", "size_bytes": 2},
        {"part": "a", "filename": "y.bin", "media_type": "application/octet-stream", "size_bytes": 3},
    ]
    assert document["files"][2]["part"] == "b"
    assert str(serving.spool_dir) not in json.dumps(document)
    written = await submit(http, type="report", args={"size": 9, "media_type": "text/csv"})
    await ended(serving, written)
    document = await read(http, written, "files")
    assert (document["files"], document["result_file"]) == ([], {"media_type": "text/csv", "size_bytes": 9})


async def test_events_are_those_of_the_job_that_are_recorded(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    assert (await read(http, job, "events"))["events"] is None, "no stream is open"
    async with http.get("/v1/events"):
        job, other = await submit(http, type="echo"), await submit(http, type="fail")
        for each in (job, other):
            await ended(serving, each)
        events = (await read(http, job, "events"))["events"]
        assert [event["event"] for event in events] == ["submitted", "started", "succeeded"]
        assert {event["data"]["id"] for event in events} == {job["id"]}
        serials = [int(event["id"].partition("-")[2]) for event in events]
        assert serials == sorted(serials)
        backend = serving.service.backend
        assert (await read(http, await submit(http, type="hold"), "events"))["events"][0]["event"] == "submitted"
        assert backend.now() > 0


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("include=arg", "did you mean 'args'?"),
        ("include=", "known: args, spec, files, events"),
        ("include=args,,spec", "known: args, spec, files, events"),
        ("include=args&include=spec", "duplicate query parameter include"),
        ("includes=args", "unknown query parameter 'includes'; did you mean 'include'?"),
        ("x=1", "known: include"),
        ("include=" + "a" * 3000, "known: args"),
        ("include=%00%FF", "known: args"),
        ("include=ARGS", "known: args"),
    ],
)
@pytest.mark.parametrize("job_id", ["z" * 22, "nope", "held"])
async def test_an_unknown_name_is_rejected_for_any_id(
    http: aiohttp.ClientSession, query: str, detail: str, job_id: str
) -> None:
    if job_id == "held":
        job_id = (await submit(http, type="hold"))["id"]
    async with http.get(f"/v1/jobs/{job_id}?{query}") as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (400, "/problems/malformed-request")
    assert detail in problem["detail"]


async def test_a_foreign_an_absent_and_a_malformed_id_get_the_same_404_with_include(
    start: Start, http_to: Open
) -> None:
    serving = await start(auth=auth())
    add_sink(serving)
    http = await http_to(serving)
    async with http.post("/v1/jobs", json={"type": "sink", "args": {"value": "mine"}}, headers=bearer(ANN)) as response:
        job = await response.json()
    await ended(serving, job)
    told = set()
    for job_id in (job["id"], "z" * 22, "nope"):
        async with http.get(f"/v1/jobs/{job_id}?include={ALL}", headers=bearer(BOB)) as response:
            assert response.status == 404
            told.add((await response.text()).replace(job_id, "<id>"))
    assert len(told) == 1
    for key in (ANN, OPS):
        assert (await read(http, job, ALL, **bearer(key)))["args"] == {"value": "mine"}


async def test_the_entity_tag_covers_the_included_members(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    path = f"/v1/jobs/{job['id']}"

    async def tag_of(query: str, method: str = "GET") -> str:
        async with http.request(method, path + query) as response:
            return response.headers["ETag"]

    tags = [await tag_of(query) for query in ("", "?include=args", "?include=spec", f"?include={ALL}")]
    assert len(set(tags)) == 4
    for query, tag in zip(("?include=args", "?include=spec", f"?include={ALL}"), tags[1:], strict=True):
        assert await tag_of(query) == await tag_of(query, "HEAD") == tag
        for method in ("GET", "HEAD"):
            async with http.request(method, path + query, headers={"If-None-Match": tag}) as response:
                assert (response.status, await response.read()) == (304, b"")
                assert response.headers["ETag"] == tag
                assert response.headers["Job-State"] == "running"
                assert int(response.headers["Retry-After"]) >= 1
        async with http.get(path + query, headers={"If-None-Match": tags[0]}) as response:
            assert response.status == 202
    serving.gate.set()
    await ended(serving, job)
    async with http.get(f"{path}?include=spec", headers={"If-None-Match": tags[2]}) as response:
        assert response.status == 200, "its worker is none any more, and its state another one"


async def test_a_request_with_include_may_wait_for_the_end(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_sink(serving)
    job = await submit(http, type="sink", args={"value": 1})
    async with http.get(f"/v1/jobs/{job['id']}?include=args", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
        document = await response.json()
    assert (document["state"], document["args"]) == ("failed", {"value": 1})
    live = await submit(http, type="hold")
    async with http.get(f"/v1/jobs/{live['id']}?include=args", headers={"Prefer": "wait=0"}) as response:
        assert (response.status, response.headers["Preference-Applied"]) == (202, "wait=0")


async def test_a_head_with_include_has_the_length_and_no_body(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_sink(serving)
    job = await submit(http, type="sink", args={"value": "x" * 3000})
    await ended(serving, job)
    async with http.get(f"/v1/jobs/{job['id']}?include={ALL}") as response:
        size = len(await response.read())
    async with serving.connect() as (reader, writer):
        for line in ("Connection: keep-alive", "Connection: close"):
            writer.write(f"HEAD /v1/jobs/{job['id']}?include={ALL} HTTP/1.1\r\nHost: h\r\n{line}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"Content-Length: {size}".encode() in head
        assert await reader.read() == b""


@pytest.mark.parametrize("size", [WHOLE_BYTES_MAX - 3000, WHOLE_BYTES_MAX, WHOLE_BYTES_MAX + 1000, 900_000])
async def test_long_arguments_are_whole(start: Start, http_to: Open, size: int) -> None:
    serving = await start(limits={"body_bytes": 1024 * 1024})
    add_sink(serving)
    http = await http_to(serving)
    job = await submit(http, type="sink", args={"value": "x" * size})
    await ended(serving, job)
    for _ in range(2):
        document = await read(http, job, "args,spec")
        assert document["args"] == {"value": "x" * size}
        assert list(document) == [*OF_JOB, "spec", "args"]
    async with http.head(f"/v1/jobs/{job['id']}?include=args") as response:
        assert int(response.headers["Content-Length"]) > size


async def test_a_long_result_stands_before_the_included_members(serving: Serving, http: aiohttp.ClientSession) -> None:
    size = RESULT_BYTES_MAX + 1000
    job = await submit(http, type="big", args={"size": size})
    await ended(serving, job)
    document = await read(http, job, "args,spec")
    assert list(document) == [*OF_JOB, "spec", "args"]
    assert document["result"] == "x" * size
    assert document["args"] is None, "a job that has succeeded has released them"


async def test_an_argument_that_looks_like_a_member_of_the_document_changes_nothing(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    add_sink(serving)
    tricky = {"result": None, "args": {}, "id": "z" * 22, "x": '"result":null', "e": '\\",\n\u2028</script>'}
    job = await submit(http, type="sink", args={"value": tricky})
    await ended(serving, job)
    document = await read(http, job, ALL)
    assert document["args"] == {"value": tricky}
    assert document["id"] == job["id"]
    assert [*OF_JOB, *INCLUDED] == list(document)


async def test_redacted_arguments_are_hidden_from_all_and_given_to_the_handler(start: Start, http_to: Open) -> None:
    serving = await start(limits={"body_bytes": 1024 * 1024}, auth=auth())
    got: list[Any] = []

    @serving.queue.handler(redact=("password", "cards.number"))
    async def pay(password: str, cards: list[dict[str, str]]) -> None:
        got.append((password, cards))
        raise ValueError

    http = await http_to(serving)
    args = {"password": "hunter2", "cards": [{"number": "4242", "name": "A"}]}
    async with http.post("/v1/jobs", json={"type": "pay", "args": args}, headers=bearer(ANN)) as response:
        job = await response.json()
    await ended(serving, job)
    assert got == [("hunter2", [{"number": "4242", "name": "A"}])]
    for key in (ANN, OPS):
        async with http.get(f"/v1/jobs/{job['id']}?include={ALL}", headers=bearer(key)) as response:
            text = await response.text()
        assert "hunter2" not in text
        assert "4242" not in text
        assert json.loads(text)["args"] == {"password": HIDDEN, "cards": [{"number": HIDDEN, "name": "A"}]}
    args["password"] = "hunter2" * REDACTED_BYTES_MAX
    args["password"] = args["password"][: REDACTED_BYTES_MAX + 1]
    async with http.post("/v1/jobs", json={"type": "pay", "args": args}, headers=bearer(ANN)) as response:
        job = await response.json()
    await ended(serving, job)
    assert (await read(http, job, "args", **bearer(ANN)))["args"] == HIDDEN


async def test_answers_with_long_arguments_count_in_the_budget_while_they_are_unread(start: Start) -> None:
    serving = await start(limits={"body_bytes": 1024 * 1024, "in_flight_bytes": 2 * 1024 * 1024})
    add_sink(serving)
    handle = await serving.queue.submit("sink", {"value": "x" * 1_000_000})
    await serving.service.backend.wait(handle.id)
    asked = f"GET /v1/jobs/{handle.id}?include=args HTTP/1.1\r\nHost: h\r\n\r\n".encode()
    async with contextlib.AsyncExitStack() as connections:
        statuses = set()
        for _ in range(12):  # each leaves its answer unread
            reader, writer = await connections.enter_async_context(serving.connect())
            writer.write(asked)
            statuses.add((await asyncio.wait_for(reader.readline(), 5)).split()[1])
    assert statuses == {b"200", b"503"}
