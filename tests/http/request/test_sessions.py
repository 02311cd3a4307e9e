"""Sessions: sign-in, what the cookie may do, the page that it is from, and its end."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from jobqueue.http.errors import Unauthorized
from jobqueue.http.request import sessions as module
from jobqueue.http.request.grant import Grant
from jobqueue.http.request.sessions import COOKIE, IDLE_S, PER_KEY_MAX, SESSIONS_MAX, WHOLE_S, Sessions, tokens_in
from tests.http.keyed import ANN, BOB, OPS, STRANGER, SUB, auth, reload, request
from tests.http.serving import Answer, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobqueue.keys import Key
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]

PAGE = "Sec-Fetch-Site: same-origin"
PAUSE = "/v1/queues/default:pause"


async def ask(
    serving: Serving, method: str, path: str, *lines: str, key: Key | None = None, body: bytes = b""
) -> Answer:
    async with serving.connect() as (reader, writer):
        writer.write(request(method, path, key, *lines, body=body))
        return await read_answer(reader)


async def sign_in(serving: Serving, key: Key, *lines: str) -> str:
    """Return the cookie's line for further requests."""
    answer = await ask(serving, "POST", "/console/session", *lines, key=key)
    assert answer.status == 204, answer.rest
    return f"Cookie: {answer.headers['set-cookie'].partition(';')[0]}"


def document(answer: Answer) -> Any:
    return json.loads(answer.rest)


async def name_of(serving: Serving, *lines: str) -> Any:
    return document(await ask(serving, "GET", "/console/session", *lines))["name"]


# -- sign-in


async def test_a_key_is_exchanged_for_a_cookie_that_no_script_reads(start: Start) -> None:
    serving = await start(auth=auth())
    answer = await ask(serving, "POST", "/console/session", PAGE, key=ANN)
    cookie, *attributes = answer.headers["set-cookie"].split("; ")
    assert re.fullmatch(rf"{COOKIE}=[A-Za-z0-9_-]{{43}}", cookie)
    assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert ANN.secret not in str(answer.headers)
    session = await ask(serving, "GET", "/console/session", f"Cookie: {cookie}")
    assert document(session) == {
        **{"name": "ann", "scopes": ["submit", "read", "operate"], "readonly": False, "keys": True, "store": False},
        "version": document(session)["version"],
    }


@pytest.mark.parametrize("key", [None, STRANGER])
async def test_a_wrong_key_gets_a_401_and_no_cookie(start: Start, key: Key | None) -> None:
    serving = await start(auth=auth())
    answer = await ask(serving, "POST", "/console/session", PAGE, key=key)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer "), "no browser asks for a password then"
    assert "set-cookie" not in answer.headers


async def test_a_key_that_reads_nothing_signs_in_to_nothing(start: Start) -> None:
    answer = await ask(await start(auth=auth()), "POST", "/console/session", PAGE, key=SUB)
    assert (answer.status, answer.problem["scope"]) == (403, "read")


async def test_without_keys_there_is_nothing_to_sign_in_to(serving: Serving) -> None:
    answer = await ask(serving, "POST", "/console/session", PAGE)
    assert (answer.status, "set-cookie" in answer.headers) == (204, False)
    session = document(await ask(serving, "GET", "/console/session"))
    assert (session["keys"], session["name"], session["scopes"][-1]) == (False, None, "admin")


async def test_before_the_sign_in_the_session_tells_nothing(start: Start) -> None:
    session = document(await ask(await start(auth=auth()), "GET", "/console/session"))
    assert session == {"name": None, "scopes": [], "readonly": False, "version": None, "keys": True, "store": False}


@pytest.mark.parametrize("host", ["h:8080", "h", "[::1]:9"])
async def test_the_cookie_is_that_of_the_port(start: Start, host: str) -> None:
    serving = await start(auth=auth(), server={"hosts": ["h:8080", "h", "[::1]:9"]})
    line = f"POST /console/session HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {ANN.text}\r\n\r\n"
    async with serving.connect() as (reader, writer):
        writer.write(line.encode())
        answer = await read_answer(reader)
    port = host.rpartition(":")[2] if ":" in host else ""
    assert answer.headers["set-cookie"].startswith(f"{COOKIE}_{port}=" if port else f"{COOKIE}=")


