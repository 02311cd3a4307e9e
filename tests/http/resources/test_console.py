"""The console as resources: its page, its files, and where it is."""

from __future__ import annotations

import gzip
import importlib.resources
import re
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

import jobqueue.http
from jobqueue.app import JobQueue
from jobqueue.config import ConsoleSettings, Settings, SpoolSettings
from jobqueue.http.in_flight import SMALL_BYTES
from jobqueue.http.resources.console import EXPOSED, GUARD, OFF, Console
from jobqueue.http.resources.console_bundles import SCRIPT, SCRIPTS
from jobqueue.http.resources.console_files import SHEET, TYPES, console_files
from tests.http.declared import ANSWERS
from tests.http.keyed import OPS, auth, bearer
from tests.http.serving import read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Answer, Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

GZIP_BYTES_MAX = 150_000
"""Bytes of all that a browser loads for all pages; `tests/console/test_budget.py` counts what it does load."""
LOADED = (SCRIPT, "pages.js", "tools.js", SHEET, "icon.svg", "vendor/htm-preact.js", "vendor/uplot.js")
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def path_of(name: str) -> str:
    return f"/console/{console_files().version}/{name}"


async def raw(serving: Serving, target: str, *lines: str, method: str = "GET") -> Answer:
    """Send a request line as it is."""
    async with serving.connect() as (reader, writer):
        head = "\r\n".join([f"{method} {target} HTTP/1.1", "Host: h", *lines, "", ""])
        writer.write(head.encode("latin-1"))
        return await read_answer(reader)


async def test_the_page_names_files_of_its_version_alone(http: aiohttp.ClientSession) -> None:
    async with http.get("/console/") as response:
        page = await response.text()
        assert (response.status, response.content_type) == (200, "text/html")
    assert "VERSION" not in page
    assert f'src="{console_files().version}/{SCRIPT}"' in page
    assert re.findall(r'rel="stylesheet" href="[^"]+/(.+)"', page) == [SHEET]


@pytest.mark.parametrize(("path", "up"), [("/console", "../"), ("/internal/ops/console", "../../../")])
async def test_the_page_knows_the_way_to_the_api(start: Start, http_to: Open, path: str, up: str) -> None:
    http = await http_to(await start(console={"path": path}))
    async with http.get(f"{path}/") as response:
        assert f'<meta name="mount" content="{up}">' in await response.text()
    ANSWERS.undeclared.clear()  # the rows have the default path


async def test_every_file_is_served_with_its_type_for_ever(http: aiohttp.ClientSession) -> None:
    assert len(console_files().by_name) > 30
    for name, file in console_files().by_name.items():
        async with http.get(path_of(name), headers={"Accept-Encoding": "identity"}) as response:
            assert (response.status, await response.read()) == (200, file.body), name
            assert response.headers["Content-Type"] == TYPES[name[name.rfind(".") :]]
            assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


async def test_a_file_is_compressed_for_a_client_that_takes_it(serving: Serving) -> None:
    target = path_of(SCRIPT)
    file = console_files().by_name[SCRIPT]
    for accepted, zipped in (("gzip, br", True), ("*", True), ("br", False), ("gzip;q=0", False), ("", False)):
        answer = await raw(serving, target, f"Accept-Encoding: {accepted}")
        assert ("content-encoding" in answer.headers) == zipped
        assert int(answer.headers["content-length"]) == len((file.zipped or b"") if zipped else file.body)
        assert answer.headers["vary"] == "Accept-Encoding"
    assert gzip.decompress(file.zipped or b"") == file.body


async def test_a_file_that_a_browser_has_is_not_sent_again(http: aiohttp.ClientSession) -> None:
    for path in ("/console/", path_of(SCRIPT), path_of("main.js")):
        async with http.get(path) as response:
            tag = response.headers["ETag"]
        async with http.get(path, headers={"If-None-Match": tag}) as response:
            assert (response.status, await response.read()) == (304, b"")
            assert response.headers["ETag"] == tag


async def test_a_head_has_the_headers_of_the_get(http: aiohttp.ClientSession) -> None:
    for path in ("/console/", path_of(SCRIPT), path_of("main.js")):
        async with http.get(path) as got, http.head(path) as response:
            assert response.status == 200
            assert {**response.headers, "Date": ""} == {**got.headers, "Date": ""}
            assert await response.read() == b""


