"""The server gives each response on the reference page, with the headers that the page names."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import aiohttp

from jobqueue.core.job import LIVE
from tests.docs.http_page import ANY_BODY, ANY_REQUEST, operations
from tests.docs.tables import codes, members, page, section

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.docs.http_page import Answer
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

JOB, QUEUE = "/v1/jobs/{id}", "/v1/queues/{name}"
ELSEWHERE: dict[tuple[str, str], set[Answer]] = {
    ("GET", f"{JOB}/result"): {(503, "refused")},
    ("HEAD", f"{JOB}/result"): {(503, "refused")},
}
"""Responses that requests alone can not provoke: a file that the system fails to open."""


OF_ALL_ANSWERS = {
    *("Server", "Date", "Cache-Control", "Content-Type", "Content-Length", "Transfer-Encoding", "Connection"),
    *("Ratelimit", "Ratelimit-Policy"),
}

CODED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
)


class Seen:
    """The responses of a server, by operation, and their headers."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], set[Answer]] = defaultdict(set)
        self.headers: dict[tuple[str, str, Answer], set[str]] = defaultdict(set)

    async def ask(self, http: aiohttp.ClientSession, method: str, template: str, path: str = "", **more: Any) -> Any:
        """Send a request, record the response, and return the document.

        Args:
            path: The value of `{id}` or `{name}`, and a query.
        """
        url = template.replace("{id}", path).replace("{name}", path) if "{" in template else template + path
        async with http.request(method, url, **more) as response:
            is_json = method != "HEAD" and "json" in response.headers.get("Content-Type", "")
            document = await response.json(content_type=None) if is_json else None
            is_problem = is_json and response.content_type == "application/problem+json"
            problem = document["type"].rpartition("/")[2] if is_problem else ""
            answer = (response.status, problem)
            self.answers[method, template].add(answer)
            self.headers[method, template, answer].update(name.title() for name in response.headers)
            if response.status in (429, 503):
                assert int(response.headers["Retry-After"]) >= 1
            return document


async def made(http: aiohttp.ClientSession, type: str, state: str, **more: Any) -> str:
    """Return the id of a job in a state."""
    async with http.post("/v1/jobs", json={"type": type, **more}) as response:
        job = await response.json()
    wait = {} if state in LIVE else {"Prefer": "wait=5"}
    while job["state"] != state:
        async with http.get(f"/v1/jobs/{job['id']}", headers=wait) as response:
            job = await response.json()
    return str(job["id"])


async def test_the_server_gives_every_response_on_the_page_with_its_headers(start: Start, http_to: Open) -> None:
    seen = Seen()
    serving = await start()
    http = await http_to(serving)
    for scenario in (submissions, reads, actions, lists_and_bulk, streams, queues):
        await scenario(serving, http, seen)
    rejections = (rejected_without_room, rejected_over_quota, rejected_in_quarantine, rejected_without_memory)
    for rejected in (*rejections, draining):
        await rejected(start, http_to, seen)
    missing = {}
    for key, operation in operations().items():
        known = operation.answers - ELSEWHERE.get(key, set())
        if operation.method == "HEAD":  # a HEAD has no body that names a problem
            known = {(status, "") for status, _ in known}
        if left := known - seen.answers[key]:
            missing[str(operation)] = sorted(left)
    assert missing == {}
    assert "\n".join(wrong_headers(seen)) == ""


def wrong_headers(seen: Seen) -> list[str]:
    """Return the differences between the headers of responses and those in their rows."""
    wrong = []
    for (method, template, answer), headers in sorted(seen.headers.items()):
        operation = operations()[method, template]
        if method == "HEAD" and answer[0] >= 400:
            continue  # a HEAD does not name its problem
        if answer in operation.headers:
            listed, sent = set(operation.headers[answer]), headers - OF_ALL_ANSWERS
            if answer[0] == 304:  # its row refers to another row
                listed |= operation.headers[200, ""] | operation.headers.get((202, ""), frozenset())
            listed = {name.title() for name in listed}
            wrong += [f"{operation} {answer}: {name} is not listed" for name in sorted(sent - listed)]
            if answer[0] != 304:
                wrong += [f"{operation} {answer}: {name} is missing" for name in sorted(listed - headers)]
    return wrong