async def test_the_cookie_is_secure_where_the_page_came_over_tls(start: Start) -> None:
    serving = await start(auth=auth(), server={"hosts": ["h"], "origins": ["https://h"]})
    answer = await ask(serving, "POST", "/console/session", PAGE, "Origin: https://h", key=ANN)
    assert answer.headers["set-cookie"].endswith("; Secure")


# -- what the cookie may do


async def test_a_session_reads_the_jobs_of_its_key(start: Start) -> None:
    serving = await start(auth=auth())
    job = document(await ask(serving, "POST", "/v1/jobs", key=ANN, body=b'{"type":"hold"}'))["id"]
    ann, bob, ops = [await sign_in(serving, key) for key in (ANN, BOB, OPS)]
    for path in (f"/v1/jobs/{job}", f"/v1/jobs/{job}/result"):
        found = [(await ask(serving, "GET", path, line)).status for line in (ann, bob, ops)]
        assert found == ([202, 404, 202] if path.endswith(job) else [409, 404, 409])
    assert (await ask(serving, "GET", "/v1/server", ann)).status == 403
    assert (await ask(serving, "GET", "/v1/server", ops)).status == 200


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
async def test_a_cookie_answers_for_its_own_key_on_both_paths(start: Start, fast_path: bool) -> None:
    serving = await start(auth=auth(), server={"fast_path": fast_path})
    job = document(await ask(serving, "POST", "/v1/jobs", key=ANN, body=b'{"type":"hold"}'))["id"]
    ann, bob = await sign_in(serving, ANN), await sign_in(serving, BOB)
    for _ in range(3):  # the second one would be met by a cached head
        assert (await ask(serving, "GET", f"/v1/jobs/{job}", key=ANN)).status == 202
        assert (await ask(serving, "GET", f"/v1/jobs/{job}", bob)).status == 404
        assert (await ask(serving, "GET", f"/v1/jobs/{job}", ann)).status == 202
        assert (await ask(serving, "GET", f"/v1/jobs/{job}")).status == 401


async def test_a_key_goes_before_a_cookie(start: Start) -> None:
    serving = await start(auth=auth())
    ann = await sign_in(serving, ANN)
    assert await name_of(serving, ann, f"Authorization: Bearer {BOB.text}") == "bob"
    answer = await ask(serving, "GET", "/v1/queues", ann, f"Authorization: Bearer {STRANGER.text}")
    assert answer.status == 401, "a wrong key is not mended by a cookie"


async def test_the_caller_of_a_session_is_its_key(start: Start) -> None:
    serving = await start(auth=auth("ops"), limits={"caller_jobs_max": 1})
    ops = await sign_in(serving, OPS)
    assert (await ask(serving, "POST", "/v1/jobs", key=OPS, body=b'{"type":"hold"}')).status == 202
    assert (await ask(serving, "POST", "/v1/jobs", ops, PAGE, body=b'{"type":"hold"}')).status == 429


async def test_a_read_only_console_reads_and_changes_nothing(start: Start) -> None:
    serving = await start(auth=auth(), console={"readonly": True})
    ops = await sign_in(serving, OPS)
    session = document(await ask(serving, "GET", "/console/session", ops))
    assert (session["scopes"], session["readonly"]) == (["read"], True)
    assert (await ask(serving, "GET", "/v1/queues", ops)).status == 200
    for method, path in (("POST", PAUSE), ("POST", "/v1/jobs"), ("POST", "/v1/server:reload")):
        answer = await ask(serving, method, path, ops, PAGE, body=b"{}")
        assert (answer.status, answer.problem["type"]) == (403, "/problems/insufficient-scope")
        assert "read-only" in answer.problem["detail"]
    assert (await ask(serving, "POST", PAUSE, key=OPS)).status == 200, "the key itself may"


@pytest.mark.parametrize("line", [PAGE, "Origin: http://h"])
@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
async def test_without_keys_a_read_only_console_refuses_the_changes_of_pages(
    start: Start, line: str, fast_path: bool
) -> None:
    serving = await start(console={"readonly": True}, server={"hosts": ["h"], "fast_path": fast_path})
    for path, body in ((PAUSE, b""), ("/v1/jobs", b'{"type":"echo"}')):
        answer = await ask(serving, "POST", path, line, body=body)
        assert (answer.status, "read-only" in answer.problem["detail"]) == (403, True)
        assert (await ask(serving, "POST", path, body=body)).status in (200, 202), "a program may"
    assert (await ask(serving, "GET", "/v1/jobs", line)).status == 200


