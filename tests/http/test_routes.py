"""The table of routes: the server gives each response that a row declares, with the headers that it names.

`declared` checks over all tests of this folder that the server gives no other response.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import pytest

from jobqueue import JobQueue
from jobqueue.core.job import LIVE
from jobqueue.errors import ConfigError, Draining, JournalFailed, JournalFull, Recovering, Refused, StoreUnavailable
from jobqueue.handlers.schedule_submission import ScheduleSubmission
from jobqueue.http import api
from jobqueue.http.console_routes import is_of_console
from jobqueue.http.request.origins import PREFLIGHT
from jobqueue.http.resources.console_files import console_files
from jobqueue.http.resources.job_list import PARAMETERS
from jobqueue.http.response.problems import TABLE
from jobqueue.http.route import Route
from jobqueue.http.routes import ANY_BODY, ANY_REQUEST, ROUTES
from jobqueue.runtime import simulator
from jobqueue.schedules.definition import checked
from jobqueue.wiring import system
from tests.backend.keeping import HeldKeeper
from tests.http import flow_answers
from tests.http.declared import problem_in, slug_of
from tests.http.far import far
from tests.http.keyed import READER, SUB, auth, bearer
from tests.http.serving import Serving, read_answer
from tests.journal_figures import figures, give_journal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobqueue.core.stored_file import StoredFile

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

    Given = tuple[int, str]  # a status, and the slug of a problem, empty without one

SCHEDULE = "/v1/schedules/{name}"
JOB, QUEUE, TOPIC = "/v1/jobs/{id}", "/v1/queues/{name}", "/v1/topics/{topic}"
OPERATIONS = {(method, row.path): row for row in ROUTES for method in row.methods}
CODED = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
)


class Seen:
    """The responses of a server, by operation, and their headers."""

    def __init__(self) -> None:
        self.answers: dict[tuple[str, str], set[Given]] = defaultdict(set)
        self.headers: dict[tuple[str, str, Given], set[str]] = defaultdict(set)

    async def ask(
        self, http: aiohttp.ClientSession, method: str, template: str, path: str = "", at: str = "", **more: Any
    ) -> Any:
        """Send a request, record the response, and return the document.

        Args:
            path: The value of the name in braces, and a query.
            at: The whole path, where several names are in braces.
        """
        url = at or re.sub(r"\{\w+\}", path, template) if "{" in template else template + path
        async with http.request(method, url, **more) as response:
            is_json = method != "HEAD" and "json" in response.headers.get("Content-Type", "")
            document = await response.json(content_type=None) if is_json else None
            is_problem = is_json and response.content_type == "application/problem+json"
            problem = document["type"].rpartition("/")[2] if is_problem else ""
            answer = (response.status, problem)
            self.answers[method, template].add(answer)
            self.headers[method, template, answer].update(name.lower() for name in response.headers)
            if response.status in (429, 503):
                assert int(response.headers["Retry-After"]) >= 1
            return document


async def ended(http: aiohttp.ClientSession, job_id: str) -> None:
    """Wait until a job is terminal."""
    async with http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200


async def made(http: aiohttp.ClientSession, type: str, state: str, **more: Any) -> str:
    """Return the id of a job in a state."""
    async with http.post("/v1/jobs", json={"type": type, **more}) as response:
        job = await response.json()
    wait = {} if state in LIVE else {"Prefer": "wait=5"}
    while job["state"] != state:
        async with http.get(f"/v1/jobs/{job['id']}", headers=wait) as response:
            job = await response.json()
    return str(job["id"])


async def test_the_server_gives_every_declared_response_with_its_headers(start: Start, http_to: Open) -> None:
    seen = Seen()
    serving = await start()
    http = await http_to(serving)
    scenarios = (
        submissions,
        reads,
        actions,
        lists_and_bulk,
        streams,
        topics,
        schedules,
        queues,
        callers,
        statistics,
        descriptions,
        the_server,
        simulations,
        the_console,
    )
    for scenario in scenarios:
        await scenario(serving, http, seen)
    rejections = (
        without_console,
        rejected_in_a_store,
        rejected_without_room,
        rejected_over_quota,
        rejected_in_quarantine,
        rejected_without_memory,
    )
    for rejected in (*rejections, rejected_by_the_journal, rejected_without_scope, draining):
        await rejected(start, http_to, seen)
    await flow_answers.answers(serving, http, seen.ask)
    for rejected_flow in flow_answers.REJECTIONS:
        await rejected_flow(start, http_to, seen.ask)
    missing = []
    for (method, path), row in OPERATIONS.items():
        for answer in row.own_answers:
            # A HEAD does not name its problem.
            given = (answer.status, "" if method == "HEAD" else slug_of(answer))
            if given not in seen.answers[method, path]:
                missing.append(f"{method} {path} never answered {answer.status} {slug_of(answer)}")
            elif left := {name.lower() for name in answer.headers} - seen.headers[method, path, given]:
                missing.append(f"{method} {path} never answered {answer.status} with {left}")
    assert missing == []


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
    await submit_batch({"jobs": [{"type": "echo"}, {"type": "nope"}, {"type": "hold", "unique": "u"}]})
    await submit_batch({"jobs": []}, headers={"Idempotency-Key": "k"})
    await submit_batch([])


async def reads(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    live, done = await made(http, "hold", "running"), await made(http, "echo", "succeeded")
    gone = await made(http, "echo", "succeeded")
    await seen.ask(http, "DELETE", JOB, gone)
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, JOB, f"{live}?include=nope")
        for job_id in (live, done, gone, "nope"):
            await seen.ask(http, method, JOB, f"{job_id}?include=args,spec,files,events")
            await seen.ask(http, method, JOB, job_id, headers={"Prefer": "wait=0"})
            await seen.ask(http, method, f"{JOB}/result", job_id)
        for job_id in (live, done):
            await seen.ask(http, method, JOB, job_id, headers={"If-None-Match": "*", "Prefer": "wait=0"})
    written = await made(http, "report", "succeeded")
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, f"{JOB}/result", written)
    files_max, serving.descriptors.files_max = serving.descriptors.files_max, 0
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, f"{JOB}/result", written)
    serving.descriptors.files_max = files_max
    make_unreadable((await serving.service.backend.get(written)).file)
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, f"{JOB}/result", written)


def make_unreadable(file: StoredFile | None) -> None:
    """Replace a file by a symbolic link, which the server does not open."""
    assert file is not None
    Path(file.path).unlink()
    Path(file.path).symlink_to("/dev/null")


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
        await seen.ask(http, method, "/v1/jobs", "?ids=nope", headers={"If-None-Match": "*", "Prefer": "wait=0"})
        await seen.ask(http, method, "/v1/failures", "?limit=0")
    await made(http, "fail", "failed")
    failures = await seen.ask(http, "GET", "/v1/failures")
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/failures")
        for failure in (failures["groups"][0]["id"], "nope"):
            await seen.ask(http, method, "/v1/failures/{failure}", failure)
    for action in ("retry", "cancel", "delete", "run"):
        await seen.ask(http, "POST", f"/v1/jobs:{action}", json={"type": "nope"})
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
    await seen.ask(http, "GET", "/v1/events", "?rate_max=0")
    async with http.get("/v1/events") as response:
        seen.answers["GET", "/v1/events"].add((response.status, ""))
        seen.headers["GET", "/v1/events", (response.status, "")].update(name.lower() for name in response.headers)


def subscribe(serving: Serving) -> None:
    """Have a subscriber of the topics `held` and `failing`, whose jobs do what these say."""

    @serving.queue.on("held", "failing")
    async def subscriber(topic: str, data: int) -> None:
        if topic == "failing":
            raise ValueError("it can't be done")
        await serving.gate.wait()


async def topics(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    subscribe(serving)
    for number in (1, 1, 2, "x"):
        await seen.ask(http, "POST", TOPIC, "held", json={"data": number}, headers={"Idempotency-Key": "topics"})
    await seen.ask(http, "POST", TOPIC, "held", json={"data": "x"})
    await seen.ask(http, "POST", TOPIC, "held", json={})
    await seen.ask(http, "POST", TOPIC, "a..b", json={"data": 1})
    serving.lag_s = 10.0
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
    serving.lag_s = 0.0
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/topics")
    listening = "/v1/topics/{pattern}/events"
    await seen.ask(http, "GET", listening, "a..b")
    async with http.get("/v1/topics/held/events") as response:
        seen.answers["GET", listening].add((response.status, ""))
        seen.headers["GET", listening, (response.status, "")].update(name.lower() for name in response.headers)


async def schedules(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    fixed = ScheduleSubmission(type="echo", every_s=3600.0)
    put_in_code(serving, "fixed", fixed)
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/schedules")
        await seen.ask(http, method, "/v1/schedules", "?limit=0")
        for name in ("fixed", "nope"):
            await seen.ask(http, method, SCHEDULE, name)
    for body in ({"type": "hold", "every_s": 3600}, {"type": "hold", "every_s": 7200}, {"type": "hold", "every_s": 0}):
        await seen.ask(http, "PUT", SCHEDULE, "mine", json=body)
    await seen.ask(http, "PUT", SCHEDULE, "fixed", json={"type": "echo", "every_s": 3600})
    for _ in range(2):
        await seen.ask(http, "POST", f"{SCHEDULE}:run", "mine")
    for name in ("mine", "nope"):
        for action in (":pause", ":resume"):
            await seen.ask(http, "POST", SCHEDULE + action, name)
    await seen.ask(http, "POST", f"{SCHEDULE}:run", "nope")
    for name in ("mine", "mine", "fixed"):
        await seen.ask(http, "DELETE", SCHEDULE, name)


def put_in_code(serving: Serving, name: str, given: ScheduleSubmission) -> None:
    """Have a schedule as if the code defined it."""
    registry, queues = serving.service.registry, serving.service.settings.queues
    made = checked((None, name), given, source="code", registry=registry, has_queue=queues.__contains__)
    serving.service.schedules.runner.put(made)


async def run_rejected(serving: Serving, http: aiohttp.ClientSession, seen: Seen, job_type: str = "echo") -> None:
    put_in_code(serving, "fixed", ScheduleSubmission(type=job_type, every_s=3600.0, overlap="queue"))
    await seen.ask(http, "POST", f"{SCHEDULE}:run", "fixed")


async def queues(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    for method in ("GET", "HEAD"):
        for template in ("/v1/queues", "/livez", "/readyz"):
            await seen.ask(http, method, template)
        await seen.ask(http, method, "/v1/types")
        for name in ("default", "nope"):
            await seen.ask(http, method, QUEUE, name)
        for name in ("echo", "nope"):
            await seen.ask(http, method, "/v1/types/{name}", name)
            await seen.ask(http, "POST", "/v1/types/{name}:release", name)
        for accept in ("*/*", "application/openmetrics-text"):
            await seen.ask(http, method, "/metrics", headers={"Accept": accept})
        await seen.ask(http, method, "/openapi.json", "?types=2")
        for known in ({}, {"If-None-Match": "*"}):
            await seen.ask(http, method, "/openapi.json", headers=known)
    for name in ("default", "nope"):
        for action in (":pause", ":resume"):
            await seen.ask(http, "POST", QUEUE + action, name)
        await seen.ask(http, "PATCH", QUEUE, name, json={"weight": 2})
    await seen.ask(http, "PATCH", QUEUE, "default", json={"weight": 0})
    await seen.ask(http, "POST", f"{QUEUE}:pause", "default", json={"for_s": 0})


async def simulations(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    async def simulate(queue: str = "default", **question: Any) -> None:
        await seen.ask(http, "POST", f"{QUEUE}:simulate", queue, json=question)

    given = {"arrivals_per_s": 1.0, "run_s": 1.0, "seconds": 1.0, "loads": [1.0], "alternatives": [{"workers": 1}]}
    await simulate(**given)
    await simulate("nope")
    await simulate(loads=[])
    await simulate()
    await asyncio.gather(simulate(**given), simulate(**given))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "EXTRA_S", -simulator.TIME_S)
        await simulate(**given)


async def callers(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    for method in ("GET", "HEAD"):
        for query in ("", "?limit=0"):
            await seen.ask(http, method, "/v1/callers", query)
    for name in ("203.0.113.9", "nobody"):
        await seen.ask(http, "POST", "/v1/callers/{caller}:block", name, json={"for_s": 60})
        await seen.ask(http, "POST", "/v1/callers/{caller}:unblock", name)
    await seen.ask(http, "POST", "/v1/callers/{caller}:block", "127.0.0.1", json={"for_s": 60})


async def statistics(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    await submit_and_record(serving, http)
    for method in ("GET", "HEAD"):
        for query in ("", "?by=nothing"):
            await seen.ask(http, method, "/v1/stats", query)
    serving.recorder.stop()
    serving.recorder.history = None
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/stats")


async def submit_and_record(serving: Serving, http: aiohttp.ClientSession) -> None:
    """Let the recorder take two samples, with a job between them."""
    recorder = serving.recorder
    while recorder.history is None or recorder.history.last is None:
        await asyncio.sleep(0.01)
    last = recorder.history.last
    await made(http, "echo", "succeeded")
    while recorder.history.last == last:
        await asyncio.sleep(0.01)


async def descriptions(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/")
        for accept in ("*/*", "text/html"):
            await seen.ask(http, method, "/problems", headers={"Accept": accept})
            for slug in ("queue-full", "nope"):
                await seen.ask(http, method, "/problems/{slug}", slug, headers={"Accept": accept})


async def the_server(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    async def command() -> None:
        await seen.ask(http, "PATCH", "/v1/server", json={"log_level": "info"})
        for name in ("reload", "drain"):
            await seen.ask(http, "POST", f"/v1/server:{name}")

    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/server")
        for path in ("/v1/findings", "/v1/webhooks", "/v1/server/log", "/v1/server/settings"):
            await seen.ask(http, method, path)
    await seen.ask(http, "PATCH", "/v1/server", json={"log_level": "loud"})
    await command()
    for error in (ConfigError("config.yaml:1:1: unknown setting"), Draining()):
        serving.process.error = error
        await seen.ask(http, "POST", "/v1/server:reload")
    serving.api.process = None
    await seen.ask(http, "GET", "/v1/server")
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/v1/server/log")
    await command()


async def the_console(serving: Serving, http: aiohttp.ClientSession, seen: Seen) -> None:
    files = console_files()
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/", headers={"Accept": "text/html"}, allow_redirects=False)
        await seen.ask(http, method, "/console", allow_redirects=False)
        await seen.ask(http, method, "/console/session")
        await seen.ask(http, method, "/v1/server/actions")
        for known in ({}, {"If-None-Match": "*"}):
            await seen.ask(http, method, "/console/", headers=known)
            for template in ("/console/{version}/{file}", "/console/{version}/{folder}/{file}"):
                depth = template.count("{") - 2
                name = next(name for name, of in files.by_name.items() if name.count("/") == depth and of.zipped)
                await seen.ask(http, method, template, at=f"/console/{files.version}/{name}", headers=known)


async def without_console(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(console={"enabled": False}))
    for (method, path), row in OPERATIONS.items():
        if is_of_console(row):
            await seen.ask(http, method, path, "x", allow_redirects=False)
    http = await http_to(await start(auth=auth("reader")))
    await seen.ask(http, "POST", "/console/session", headers=bearer(READER))
    await seen.ask(http, "DELETE", "/console/session")


async def rejected_in_a_store(start: Start, http_to: Open, seen: Seen) -> None:
    serving = Serving(Path(), {}, "valkey")
    serving.service.surroundings = far(system)
    await serving.start()
    http = await http_to(serving)
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
    await seen.ask(http, "GET", "/v1/topics/{pattern}/events", "held")
    put_in_code(serving, "fixed", ScheduleSubmission(type="echo", every_s=3600.0))
    await seen.ask(http, "PUT", SCHEDULE, "mine", json={"type": "echo", "every_s": 3600})
    await seen.ask(http, "DELETE", SCHEDULE, "fixed")
    for action in (":pause", ":resume"):
        await seen.ask(http, "POST", SCHEDULE + action, "fixed")
    await serving.stop()


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
    await run_rejected(serving, http, seen)
    done = await seen.ask(http, "POST", "/v1/jobs:retry", json={"state": "failed"})
    assert done == {"count": 0, "skipped": 1, "skipped_by": {"queue-full": 1}}
    await seen.ask(http, "GET", f"{JOB}/events", held)
    await seen.ask(http, "GET", "/v1/events")
    subscribe(serving)
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
    await seen.ask(http, "GET", "/v1/topics/{pattern}/events", "held")
    await seen.ask(http, "POST", f"{QUEUE}:simulate", "default", json={"arrivals_per_s": 1.0, "run_s": 1.0})


async def rejected_over_quota(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(limits={"caller_rate": {"count": 1, "period_s": 3600.0}}))
    await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
    for template in ("/v1/jobs", "/v1/jobs:batch"):
        await seen.ask(http, "POST", template, json={"jobs": []})
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
    http = await http_to(await start(limits={"caller_jobs_max": 1}))
    failed = await made(http, "fail", "failed")
    await made(http, "hold", "running")
    await seen.ask(http, "POST", f"{JOB}:retry", failed)
    await seen.ask(http, "PUT", SCHEDULE, "mine", json={"type": "echo", "every_s": 3600})
    await seen.ask(http, "POST", f"{SCHEDULE}:run", "mine")


async def rejected_in_quarantine(start: Start, http_to: Open, seen: Seen) -> None:
    serving = await start(queues={"default": {"capacity": 10, "retry_budget": 1}})
    http = await http_to(serving)
    failed = await made(http, "fail", "failed")
    for _ in range(3):  # the first ones may wait
        await seen.ask(http, "POST", "/v1/jobs", json={"type": "fail"})
    await seen.ask(http, "POST", f"{JOB}:retry", failed)
    for _ in range(2):
        await run_rejected(serving, http, seen, "fail")
    subscribe(serving)
    published = await seen.ask(http, "POST", TOPIC, "failing", json={"data": 1})
    await ended(http, published["jobs"][0]["id"])
    for _ in range(2):
        await seen.ask(http, "POST", TOPIC, "failing", json={"data": 1})
    document = await seen.ask(http, "GET", "/v1/queues")
    assert document["queues"][0]["quarantined"], "so that its document is compared, too"
    document = await seen.ask(http, "GET", "/v1/types/{name}", "fail")
    assert document["quarantined"]


async def rejected_without_memory(start: Start, http_to: Open, seen: Seen) -> None:
    serving = await start(statuses={"jobs_max": 2})
    http = await http_to(serving)
    for _ in range(3):
        await seen.ask(http, "POST", "/v1/jobs", json={"type": "hold"})
    await run_rejected(serving, http, seen)
    subscribe(serving)
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})


async def rejected_without_scope(start: Start, http_to: Open, seen: Seen) -> None:
    http = await http_to(await start(auth=auth("sub", "reader")))
    for (method, path), row in OPERATIONS.items():
        if row.scope is not None:
            key = READER if row.scope == "submit" else SUB
            await seen.ask(http, method, path, "default" if "{" in path else "", headers=bearer(key))


async def rejected_by_the_journal(start: Start, http_to: Open, seen: Seen) -> None:
    keeper = HeldKeeper(waits=False)
    serving = await start(lambda settings: replace(system(settings), journal=keeper))
    http = await http_to(serving)
    failed, done = await made(http, "fail", "failed"), await made(http, "echo", "succeeded")
    held = await made(http, "hold", "running")
    later = (await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo", "delay_s": 60}))["id"]
    admission = cast("Any", serving.service.backend)._engine.admission
    subscribe(serving)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HeldKeeper, "troubled", True)
        for kind in (JournalFull, JournalFailed):
            patch.setattr(keeper, "check", partial(_refuse, kind))
            await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
            await seen.ask(http, "POST", f"{JOB}:retry", failed)
            await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
            await run_rejected(serving, http, seen)
            admission.close(partial(kind, "the disk is broken", 10.0))
            await seen.ask(http, "POST", "/v1/jobs:batch", json={"jobs": [{"type": "echo"}]})
            admission.reopen()
        await seen.ask(http, "DELETE", JOB, done)
        await seen.ask(http, "POST", f"{JOB}:run", later)
        await seen.ask(http, "POST", f"{JOB}:cancel", held)
        for action in ("retry", "cancel", "delete", "run"):
            await seen.ask(http, "POST", f"/v1/jobs:{action}", json={"type": "fail"})
        await seen.ask(http, "PATCH", QUEUE, "default", json={"weight": 2})
        for action in (":pause", ":resume"):
            await seen.ask(http, "POST", QUEUE + action, "default")
            await seen.ask(http, "POST", SCHEDULE + action, "fixed")
        await seen.ask(http, "PUT", SCHEDULE, "mine", json={"type": "echo", "every_s": 3600})
        await seen.ask(http, "DELETE", SCHEDULE, "fixed")
        give_journal(patch, serving.service, figures(state="failed"))
        for method in ("GET", "HEAD"):
            await seen.ask(http, method, "/readyz")


def _refuse(kind: type[Refused]) -> None:
    raise kind("the disk is broken", 10.0)


async def draining(start: Start, http_to: Open, seen: Seen) -> None:
    serving = await start()
    http = await http_to(serving)
    failed = await made(http, "fail", "failed")
    serving.service.stop_admitting()
    await seen.ask(http, "POST", "/v1/jobs", json={"type": "echo"})
    await seen.ask(http, "POST", "/v1/jobs:batch", json={"jobs": [{"type": "echo"}]})
    await seen.ask(http, "POST", f"{JOB}:retry", failed)
    await seen.ask(http, "POST", TOPIC, "held", json={"data": 1})
    await run_rejected(serving, http, seen)
    await seen.ask(http, "POST", f"{QUEUE}:simulate", "default", json={})
    for method in ("GET", "HEAD"):
        await seen.ask(http, method, "/readyz")


async def test_the_server_gives_the_responses_to_any_request_and_any_body(start: Start, http_to: Open) -> None:
    seen = Seen()
    serving = await start(limits={"body_timeout_s": 0.2})
    http = await http_to(serving)

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
    expecting = CODED.replace(b"Transfer-Encoding: gzip, chunked", b"Content-Length: 2\r\nExpect: 100-continue")
    for raw in (b"GET\r\n\r\n", CODED, expecting.removesuffix(b"0\r\n\r\n")):
        given |= answers_in(await serving.talk(raw))
    given |= await failed_and_crowded_out(start, http_to)
    given |= answers_in(await (await start(auth=auth())).talk(CODED))
    for kind in (Recovering, partial(StoreUnavailable, "the store doesn't answer", 2.0)):
        not_ready = await start()
        not_ready.service.why_not_ready = kind
        given |= answers_in(await not_ready.talk(b"GET /v1/jobs HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"))
    limited = await start(limits={"caller_requests": {"count": 1, "period_s": 60.0}})
    asked = b"GET /livez HTTP/1.1\r\nHost: h\r\n"
    given |= answers_in(await limited.talk(asked + b"\r\n" + asked + b"Connection: close\r\n\r\n"))
    assert {(answer.status, slug_of(answer)) for answer in (*ANY_REQUEST, *ANY_BODY)} - given == set()


def answers_in(raw: bytes) -> set[Given]:
    """Return the responses in received bytes: interim ones, and one problem."""
    *interim, last = raw.split(b"HTTP/1.1 ")[1:]
    body = last.partition(b"\r\n\r\n")[2]
    return {*((int(head[:3]), "") for head in interim), (int(last[:3]), problem_in(body))}


async def failed_and_crowded_out(start: Start, http_to: Open) -> set[Given]:
    """Return the responses to a handler's failure, a lack of memory, and a connection over the limit."""
    seen = Seen()
    serving = await start(server={"connections_max": 1})
    http = await http_to(serving)
    for error in (RuntimeError(), MemoryError()):
        with pytest.MonkeyPatch.context() as patched:

            def fail(*of: Any, error: Exception = error, **more: Any) -> None:
                raise error

            patched.setattr("jobqueue.http.resources.job_list.job_filter_of", fail)
            await seen.ask(http, "GET", "/v1/jobs")
    async with serving.connect() as (reader, _):
        refused = await asyncio.wait_for(read_answer(reader), 5)
    return {*seen.answers["GET", "/v1/jobs"], (refused.status, refused.kind)}