def test_a_bundle_has_no_comments_and_its_sources_have_them() -> None:
    comment = re.compile(rb"^[ \t]*/\*", re.MULTILINE)
    for name in (*SCRIPTS, SHEET):
        assert comment.search(console_files().by_name[name].body) is None, name
    assert comment.search(console_files().by_name["main.js"].body) is not None


def test_all_that_a_browser_loads_is_small() -> None:
    files = [console_files().page, *(console_files().by_name[name] for name in LOADED)]
    assert sum(len(file.zipped or file.body) for file in files) <= GZIP_BYTES_MAX
    for name, file in console_files().by_name.items():
        small = file.body if file.zipped is None else file.zipped
        assert len(small) <= SMALL_BYTES, f"{name}: else unread answers would count for more than others"


async def test_a_bundle_for_a_client_without_gzip_counts_as_a_long_answer(start: Start) -> None:
    serving = await start(limits={"in_flight_bytes": 2**21})
    body = console_files().by_name[SCRIPT].body
    assert len(body) > SMALL_BYTES
    share = serving.server.in_flight.share(lambda: False)
    assert share.take(2**20)
    assert (await raw(serving, path_of(SCRIPT))).rest == body
    assert share.take(2**19)
    assert (await raw(serving, path_of(SCRIPT))).status == 503
    assert (await raw(serving, path_of(SCRIPT), "Accept-Encoding: gzip")).status == 200
    share.close()


@pytest.mark.parametrize(
    "path",
    [
        "/console/",
        "/console",
        "/console/session",
        "/console/main.js",
        "/console/VERSION/main.js",
        "/console/nope/nope/nope/nope",
        "/console/nope:now",
        "/console/%00",
    ],
)
@pytest.mark.parametrize("keys", [False, True], ids=["open", "keys"])
async def test_every_answer_below_the_console_is_guarded(start: Start, path: str, keys: bool) -> None:
    serving = await start(**({"auth": auth()} if keys else {}))
    answer = await raw(serving, path, *([f"Authorization: Bearer {OPS.text}"] if keys else []))
    assert (answer.status < 400) == (path in ("/console/", "/console", "/console/session"))
    guarded = {name.lower(): value for name, value in GUARD.items()}
    if path != "/console":  # a redirect shows nothing
        assert {name: answer.headers.get(name) for name in guarded} == guarded