async def test_a_reload_to_read_only_holds_for_open_sessions(start: Start) -> None:
    serving = await start(auth=auth("ops"))
    ops = await sign_in(serving, OPS)
    async with aiohttp.ClientSession(serving.url) as http:
        headers = {"Host": "h", "Cookie": ops.removeprefix("Cookie: ")}
        async with http.get("/v1/events", headers=headers) as stream:
            await set_readonly(serving, True)
            assert b"revoked" in await asyncio.wait_for(stream.content.read(), 5)
    assert (await ask(serving, "POST", PAUSE, ops, PAGE)).status == 403
    await set_readonly(serving, False)
    assert (await ask(serving, "POST", PAUSE, ops, PAGE)).status == 200


async def set_readonly(serving: Serving, readonly: bool) -> None:
    import msgspec

    from jobqueue.config import ConsoleSettings

    settings = msgspec.structs.replace(serving.service.settings, console=ConsoleSettings(readonly=readonly))
    assert await serving.queue.reload(settings) == []


# -- which page may change something


@pytest.mark.parametrize(
    ("lines", "allowed"),
    [
        ([PAGE], True),
        (["Origin: http://h"], True),
        ([PAGE, "Origin: http://h"], True),
        ([PAGE, "Origin: https://h"], True),  # a proxy speaks TLS
        ([], False),
        (["Sec-Fetch-Site: none"], False),
        (["Sec-Fetch-Site: same-site"], False),
        (["Sec-Fetch-Site: cross-site"], False),
        (["Sec-Fetch-Site: cross-site", "Origin: http://h"], False),
        (["Sec-Fetch-Site: same-site", "Origin: http://h:81"], False),
        (["Sec-Fetch-Site: none", "Origin: http://h"], False),
        ([PAGE, "Sec-Fetch-Site: cross-site"], False),
        (["Origin: http://elsewhere.example"], False),
        (["Origin: null"], False),
        (["Origin: http://h.elsewhere.example"], False),
        (["Origin: http://h", "Origin: http://elsewhere.example"], False),
        (["Origin: http://listed.example"], False),
        (["Sec-Fetch-Site: same-site", "Origin: http://listed.example"], False),
    ],
)
async def test_only_a_page_of_the_server_itself_changes_something_by_cookie(
    start: Start, lines: list[str], allowed: bool
) -> None:
    serving = await start(auth=auth("ops"), server={"hosts": ["h"], "origins": ["http://listed.example"]})
    ops = await sign_in(serving, OPS)
    answer = await ask(serving, "POST", PAUSE, ops, *lines)
    assert answer.status == (200 if allowed else 403)
    paused = document(await ask(serving, "GET", "/v1/queues/default", ops))["paused"]
    assert paused == allowed


async def test_a_listed_page_reads_nothing_by_cookie(start: Start) -> None:
    serving = await start(auth=auth("ops"), server={"hosts": ["h"], "origins": ["http://listed.example"]})
    ops = await sign_in(serving, OPS)
    assert (await ask(serving, "GET", "/v1/queues", ops, "Origin: http://listed.example")).status == 401
    assert await name_of(serving, ops, "Origin: http://listed.example") is None
    assert (await ask(serving, "GET", "/v1/queues", ops, "Origin: http://h")).status == 200


async def test_a_listed_page_signs_no_browser_in_or_out(start: Start) -> None:
    serving = await start(auth=auth("ops", "ann"), server={"hosts": ["h"], "origins": ["http://listed.example"]})
    ops, listed = await sign_in(serving, OPS), "Origin: http://listed.example"
    answer = await ask(serving, "POST", "/console/session", listed, key=ANN)
    assert (answer.status, "set-cookie" in answer.headers) == (403, False)
    assert (await ask(serving, "DELETE", "/console/session", ops, listed)).status == 403
    assert await name_of(serving, ops) == "ops"


# -- its end


async def test_a_page_signs_out(start: Start) -> None:
    serving = await start(auth=auth("ops"))
    ops = await sign_in(serving, OPS)
    answer = await ask(serving, "DELETE", "/console/session", ops, PAGE)
    assert answer.status == 204
    assert answer.headers["set-cookie"] == f"{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"
    refused = await ask(serving, "GET", "/v1/queues", ops)
    assert (refused.status, "sign in again" in refused.problem["detail"]) == (401, True)
    assert (await ask(serving, "DELETE", "/console/session", ops, PAGE)).status == 204, "once more changes nothing"


