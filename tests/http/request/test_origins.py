"""Cross-origin requests are rejected; listed origins get CORS headers; hosts are checked."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import aiohttp
import msgspec
import pytest
from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy

import jobqueue.http
from jobqueue.app import JobQueue
from jobqueue.config import ServerSettings, Settings, SpoolSettings
from jobqueue.http.request.origins import EXPOSED, OriginPolicy
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving

JSON = "Content-Type: application/json"
FORM = b'--x\r\nContent-Disposition: form-data; name="job"\r\n\r\n{"type":"echo"}\r\n--x--\r\n'
FOREIGN = (
    ("Origin: http://evil.example",),
    ("Origin: null",),
    ("Origin: http://h:1",),
    ("Origin: https://h",),
    ("Origin: http://evil.example", "Sec-Fetch-Site: cross-site"),
    ("Origin: http://h", "Sec-Fetch-Site: cross-site"),
    ("Origin: http://h", "Origin: http://h"),
    ("Origin: \udcff",),
    ("Origin:",),
    ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
    ("Sec-Fetch-Site: same-site",),
    ("Sec-Fetch-Site: nonsense",),
)
OWN = (
    (),
    ("Origin: http://h",),
    ("Origin: http://h", "Sec-Fetch-Site: same-origin"),
    ("Origin: https://h", "Sec-Fetch-Site: same-origin"),  # behind a TLS proxy
    ("Sec-Fetch-Site: same-origin",),
    ("Sec-Fetch-Site: none",),
)


def ask(method: str, target: str, *lines: str, body: bytes = b"", host: str = "h", version: str = "1.1") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    head = "".join(f"{line}\r\n" for line in [*([f"Host: {host}"] if host else []), *lines, *length, CLOSE])
    return f"{method} {target} HTTP/{version}\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


@pytest.fixture(params=[True, False], ids=["fast path", "stock path"])
async def either(start: Callable[..., Awaitable[Serving]], request: pytest.FixtureRequest) -> Serving:
    return await start(server={"fast_path": request.param, "origins": ["http://listed", "https://app.example:8443"]})


async def answer_to(serving: Serving, request: bytes) -> Answer:
    return Answer(await serving.talk(request))


def counts(serving: Serving) -> object:
    """Return the state that a request can change, without the drain rate, which changes with time."""
    statuses, (queue,) = serving.service.backend.stats()
    return statuses, msgspec.structs.replace(queue, drain_rate_per_s=0.0)


# -- cross-origin requests


@pytest.mark.parametrize("lines", FOREIGN)
async def test_a_cross_origin_request_changes_nothing(either: Serving, lines: tuple[str, ...]) -> None:
    live = await either.queue.submit("echo", delay_s=1000)
    failed = await either.queue.submit("fail")
    await failed.wait()
    before = counts(either)
    text = "Content-Type: text/plain;charset=UTF-8"
    for request in (
        ask("POST", "/v1/jobs", JSON, *lines, body=b'{"type":"echo"}'),
        ask("POST", "/v1/jobs", text, *lines, body=b'{"type":"echo"}'),
        ask("POST", "/v1/jobs", "Content-Type: multipart/form-data; boundary=x", *lines, body=FORM),
        ask("POST", "/v1/jobs", JSON, "Idempotency-Key: k", "Prefer: wait=1", *lines, body=b'{"type":"echo"}'),
        ask("POST", "/v1/jobs:batch", JSON, *lines, body=b'{"jobs":[{"type":"echo"}]}'),
        ask("POST", f"/v1/jobs/{live.id}:cancel", *lines),
        ask("POST", f"/v1/jobs/{live.id}:run", *lines),
        ask("POST", f"/v1/jobs/{failed.id}:retry", *lines),
        ask("DELETE", f"/v1/jobs/{failed.id}", *lines),
        ask("POST", "/v1/jobs:cancel", JSON, *lines, body=b'{"state":"delayed"}'),
        ask("POST", "/v1/jobs:retry", JSON, *lines, body=b'{"state":"failed"}'),
        ask("POST", "/v1/jobs:delete", JSON, *lines, body=b'{"state":"failed"}'),
        ask("POST", "/v1/queues/default:pause", *lines),
        ask("POST", "/v1/queues/default:resume", *lines),
        ask("PATCH", "/v1/queues/default", JSON, *lines, body=b'{"workers":1}'),
        ask("PUT", "/v1/jobs", *lines),
        ask("OPTIONS", "/v1/jobs", "Access-Control-Request-Method: POST", *lines),
        ask("POST", "/nope", *lines),
    ):
        answer = await answer_to(either, request)
        assert (answer.status, answer.kind) == (403, "cross-origin"), request
        assert "server.origins" in answer.problem["detail"]
        assert "access-control-allow-origin" not in answer.headers
    assert counts(either) == before


@pytest.mark.parametrize("lines", FOREIGN)
async def test_a_cross_origin_read_gets_403_and_holds_no_waiter(either: Serving, lines: tuple[str, ...]) -> None:
    done = await either.queue.submit("echo")
    await done.wait()
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eHh4")
    for request in (
        ask("GET", f"/v1/jobs/{done.id}", *lines),
        ask("HEAD", f"/v1/jobs/{done.id}", *lines),
        ask("GET", f"/v1/jobs/{done.id}/result", *lines),
        ask("GET", f"/v1/jobs/{done.id}", "Prefer: wait=60", *lines),
        ask("GET", f"/v1/jobs/{done.id}/events", "Accept: text/event-stream", *lines),
        ask("GET", "/v1/events", "Accept: text/event-stream", *lines),
        ask("GET", "/v1/jobs?limit=1", *lines),
        ask("GET", "/v1/queues", *lines),
        ask("GET", "/readyz", *lines),
        ask("GET", "/v1/events", *lines, *upgrade),
    ):
        answer = await answer_to(either, request)
        assert answer.status == 403, request
        assert "access-control-allow-origin" not in answer.headers
        assert either.waiting.count == 0


@pytest.mark.parametrize("lines", OWN)
async def test_same_origin_pages_and_other_clients_are_unrestricted(either: Serving, lines: tuple[str, ...]) -> None:
    accepted = await answer_to(either, ask("POST", "/v1/jobs", JSON, *lines, body=b'{"type":"echo"}'))
    assert accepted.status == 202
    assert (await answer_to(either, ask("HEAD", accepted.headers["location"], *lines))).status in (200, 202)
    assert (await answer_to(either, ask("GET", accepted.headers["location"], *lines))).status in (200, 202)
    assert (await answer_to(either, ask("POST", "/v1/queues/default:pause", *lines))).status == 200


async def test_a_cross_site_link_may_be_navigated_but_not_framed_or_posted(either: Serving) -> None:
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    assert (await answer_to(either, ask("GET", "/v1/queues", *link, "Sec-Fetch-Dest: document"))).status == 200
    assert (await answer_to(either, ask("GET", "/v1/queues", *link, "Sec-Fetch-Dest: iframe"))).status == 403
    assert (await answer_to(either, ask("GET", "/v1/queues", *link, "Sec-Fetch-Dest: object"))).status == 403
    post_link = ask("POST", "/v1/queues/default:pause", *link, "Sec-Fetch-Dest: document")
    assert (await answer_to(either, post_link)).status == 403


async def test_a_cached_head_does_not_match_a_cross_origin_request(serving: Serving) -> None:
    look = b"GET /v1/queues HTTP/1.1\r\nHost: h\r\n\r\n".replace(b"queues", b"jobs/" + b"0" * 22)
    body = b'{"type":"echo"}'
    async with serving.connect() as (reader, writer):
        for number, expected in ((look, 404), (post(body), 202)):
            for _ in range(3):
                writer.write(number)
                assert (await read_answer(reader)).status == expected
            for line in ("Origin: http://evil", "Sec-Fetch-Site: cross-site"):
                writer.write(number.replace(b"Host: h\r\n", f"Host: h\r\n{line}\r\n".encode()))
                answer = await read_answer(reader)
                assert (answer.status, answer.kind) == (403, "cross-origin")
            writer.write(number.replace(b"Host: h\r\n", b"Host: evil\r\n"))
            answer = await read_answer(reader)
            assert (answer.status, answer.kind) == (421, "misdirected-request")


async def test_an_origin_is_quoted_in_part_and_in_ascii(serving: Serving) -> None:
    answer = await answer_to(serving, ask("GET", "/livez", "Origin: \udcff" + "x" * 5000))
    assert answer.status == 403
    assert len(answer.problem["detail"]) < 400
    assert answer.problem["detail"].isascii()


# -- listed origins

LISTED = "Origin: http://listed"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/queues/default:pause", "/v1/jobs/x", "/nope"])
async def test_a_preflight_of_a_listed_origin_gets_204_with_its_headers(either: Serving, path: str) -> None:
    asked = ("Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,idempotency-key")
    answer = await answer_to(either, ask("OPTIONS", path, LISTED, *asked, "Sec-Fetch-Site: cross-site"))
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "http://listed"
    assert answer.headers["vary"] == "Origin"
    assert int(answer.headers["access-control-max-age"]) > 0
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        assert method in answer.headers["access-control-allow-methods"]
    for name in ("Content-Type", "Idempotency-Key", "Prefer", "If-None-Match", "Last-Event-ID"):
        assert name in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


async def test_options_without_preflight_headers_gets_405(either: Serving) -> None:
    for lines in ((), ("Origin: http://h", "Access-Control-Request-Method: POST"), (LISTED,)):
        answer = await answer_to(either, ask("OPTIONS", "/v1/jobs", *lines))
        assert (answer.status, answer.kind) == (405, "method-not-allowed")


async def test_every_response_to_a_listed_origin_has_cors_headers(either: Serving) -> None:
    done = await either.queue.submit("echo")
    await done.wait()
    file = await either.queue.submit("report")
    await file.wait()
    many = [await either.queue.submit("big", {"size": 60_000}) for _ in range(6)]
    for each in many:
        await each.wait()
    for status, request in (
        (202, ask("POST", "/v1/jobs", JSON, LISTED, body=b'{"type":"echo","delay_s":9}')),
        (202, ask("POST", "/v1/jobs", "Content-Type: multipart/form-data; boundary=x", LISTED, body=FORM)),
        (207, ask("POST", "/v1/jobs:batch", JSON, LISTED, body=b'{"jobs":[]}')),
        (200, ask("POST", "/v1/queues/default:resume", LISTED)),
        (200, ask("GET", f"/v1/jobs/{done.id}", LISTED, "Sec-Fetch-Site: cross-site")),
        (200, ask("HEAD", f"/v1/jobs/{done.id}", LISTED)),
        (304, ask("GET", f"/v1/jobs/{done.id}", LISTED, 'If-None-Match: W/"2"')),
        (200, ask("GET", f"/v1/jobs/{file.id}/result", LISTED)),
        (200, ask("GET", f"/v1/jobs?ids={','.join(each.id for each in many)}", LISTED)),
        (200, ask("GET", f"/v1/jobs/{done.id}/events", LISTED)),
        (404, ask("GET", "/nope", LISTED)),
        (404, ask("GET", f"/v1/jobs/{'0' * 22}", LISTED)),
        (405, ask("PUT", "/v1/jobs", LISTED)),
        (413, ask("POST", "/v1/jobs", JSON, LISTED, "Content-Length: 99999999")),
        (415, ask("POST", "/v1/jobs", "Content-Type: text/plain", LISTED, body=b"{}")),
        (417, ask("POST", "/v1/jobs", JSON, LISTED, "Expect: nonsense", body=b"{}")),
        (422, ask("POST", "/v1/jobs", JSON, LISTED, body=b"{}")),
        (421, ask("GET", "/v1/queues", LISTED, host="evil")),
    ):
        answer = await answer_to(either, request)
        assert answer.status == status, request
        if status == 417:
            continue  # sent below the API; a web page can not set Expect
        assert answer.headers["access-control-allow-origin"] == "http://listed", request
        assert answer.headers["access-control-expose-headers"] == EXPOSED
        assert answer.headers["vary"] == "Origin"
    either.service.stop_admitting()
    refused = await answer_to(either, ask("POST", "/v1/jobs", JSON, LISTED, body=b'{"type":"echo"}'))
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (503, "http://listed")
    assert "retry-after" in refused.headers
    assert "Retry-After" in EXPOSED


async def test_responses_without_a_listed_origin_vary_by_origin(either: Serving) -> None:
    for request in (ask("GET", "/v1/queues"), post(b'{"type":"echo"}', CLOSE), post(b"{", CLOSE)):
        answer = await answer_to(either, request)
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-origin" not in answer.headers


async def test_responses_have_no_cors_headers_without_listed_origins(serving: Serving) -> None:
    for request in (ask("GET", "/v1/queues", "Origin: http://h"), ask("GET", "/v1/queues", LISTED)):
        answer = await answer_to(serving, request)
        assert not [name for name in answer.headers if name.startswith(("access-control", "vary"))]


async def test_only_an_exact_origin_is_listed(either: Serving) -> None:
    for origin in (
        "https://listed",
        "http://listed:81",
        "http://listed.evil",
        "http://LISTED",
        "http://app.example:8443",
    ):
        assert (await answer_to(either, ask("GET", "/livez", f"Origin: {origin}"))).status == 403
    assert (await answer_to(either, ask("GET", "/livez", "Origin: https://app.example:8443"))).status == 200


def test_listed_origins_are_normalized() -> None:
    policy = OriginPolicy(["HTTPS://App.Example:443", "http://[::1]:80", "http://a:8080"])
    assert policy.origins == {"https://app.example", "http://[::1]", "http://a:8080"}


# -- hosts


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:{port}", True),
        ("localhost", True),
        ("localhost:{port}", True),
        ("LocalHost.:{port}", True),
        ("localhost:", True),
        ("h", True),
        ("H:9", True),
        ("evil.example", False),
        ("evil.example:{port}", False),
        ("localhost:1", False),
        ("127.0.0.1:1", False),
        ("127.0.0.2", False),
        ("10.0.0.1", False),
        ("[::1]", False),
        ("[::ffff:127.0.0.1]:{port}", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("evil@localhost", False),
        ("localhost@evil", False),
        ("localhost,evil", False),
        ("localhost evil", False),
        ("h:x", False),
        ("h:99999999", False),
        ("[h]", False),
        ("[", False),
        ("\udcff", False),
        (".", False),
    ],
)
async def test_a_loopback_server_accepts_only_its_own_host_names(either: Serving, host: str, allowed: bool) -> None:
    host = host.format(port=either.port)
    for request in (
        ask("GET", f"/v1/jobs/{'0' * 22}", host=host),
        ask("POST", "/v1/jobs", JSON, body=b'{"type":"echo"}', host=host),
        ask("GET", "/v1/queues", host=host),
        ask("GET", "/nope", host=host),
        ask("POST", "/v1/queues/default:pause", host=host),
    ):
        answer = await answer_to(either, request)
        assert (answer.status != 421) == allowed
        if not allowed:
            assert answer.kind == "misdirected-request"
            assert "server.hosts" in answer.problem["detail"]
            assert f"127.0.0.1:{either.port}" in answer.problem["detail"]
    statuses, (queue,) = either.service.backend.stats()
    assert (statuses.accepted_total, queue.paused) == ((1, True) if allowed else (0, False))


async def test_an_empty_host_is_rejected(either: Serving) -> None:
    answer = await answer_to(either, ask("GET", "/livez", "Host:", host=""))
    assert (answer.status, answer.kind) == (421, "misdirected-request")


async def test_dns_rebinding_is_rejected_despite_the_same_origin(
    either: Serving,
) -> None:
    host = f"evil.example:{either.port}"
    answer = await answer_to(either, ask("POST", "/v1/queues/default:pause", f"Origin: http://{host}", host=host))
    assert (answer.status, answer.kind) == (421, "misdirected-request")


async def test_the_authority_of_an_absolute_target_is_checked(either: Serving) -> None:
    assert (await answer_to(either, ask("GET", "http://h/livez"))).status == 200
    assert (await answer_to(either, ask("GET", "http://evil/livez"))).status == 421
    assert (await answer_to(either, ask("GET", "http://h/livez", host="evil"))).status == 421
    assert (await answer_to(either, ask("GET", "http://h@evil/livez"))).status in (400, 421)


async def test_a_url_in_a_query_or_path_is_not_checked_as_host(either: Serving) -> None:
    assert (await answer_to(either, ask("GET", "/v1/jobs?group=http://evil/x"))).status == 200
    assert (await answer_to(either, ask("GET", "/http://evil/x"))).status == 404
    assert (await answer_to(either, ask("GET", "/v1/jobs?group=http://evil/x", host="evil"))).status == 421
    for end in ("?group=x", "/v1/jobs?group=http://evil"):
        assert (await answer_to(either, ask("GET", f"http://h{end}"))).status in (200, 404)
        assert (await answer_to(either, ask("GET", f"http://evil{end}"))).status == 421


async def test_a_missing_host_is_accepted_in_http_1_0_only(either: Serving) -> None:
    assert (await answer_to(either, ask("GET", "/livez", host="", version="1.0"))).status == 200
    assert (await answer_to(either, ask("GET", "/livez", host="evil", version="1.0"))).status == 421
    assert (await answer_to(either, ask("GET", "/livez", host="", version="1.1"))).status == 400


def accepts(policy: OriginPolicy, host: str) -> bool:
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict(Host=host))
    return policy.is_plain(headers)


@pytest.mark.parametrize(
    ("addresses", "hosts", "allowed", "refused"),
    [
        ([("127.0.0.1", 80)], [], ["127.0.0.1", "localhost", "localhost:80"], ["evil", "127.0.0.2", "[::1]"]),
        ([("127.9.9.9", 80)], [], ["127.9.9.9", "localhost"], ["evil", "127.0.0.1"]),
        ([("::1", 80)], [], ["[::1]", "[0:0:0:0:0:0:0:1]:80", "localhost"], ["evil", "127.0.0.1", "::1"]),
        ([("127.0.0.1", 80), ("::1", 80)], [], ["127.0.0.1", "[::1]:80", "localhost"], ["evil"]),
        ([("127.0.0.1", 80)], ["localhost"], ["localhost:9000"], ["127.0.0.1:9000"]),
        ([("127.0.0.1", 80)], ["localhost:9000"], ["localhost:9000", "localhost:80"], ["localhost:9001"]),
        ([("0.0.0.0", 80)], [], ["anything", "10.0.0.1", ""], []),
        ([("10.0.0.1", 80)], [], ["anything", "10.0.0.2", ""], []),
        ([("0.0.0.0", 80)], ["Jobs.Example"], ["jobs.example:1", "10.0.0.1", "localhost"], ["evil", "10.0.0.1:1", ""]),
        ([("::", 80)], ["jobs.example"], ["jobs.example", "[2001:db8::1]", "10.0.0.1:80"], ["evil"]),
        ([("10.0.0.1", 80)], ["jobs.example"], ["jobs.example", "10.0.0.1"], ["evil", "10.0.0.2"]),
        ([("::1%lo", 80)], ["[fe80::1]"], ["[::1]", "[FE80:0::1]"], ["[fe80::2]"]),
        (None, [], ["anything"], []),
        (None, ["jobs.example"], ["jobs.example", "127.0.0.1:99", "localhost"], ["evil"]),
    ],
)
def test_allowed_hosts_follow_from_addresses_and_settings(
    addresses: list[tuple[str, int]] | None, hosts: list[str], allowed: list[str], refused: list[str]
) -> None:
    policy = OriginPolicy((), hosts)
    if addresses is not None:
        policy.listens_on(addresses)
    assert [host for host in allowed if not accepts(policy, host)] == []
    assert [host for host in refused if accepts(policy, host)] == []


# -- in a host application


@pytest.mark.parametrize("hosts", [(), ("jobs.example",)])
async def test_a_host_application_rejects_cross_origin_requests_and_unlisted_hosts(
    tmp_path: Path, hosts: tuple[str, ...]
) -> None:
    server = ServerSettings(hosts=hosts, origins=("http://listed",))
    queue = JobQueue(Settings(server=server, spool=SpoolSettings(dir=str(tmp_path))), drain_s=0.0)
    app = web.Application()
    app.add_subapp("/background", jobqueue.http.application(queue))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    pause = "/background/v1/queues/default:pause"
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as http:

            async def status(method: str, path: str, **headers: str) -> int:
                given = {name.replace("_", "-"): value for name, value in headers.items()}
                async with http.request(method, path, headers=given) as response:
                    allowed = response.headers.get("Access-Control-Allow-Origin")
                    assert allowed == ("http://listed" if given.get("Origin") == "http://listed" else None)
                    return response.status

            asked = {"Access_Control_Request_Method": "POST"}
            assert await status("POST", pause, Origin="http://evil") == 403
            assert await status("POST", pause, Sec_Fetch_Site="cross-site") == 403
            assert await status("OPTIONS", pause, Origin="http://evil", **asked) == 403
            assert await status("POST", "/background/nope", Origin="http://evil") == 403
            assert await status("OPTIONS", pause, Origin="http://listed", **asked) == 204
            assert await status("GET", "/background/v1/queues", Origin="http://listed") == 200
            assert await status("GET", "/background/nope", Origin="http://listed") == 404
            assert await status("GET", "/background/v1/queues", Host="evil") == (421 if hosts else 200)
            assert await status("GET", "/background/v1/queues", Host="jobs.example") == 200
            assert await status("POST", pause) == 200
    finally:
        await runner.cleanup()


# -- streams and result files


async def test_an_event_stream_for_a_listed_origin_has_cors_headers(either: Serving) -> None:
    async with either.connect() as (reader, writer):
        writer.write(ask("GET", "/v1/events", LISTED))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert b"Access-Control-Allow-Origin: http://listed\r\n" in head
        assert b"Vary: Origin\r\n" in head


async def test_a_result_file_has_a_same_origin_resource_policy(serving: Serving) -> None:
    job = await serving.queue.submit("report", {"media_type": "text/javascript"})
    await job.wait()
    answer = await answer_to(serving, ask("GET", f"/v1/jobs/{job.id}/result"))
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert json.loads((await answer_to(serving, ask("GET", f"/v1/jobs/{job.id}"))).rest)["state"] == "succeeded"