async def submissions(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    async def submit(json: Any = None, **more: Any) -> Any:
        return await seen.ask(http, "POST", "/v1/jobs", **({} if json is None else {"json": json}), **more)

    async def submit_batch(json: Any, **more: Any) -> Any:
        return await seen.ask(http, "POST", "/v1/jobs:batch", json=json, **more)

    await submit({"type": "hold", "unique": "u"})
    await submit({"type": "hold", "unique": "u"}, headers={"Prefer": "wait=0"})
    for _ in range(2):
        await submit({"type": "echo"}, headers={"Prefer": "wait=5", "Idempotency-Key": "k"})
    await submit({"type": "fail"}, headers={"Idempotency-Key": "k"})
    await submit({"type": "echo"}, headers={"Idempotency-Key": '"'})
    await submit({"type": "hold", "unique": {"value": "u", "mode": "reject"}})
    await submit({"type": "nope"})
    await submit({"type": "echo", "priority": 10})
    serving.lag_s = 10.0
    await submit({"type": "echo"})
    await submit_batch({"jobs": []})
    serving.lag_s = 0.0
    results = await submit_batch({"jobs": [{"type": "echo"}, {"type": "nope"}, {"type": "hold", "unique": "u"}]})
    listed = set(members(section(page("job.md"), "## Batch")))
    assert {name for result in results["jobs"] for name in result} == listed
    await submit_batch({"jobs": []}, headers={"Idempotency-Key": "k"})
    await submit_batch([])


async def reads(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    live, done = await made(http, "hold", "running"), await made(http, "echo", "succeeded")
    gone = await made(http, "echo", "succeeded")
    await seen.ask(http, "DELETE", JOB, gone)
    for method in ("GET", "HEAD"):
        for job_id in (live, done, gone, "nope"):
            await seen.ask(http, method, JOB, job_id, headers={"Prefer": "wait=0"})
            await seen.ask(http, method, f"{JOB}/result", job_id)
        await seen.ask(http, method, JOB, done, headers={"If-None-Match": "*"})
    written = await made(http, "report", "succeeded")
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, f"{JOB}/result", written)
    files_max, serving.descriptors.files_max = serving.descriptors.files_max, 0
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, f"{JOB}/result", written)
    serving.descriptors.files_max = files_max