@pytest.mark.parametrize("how", ["removed", "fewer scopes", "another secret", "shared"])
async def test_a_session_ends_with_its_key(start: Start, how: str) -> None:
    serving = await start(auth=auth("ops", "ann"))
    line = await sign_in(serving, ANN)
    changed = auth("ops", "ann", shared=how == "shared", **({"ann": ["read"]} if how == "fewer scopes" else {}))
    if how == "removed":
        changed = auth("ops")
    elif how == "another secret":
        changed["keys"]["ann"]["sha256"] = "0" * 64
    async with aiohttp.ClientSession(serving.url) as http:
        headers = {"Host": "h", "Cookie": line.removeprefix("Cookie: ")}
        async with http.get("/v1/events", headers=headers) as stream:
            await reload(serving, changed)
            assert b"revoked" in await asyncio.wait_for(stream.content.read(), 5)
    assert (await ask(serving, "GET", "/v1/queues", line)).status == 401
    await reload(serving, auth("ops", "ann"))
    assert (await ask(serving, "GET", "/v1/queues", line)).status == 401, "the old cookie stays dead"


async def test_a_key_with_other_limits_keeps_its_sessions(start: Start) -> None:
    serving = await start(auth=auth("ops"))
    line, section = await sign_in(serving, OPS), auth("ops")
    section["keys"]["ops"]["limits"] = {"jobs_max": 3}
    await reload(serving, section)
    assert await name_of(serving, line) == "ops"


async def test_a_stream_ends_when_its_page_signs_out(start: Start) -> None:
    serving = await start(auth=auth("ops"))
    ops = await sign_in(serving, OPS)
    async with aiohttp.ClientSession(serving.url) as http:
        headers = {"Host": "h", "Cookie": ops.removeprefix("Cookie: ")}
        async with http.get("/v1/events", headers=headers) as stream:
            await ask(serving, "DELETE", "/console/session", ops, PAGE)
            assert b"revoked" in await asyncio.wait_for(stream.content.read(), 5)


async def test_a_change_that_arrives_after_the_sign_out_does_nothing(start: Start) -> None:
    serving = await start(auth=auth("ops"))
    ops = await sign_in(serving, OPS)
    body = b'{"workers":7}'
    async with serving.connect() as (reader, writer):
        writer.write(request("PATCH", "/v1/queues/default", None, ops, PAGE, body=body)[: -len(body)])
        await asyncio.sleep(0.05)  # the head is admitted
        await ask(serving, "DELETE", "/console/session", ops, PAGE)
        writer.write(body)
        assert (await read_answer(reader)).status == 401
    assert document(await ask(serving, "GET", "/v1/queues/default", key=OPS))["workers"] != 7


async def test_a_second_sign_in_ends_the_first_session_of_the_browser(start: Start) -> None:
    serving = await start(auth=auth("ops", "ann"))
    first = await sign_in(serving, OPS)
    second = await sign_in(serving, ANN, first)
    assert await name_of(serving, first) is None
    assert await name_of(serving, second) == "ann"


# -- the table of sessions, without a server


class Request:
    """A request with headers."""

    def __init__(self, *pairs: tuple[str, str], method: str = "GET") -> None:
        from multidict import CIMultiDict

        self.headers, self.method, self.scheme = CIMultiDict([("Host", "h"), *pairs]), method, "http"


def with_cookie(*tokens: str) -> Any:
    return Request(*(("Cookie", f"{COOKIE}={token}") for token in tokens))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the sessions' clock is ahead."""
    ahead = [0.0]

    class Loop:
        def __init__(self) -> None:
            self._loop = asyncio.get_running_loop()

        def time(self) -> float:
            return self._loop.time() + ahead[0]

        def call_at(self, at: float, call: Any) -> asyncio.TimerHandle:
            return self._loop.call_at(at, call)

    monkeypatch.setattr(module, "_loop", lambda: Loop())
    return ahead


def a_key(name: str = "ops") -> Grant:
    return Grant(name, ["admin"], shared=False)


async def test_a_session_ends_when_it_is_idle(clock: list[float]) -> None:
    sessions = Sessions()
    token = sessions.open(a_key())
    for _ in range(3):
        clock[0] += 0.9 * IDLE_S
        assert not sessions.grant_of(with_cookie(token)).revoked, "each request begins its idle time anew"
    clock[0] += IDLE_S
    with pytest.raises(Unauthorized):
        sessions.grant_of(with_cookie(token))
    assert len(sessions) == 0
    sessions.stop()


