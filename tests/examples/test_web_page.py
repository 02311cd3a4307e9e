"""The example of a web page, without a browser: the page's files, and what its script asks of the API."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import aiohttp
import pytest

from jobqueue import errors
from jobqueue.client import Client
from tests.e2e.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TABLE = 'name,"the ""size""",height\nada,1,2.5\ngrace,2,tall\n' + "x,0,0\n" * 2000


@pytest.fixture(autouse=True)
async def no_idle_threads() -> AsyncIterator[None]:
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_the_page_and_all_files_that_it_names_are_served(page_url: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(page_url) as response:
            page = await response.text()
            assert response.content_type == "text/html"
            assert response.headers["Content-Security-Policy"].startswith("default-src 'self'; ")
        named = {*re.findall(r'(?:src|href)="([\w.]+)"', page), "jobqueue.js"}
        assert named == {"page.js", "style.css", "jobqueue.js"}
        for name in named:
            async with session.get(f"{page_url}/{name}") as response:
                assert response.status == 200
                assert response.content_type in ("text/javascript", "application/javascript", "text/css")
    assert 'import { Client, JobQueueError } from "./jobqueue.js";' in (ROOT / "examples/web_page/page.js").read_text()


async def test_a_table_is_summed_up_with_progress(page_url: str) -> None:
    async with Client(f"{page_url}/jobs") as client:
        job = await client.submit("summarize", files={"table": ("table.csv", TABLE.encode(), "text/csv")})
        events = [event async for event in client.events(job.id)]
        assert events[-1].name == "succeeded"
        assert events[-1].data["progress"] == {"fraction": 1.0, "note": "2,002 rows, 3 columns"}
        async with aiohttp.ClientSession() as session, session.get(f"{page_url}/jobs/v1/jobs/{job.id}/result") as sums:
            assert sums.content_type == "text/csv"
            assert sums.headers["Content-Security-Policy"] == "sandbox"  # the API's own
            assert (await sums.text()).splitlines() == [
                "column,sum",
                "name,",
                '"the ""size""",3.0',
                "height,",
            ]


async def test_a_job_without_a_table_is_rejected_with_the_reason(page_url: str) -> None:
    async with Client(f"{page_url}/jobs") as client:
        for files in (None, {"other": b"x"}):
            with pytest.raises(errors.JobFailed, match="rejected: send one CSV file, as the part 'table' of a form"):
                await client.run("summarize", files=files)
        with pytest.raises(errors.JobQueueError, match="1"):  # of one file at most
            await client.submit("summarize", files={"table": [b"x", b"y"]})


async def test_an_empty_table_and_bytes_of_any_kind_have_sums(page_url: str) -> None:
    async with Client(f"{page_url}/jobs") as client:
        for content in (b"", b"\xff\xfe,b\n1,2\n", b"a\n" * 3):
            job = await client.submit("summarize", files={"table": content}, wait_s=10)
            assert (job.state, job.error) == ("succeeded", None)