async def actions(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    gone = await made(http, "echo", "succeeded")
    await seen.ask(http, "DELETE", JOB, gone)
    for action in (f"{JOB}:cancel", f"{JOB}:retry", f"{JOB}:run"):
        for job_id in (gone, "nope", await made(http, "echo", "succeeded")):
            await seen.ask(http, "POST", action, job_id)
    for job_id in (gone, "nope", await made(http, "hold", "running")):
        await seen.ask(http, "DELETE", JOB, job_id)
    await seen.ask(http, "POST", f"{JOB}:cancel", await made(http, "hold", "running"))
    await seen.ask(http, "POST", f"{JOB}:cancel", await made(http, "echo", "delayed", delay_s=60))
    await seen.ask(http, "POST", f"{JOB}:retry", await made(http, "fail", "failed"))
    await seen.ask(http, "POST", f"{JOB}:run", await made(http, "echo", "delayed", delay_s=60))


async def lists_and_bulk(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/jobs", "?limit=1&state=succeeded")
        await seen.ask(http, method, "/v1/jobs", "?limit=0")
        await seen.ask(http, method, "/v1/jobs", "?ids=nope", headers={"Prefer": "wait=0"})
        await seen.ask(http, method, "/v1/jobs", "", headers={"If-None-Match": "*"})
    page_of = await seen.ask(http, "GET", "/v1/jobs", "?limit=1")
    assert set(page_of) == set(members(section(page("job.md"), "## List").partition("\n### ")[0]))
    for action in ("retry", "cancel", "delete"):
        done = await seen.ask(http, "POST", f"/v1/jobs:{action}", json={"type": "nope"})
        assert set(done) <= set(members(section(page("job.md"), "## Bulk action")))
        await seen.ask(http, "POST", f"/v1/jobs:{action}", json={})


async def streams(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    done = await made(http, "echo", "succeeded")
    gone = await made(http, "echo", "succeeded")
    await seen.ask(http, "DELETE", JOB, gone)
    for job_id in (gone, "nope"):
        await seen.ask(http, "GET", f"{JOB}/events", job_id)
    async with http.get(f"/v1/jobs/{done}/events") as response:
        last_id = (await response.text()).split("id: ")[1].split("\n")[0]
    await seen.ask(http, "GET", f"{JOB}/events", done)
    await seen.ask(http, "GET", f"{JOB}/events", done, headers={"Last-Event-ID": last_id})
    async with http.get("/v1/events") as response:
        seen.answers["GET", "/v1/events"].add((response.status, ""))


async def queues(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    for method in ("GET", "HEAD"):
        for template in ("/v1/queues", "/livez", "/readyz"):
            await seen.ask(http, method, template)
        for name in ("default", "nope"):
            await seen.ask(http, method, QUEUE, name)
    assert set(await seen.ask(http, "GET", "/v1/queues")) == set(
        members(section(page("job.md"), "## Queues").partition("\n### ")[0])
    )
    for name in ("default", "nope"):
        for action in (":pause", ":resume"):
            await seen.ask(http, "POST", QUEUE + action, name)
        await seen.ask(http, "PATCH", QUEUE, name, json={"weight": 2})
    await seen.ask(http, "PATCH", QUEUE, "default", json={"weight": 0})


async def rejected_without_room(start: Start, http_to: Open, seen: Seen) -> None:
    serving = await start(queues={"default": {"capacity": 1}}, limits={"long_polls_max": 0}, spool={"bytes_max": 1})
    http = await http_to(serving)
    form = aiohttp.FormData()
    form.add_field("job", '{"type":"sizes"}', content_type="application/json")
    form.add_field("f", b"12", filename="f")
    await seen.ask(http, "POST", "/v1/jobs", data=form)
    failed = await made(http, "fail", "failed")
    held = await made(http, "hold", "running")
    await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
    await seen.ask(http, "POST", "/v1/jobs:batch", json={"jobs": [{"type": "echo"}]})
    await seen.ask(http, "POST", f"{JOB}:retry", failed)
    done = await seen.ask(http, "POST", "/v1/jobs:retry", json={"state": "failed"})
    assert list(done) == members(section(page("job.md"), "## Bulk action"))
    await seen.ask(http, "GET", f"{JOB}/events", held)
    await seen.ask(http, "GET", "/v1/events")


async def rejected_over_quota(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(limits={"caller_rate": {"count": 1, "period_s": 3600.0}}))
    await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
    for template in ("/v1/jobs", "/v1/jobs:batch"):
        await seen.ask(http, "POST", template, json={"jobs": []})
    http = await http_to(await start(limits={"caller_jobs_max": 1}))
    failed = await made(http, "fail", "failed")
    await made(http, "hold", "running")
    await seen.ask(http, "POST", f"{JOB}:retry", failed)


async def rejected_in_quarantine(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(queues={"default": {"capacity": 10, "retry_budget": 1}}))
    failed = await made(http, "fail", "failed")
    for _ in range(3):  # the first ones may wait
        await seen.ask(http, "POST", "/v1/jobs", json={"type": "fail"})
    await seen.ask(http, "POST", f"{JOB}:retry", failed)


async def rejected_without_memory(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(statuses={"jobs_max": 2}))
    for _ in range(3):
        await seen.ask(http, "POST", "/v1/jobs", json={"type": "hold"})


async def draining(start: Start, http_to: Open, seen: Seen) -> None:
    serving = await start()
    http = await http_to(serving)
    failed = await made(http, "fail", "failed")
    serving.service.stop_admitting()
    await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
    await seen.ask(http, "POST", "/v1/jobs:batch", json={"jobs": [{"type": "echo"}]})
    await seen.ask(http, "POST", f"{JOB}:retry", failed)
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/readyz")


async def test_the_server_gives_the_responses_to_any_request_and_any_body(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    seen = Seen()

    async def ask(method: str, path: str, **more: Any) -> None:
        await seen.ask(http, method, path, **more)

    json = {"Content-Type": "application/json"}
    await ask("GET", "/nowhere")
    await ask("PUT", "/v1/jobs")
    await ask("GET", "/v1/jobs", headers={"Origin": "https://elsewhere.example"})
    await ask("GET", "/v1/jobs", headers={"Host": "elsewhere.example"})
    await ask("GET", "/v1/jobs", headers={"X": "x" * 20_000})
    await ask("GET", "/v1/jobs", headers={"Expect": "the best"})
    await ask("POST", "/v1/jobs:batch", data=b"[", headers=json)
    await ask("POST", "/v1/jobs:batch", data=b" " * 100_000, headers=json)
    await ask("POST", "/v1/jobs:batch", data=b"x", headers={"Content-Type": "text/plain"})
    given = {answer for answers in seen.answers.values() for answer in answers}
    for raw in (b"GET\r\n\r\n", CODED):
        head = (await serving.talk(raw)).decode().partition("{")
        status, problem = int(head[0].split(" ")[1]), head[2].partition("/problems/")[2].partition('"')[0]
        given.add((status, problem))
    elsewhere = {
        (100, ""),
        (408, "body-too-slow"),
        (500, "internal"),
        (503, "overloaded"),
        (503, "too-many-connections"),
    }
    assert set(ANY_REQUEST | ANY_BODY) - elsewhere - given == set()


def test_the_headers_on_the_page_have_the_case_of_the_server() -> None:
    for name in codes(page("http.md")):
        if name.count("-") and name[0].isupper() and " " not in name and ":" not in name:
            assert name == name.title() or name in ("ETag", "X-Content-Type-Options"), name