async def test_a_session_ends_after_its_whole_time_however_busy(clock: list[float]) -> None:
    sessions = Sessions()
    token = sessions.open(a_key())
    grant = sessions.grant_of(with_cookie(token))
    while clock[0] < WHOLE_S - IDLE_S:
        clock[0] += 0.9 * IDLE_S
        sessions.grant_of(with_cookie(token))
    clock[0] = WHOLE_S
    with pytest.raises(Unauthorized):
        sessions.grant_of(with_cookie(token))
    assert grant.revoked
    sessions.stop()


async def test_the_timer_ends_a_session_that_no_request_asks_for(clock: list[float]) -> None:
    sessions, ended = Sessions(), list[int]()
    sessions.on_end = lambda: ended.append(len(sessions))
    sessions.open(a_key())
    clock[0] = IDLE_S + 1
    sessions._end_expired()
    assert ended == [0]


async def test_a_key_and_all_keys_have_a_bounded_number_of_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions, key = Sessions(), a_key()
    tokens = [sessions.open(key) for _ in range(PER_KEY_MAX + 3)]
    assert len(sessions) == PER_KEY_MAX
    alive = [sessions.find(with_cookie(token)) is not None for token in tokens]
    assert alive == [False] * 3 + [True] * PER_KEY_MAX
    others = [sessions.open(a_key(f"k{number}")) for number in range(SESSIONS_MAX)]
    assert len(sessions) == SESSIONS_MAX
    assert sessions.find(with_cookie(tokens[-1])) is None
    assert sessions.find(with_cookie(others[-1])) is not None
    sessions.stop()


async def test_ten_thousand_sign_ins_of_one_key_leave_the_sessions_of_others(start: Start) -> None:
    sessions, flooding = Sessions(), a_key("flood")
    mine = sessions.open(a_key("mine"))
    for _ in range(10_000):
        sessions.open(flooding)
    assert len(sessions) == PER_KEY_MAX + 1
    assert sessions.find(with_cookie(mine)) is not None
    sessions.stop()


async def test_only_the_digest_of_a_token_is_kept() -> None:
    sessions = Sessions()
    token = sessions.open(a_key())
    assert list(sessions._open) == [hashlib.sha256(token.encode()).digest()]
    assert token not in repr(vars(sessions))
    assert len(token) == 43
    assert len({sessions.open(a_key()) for _ in range(100)}) == 100
    sessions.stop()


async def test_two_cookies_of_the_name_are_no_session() -> None:
    sessions = Sessions()
    token, other = sessions.open(a_key()), sessions.open(a_key("other"))
    for tokens in ((token, other), (other, token), (token, token)):
        with pytest.raises(Unauthorized, match="several cookies"):
            sessions.grant_of(with_cookie(*tokens))
    sessions.stop()


@pytest.mark.parametrize(
    ("cookie", "found"),
    [
        (f"{COOKIE}={'a' * 43}", 1),
        (f"theme=dark; {COOKIE}={'a' * 43}; x=y", 1),
        (f"theme=dark;{COOKIE}={'a' * 43}", 1),
        (f"{COOKIE.upper()}={'a' * 43}", 0),
        (f"{COOKIE}_81={'a' * 43}", 0),
        (f"x{COOKIE}={'a' * 43}", 0),
        (f'{COOKIE}="{"a" * 43}"', 0),
        (f"{COOKIE}={'a' * 42}", 0),
        (f"{COOKIE}={'a' * 44}", 0),
        (f"{COOKIE}=", 0),
        (f"{COOKIE}={'a' * 42}\x00", 0),
        (f"{COOKIE} ={'a' * 43}", 0),
        (f"{COOKIE}={'é' * 43}", 0),
        (f"{COOKIE}={'a' * 43},{COOKIE}={'b' * 43}", 0),
        ("; " * 3000, 0),
        ("", 0),
    ],
)
def test_only_a_well_formed_token_under_the_name_is_read(cookie: str, found: int) -> None:
    request: Any = Request(("Cookie", cookie))
    assert len(tokens_in(request)) == found


async def test_a_change_needs_a_page_of_the_server() -> None:
    sessions = Sessions()
    token = sessions.open(a_key())
    request: Any = Request(("Cookie", f"{COOKIE}={token}"), ("Sec-Fetch-Site", "same-origin"), method="DELETE")
    assert sessions.grant_of(request).is_session
    sessions.stop()