def test_an_application_has_exactly_the_routes_of_the_table() -> None:
    found = [(route.method, route.resource) for route in api(JobQueue()).router.routes()]
    assert {(method, resource.canonical) for method, resource in found if resource is not None} == set(OPERATIONS)
    assert len(found) == len(OPERATIONS)


def test_names_of_rows_are_unique_and_rows_of_one_path_are_adjacent() -> None:
    assert len({row.name for row in ROUTES}) == len(ROUTES)
    paths = [path for path, _ in groupby(ROUTES, key=lambda row: row.path)]
    assert len(paths) == len(set(paths))


def test_the_most_frequent_request_comes_first() -> None:
    assert (ROUTES[0].method, ROUTES[0].path) == ("GET", JOB)


def test_every_problem_is_declared_somewhere() -> None:
    rows = (*(answer for row in ROUTES for answer in row.own_answers), *ANY_REQUEST, *ANY_BODY)
    assert {slug_of(answer) for answer in rows} - {"", "internal"} == {row.slug for row in TABLE.values()}


@pytest.mark.parametrize("row", ROUTES, ids=lambda row: row.name)
async def test_a_route_accepts_exactly_the_media_types_of_its_row(row: Route, http: aiohttp.ClientSession) -> None:
    path = re.sub(r"\{\w+\}", "default", row.path)
    headers = {"Content-Type": "text/plain"}
    async with http.request(row.method, path, data=b"x", headers=headers) as response:
        accepted = response.headers.get("Accept" if row.method == "PUT" else f"Accept-{row.method.title()}")
    if row.body is None:
        assert response.status != 415
    else:
        assert (response.status, accepted) == (415, ", ".join(kind.value for kind in row.body.kinds))


@pytest.mark.parametrize("name", PARAMETERS)
async def test_a_list_accepts_exactly_the_parameters_of_its_row(name: str, http: aiohttp.ClientSession) -> None:
    value = {"state": "failed", "limit": "1", "cursor": "x" * 22}.get(name, "text")
    async with http.get("/v1/jobs", params={name: value}) as response:
        document = await response.text()
    assert "unknown query parameter" not in document
    async with http.get("/v1/jobs", params={name.upper(): "1"}) as response:
        assert response.status == 400


def test_cors_allows_the_headers_and_methods_of_the_rows() -> None:
    allowed = set(PREFLIGHT["Access-Control-Allow-Headers"].split(", "))
    assert allowed == {"Authorization", "Content-Type", *(name for row in ROUTES for name in row.headers)}
    methods = set(PREFLIGHT["Access-Control-Allow-Methods"].split(", "))
    assert {method for row in ROUTES for method in row.methods} <= methods