async def test_the_policy_allows_nothing_inline(http: aiohttp.ClientSession) -> None:
    policy = dict(part.split(" ", 1) for part in GUARD["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == policy["media-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in GUARD["Content-Security-Policy"]


@pytest.mark.parametrize(
    "name",
    [
        "../../config.yaml",
        "..%2F..%2Fapp.py",
        "%2e%2e/%2e%2e/app.py",
        "vendor/..%2fmain.js",
        "vendor/%2e%2e/main.js",
        "vendor/manifest.json",
        "vendor\\..\\main.js",
        "//etc/passwd",
        "main.js%00",
        "main.js/",
        "MAIN.JS",
        "./main.js",
        "index.html",
        "__init__.py",
        "",
    ],
)
async def test_no_name_leads_to_another_file(serving: Serving, name: str) -> None:
    answer = await raw(serving, path_of(name))
    assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json"), name


async def test_a_page_of_another_version_has_to_be_loaded_again(http: aiohttp.ClientSession) -> None:
    async with http.get("/console/0123456789abcdef/main.js") as response:
        assert response.status == 404
        assert "another version now" in (await response.json())["detail"]


async def test_a_path_without_the_slash_leads_to_the_page(http: aiohttp.ClientSession) -> None:
    async with http.get("/console") as response:
        assert (response.status, response.url.path) == (200, "/console/")
        assert [each.status for each in response.history] == [308]


async def test_a_browser_is_led_to_the_console_and_a_program_to_the_links(http: aiohttp.ClientSession) -> None:
    async with http.get("/", headers=BROWSER) as response:
        assert (response.status, response.url.path, response.content_type) == (200, "/console/", "text/html")
    for accept in ("*/*", "application/json", "text/html;q=0.5, application/json"):
        async with http.get("/", headers={"Accept": accept}, allow_redirects=False) as response:
            assert (await response.json())["links"]["console"] == "console/"
            assert response.headers["Vary"] == "Accept"


async def test_the_path_is_that_of_the_settings(start: Start) -> None:
    serving = await start(console={"path": "/internal/panel"})
    async with aiohttp.ClientSession(serving.url) as http:
        for path, status in (("/internal/panel", 200), ("/internal/panel/session", 200), ("/console/", 404)):
            async with http.get(path) as response:
                assert response.status == status, path
        async with http.get("/", headers=BROWSER) as response:
            assert response.url.path == "/internal/panel/"
    ANSWERS.undeclared.clear()  # the rows have the default path


async def test_a_console_that_is_off_is_not_there(start: Start, http_to: Open) -> None:
    http = await http_to(await start(console={"enabled": False}))
    for method, path in (("GET", "/console/"), ("GET", "/console"), ("POST", "/console/session")):
        async with http.request(method, path) as response:
            assert (response.status, (await response.json())["detail"]) == (404, OFF)
    async with http.get("/", headers=BROWSER) as response:
        assert "console" not in (await response.json())["links"]


async def test_a_reload_turns_the_console_off_and_on(start: Start, http_to: Open) -> None:
    serving = await start()
    http = await http_to(serving)
    for enabled, status in ((False, 404), (True, 200)):
        await serving.queue.reload(Settings(console=ConsoleSettings(enabled=enabled)))
        async with http.get("/console/") as response:
            assert response.status == status


@pytest.mark.parametrize(("keys", "status"), [(False, 404), (True, 200)])
async def test_on_an_address_of_the_network_the_console_needs_keys(start: Start, keys: bool, status: int) -> None:
    serving = await start(auth=auth() if keys else {"none": True})
    serving.api.listens_on([("192.0.2.1", serving.port)])
    answer = await raw(serving, "/console/")
    assert answer.status == status
    if not keys:
        assert answer.problem["detail"] == EXPOSED
        assert b"console" not in (await raw(serving, "/")).rest
        assert serving.api.console_at("http://192.0.2.1") == ""


@pytest.mark.parametrize("prefix", ["/jobs", "/a/b"])
async def test_a_mounted_console_is_whole(tmp_path: Path, prefix: str) -> None:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path))), drain_s=0.0)
    app = web.Application()
    app.add_subapp(prefix, jobqueue.http.application(queue))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{site.port}") as http:
            async with http.get(f"{prefix}/", headers=BROWSER) as response:
                assert response.url.path == f"{prefix}/console/"
                assert response.headers["Content-Security-Policy"] == GUARD["Content-Security-Policy"]
            async with http.get(f"{prefix}{path_of('pages/jobs.js')}") as response:
                assert response.status == 200
            async with http.get(f"{prefix}/console/session") as response:
                assert (await response.json())["keys"] is False
            async with http.get("/console/") as response:
                assert response.status == 404
    finally:
        await runner.cleanup()


class _Transport:
    """A connection with an address of its own."""

    def __init__(self, sockname: object) -> None:
        self._sockname = sockname

    def get_extra_info(self, name: str) -> object:
        assert name == "sockname"
        return self._sockname


@pytest.mark.parametrize(
    ("sockname", "keys", "there"),
    [
        (("127.0.0.1", 80), False, True),
        (("::1", 80, 0, 0), False, True),
        ("/run/host.sock", False, True),
        (("192.0.2.1", 80), False, False),
        (("192.0.2.1", 80), True, True),
        (None, False, False),
        (("nonsense", 1), False, False),
    ],
)
def test_in_a_host_application_the_address_of_the_connection_decides(sockname: object, keys: bool, there: bool) -> None:
    console = Console(JobQueue().service, lambda: keys)
    request = type("Request", (), {"transport": _Transport(sockname)})()
    assert (console.why_off(request) == "") == there


def test_the_package_contains_the_files() -> None:
    folder = importlib.resources.files("jobqueue.http").joinpath("console")
    assert folder.joinpath("index.html").is_file()
    assert folder.joinpath("vendor", "uplot.js").is_file()


async def test_keys_are_needed_for_the_api_and_not_for_the_page(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    for path, status in (("/console/", 200), (path_of("main.js"), 200), ("/v1/queues", 401)):
        async with http.get(path) as response:
            assert response.status == status
    async with http.get("/v1/queues", headers=bearer(OPS)) as response:
        assert response.status == 200
