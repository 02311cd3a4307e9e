"""Descriptions: the index of links, and the pages that the types of problems point to."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import aiohttp
import pytest

from jobqueue.http.response.problems import INTERNAL, TABLE
from tests.http.keyed import auth
from tests.http.test_mounting import host  # noqa: F401  # a fixture

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

SLUGS = sorted({row.slug for row in (*TABLE.values(), INTERNAL)})
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}


async def test_each_link_of_the_index_leads_to_an_answer(http: aiohttp.ClientSession) -> None:
    async with http.get("/") as response:
        links = (await response.json())["links"]
    assert {"jobs", "queues", "livez", "readyz", "problems"} <= set(links)
    assert not [path for path in links.values() if path.startswith("/")]
    for path in links.values():
        async with http.get(f"/{path}") as response:
            assert response.status == 200, path


async def test_the_links_hold_where_the_api_is_mounted(host: str) -> None:  # noqa: F811
    async with aiohttp.ClientSession() as http:
        async with http.get(f"{host}/background/") as response:
            links = (await response.json())["links"]
        for path in links.values():
            async with http.get(urljoin(f"{host}/background/", path)) as response:
                # The log belongs to the server process, which an application has not.
                assert response.status == (409 if path.endswith("server/log") else 200), path


@pytest.mark.parametrize("slug", SLUGS)
async def test_the_type_of_each_problem_leads_to_its_explanation(http: aiohttp.ClientSession, slug: str) -> None:
    async with http.get(f"/problems/{slug}") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        told = await response.json()
    assert told["type"] == f"/problems/{slug}"
    assert told["cause"]
    assert told["remedy"]
    async with http.get("/problems") as response:
        assert told in (await response.json())["problems"]


@pytest.mark.parametrize("path", ["/problems", *(f"/problems/{slug}" for slug in SLUGS)])
async def test_a_browser_gets_a_page_without_scripts_and_its_links_hold(http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(path, headers=BROWSER) as response:
        assert response.content_type == "text/html"
        assert response.headers["Content-Security-Policy"].startswith("default-src 'none';")
        assert response.headers["Vary"] == "Accept"
        written = await response.text()
    assert not re.search("<script|<style|style=|javascript:|https?:", written)
    assert "`" not in written
    for link in re.findall('href="([^"]*)"', written):
        async with http.get(urljoin(f"/x{path}", link).removeprefix("/x")) as response:
            assert response.status == 200, link


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (None, "application/json"),
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, application/json", "application/json"),
        ("application/json;q=0.9, text/html", "text/html"),
        ("TEXT/HTML ; Q=0.9, application/*;q=0.5", "text/html"),
        ("text/html;q=0", "application/json"),
        ("text/html;q=x, application/json;q=0.1", "text/html"),
        ("text/html;" * 500, "text/html"),
        ("," * 4000, "application/json"),
    ],
)
async def test_json_is_sent_unless_a_page_is_preferred(serving: Serving, accept: str | None, media_type: str) -> None:
    line = b"" if accept is None else f"Accept: {accept}\r\n".encode()
    answer = await serving.talk(b"GET /problems/internal HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + line + b"\r\n")
    assert f"\r\nContent-Type: {media_type}".encode() in answer


@pytest.mark.parametrize(
    ("slug", "hint"),
    [("queue-ful", "did you mean 'queue-full'?"), ("zzz", "GET /problems lists all"), ("%3Cb%3E" * 99, "lists all")],
)
async def test_an_unknown_type_is_not_found_and_a_similar_one_is_named(
    http: aiohttp.ClientSession, slug: str, hint: str
) -> None:
    async with http.get(f"/problems/{slug}", headers=BROWSER) as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (404, "/problems/not-found")
    assert hint in problem["detail"]


async def test_descriptions_are_open_without_a_key(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    for path in ("/", "/problems", "/problems/unauthorized"):
        async with http.get(path) as response:
            assert response.status == 200
    async with http.get("/v1/queues") as response:
        problem = await response.json(content_type="application/problem+json")
    assert problem["type"] == "/problems/unauthorized"
