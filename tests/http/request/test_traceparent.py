"""The header `traceparent`: its form, and the jobs that keep it, on both paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from jobqueue.core.job import JobSpec
from jobqueue.core.record_size import TRACEPARENT_BYTES, held_bytes
from jobqueue.http.request.traceparent import LENGTH, traceparent_of

if TYPE_CHECKING:
    from tests.http.serving import Serving

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"
INVALID = [
    "",
    "00",
    VALID.upper(),
    f"ff-{TRACE}-{SPAN}-01",
    f"00-{'0' * 32}-{SPAN}-01",
    f"00-{TRACE}-{'0' * 16}-01",
    f"{VALID}-more",
    f"01-{TRACE}-{SPAN}-01more",
    f"{VALID}\n",
    "x" * 10_000,
]


def kept(serving: Serving, job_id: str) -> str | None:
    job = serving.service.local.find(job_id)
    assert job is not None
    return job.spec.traceparent


@pytest.mark.parametrize("text", [VALID, f"01-{TRACE}-{SPAN}-00", f"cc-{TRACE}-{SPAN}-01-of-a-later-version"])
def test_a_valid_header_is_kept_to_its_known_length(text: str) -> None:
    assert traceparent_of({"traceparent": text}) == text[:LENGTH]


@pytest.mark.parametrize("text", INVALID)
def test_an_invalid_header_is_ignored(text: str) -> None:
    assert traceparent_of({"traceparent": text}) is None
    assert traceparent_of({}) is None


@pytest.mark.parametrize("fast", [True, False], ids=["fast path", "stock path"])
async def test_a_job_keeps_the_span_of_its_submission(
    serving: Serving, http: aiohttp.ClientSession, fast: bool
) -> None:
    headers = {"traceparent": VALID} | ({} if fast else {"Idempotency-Key": "k", "Expect": "100-continue"})
    async with http.post("/v1/jobs", json={"type": "hold"}, headers=headers) as response:
        assert response.status == 202
        assert kept(serving, (await response.json())["id"]) == VALID
    async with http.post("/v1/jobs", json={"type": "hold"}, headers=headers | {"traceparent": "00-1-2-3"}) as response:
        assert response.status == 202
        document = await response.json()
    assert kept(serving, document["id"]) == (None if fast else VALID), "a repetition has the first one's"


async def test_jobs_of_a_batch_and_of_a_form_keep_it(serving: Serving, http: aiohttp.ClientSession) -> None:
    headers = {"traceparent": VALID}
    async with http.post("/v1/jobs:batch", json={"jobs": [{"type": "hold"}] * 2}, headers=headers) as response:
        jobs = (await response.json())["jobs"]
    assert [kept(serving, job["id"]) for job in jobs] == [VALID] * 2
    form = aiohttp.FormData()
    form.add_field("job", '{"type":"hold"}', content_type="application/json")
    async with http.post("/v1/jobs", data=form, headers=headers) as response:
        assert kept(serving, (await response.json())["id"]) == VALID


async def test_a_job_without_one_shares_the_spec_of_its_type(serving: Serving, http: aiohttp.ClientSession) -> None:
    ids = []
    for _ in range(2):
        async with http.post("/v1/jobs", json={"type": "hold"}) as response:
            ids.append((await response.json())["id"])
    one, other = (serving.service.local.find(job_id) for job_id in ids)
    assert one is not None
    assert other is not None
    assert one.spec is other.spec


def test_its_bytes_count_towards_the_record() -> None:
    without = held_bytes(JobSpec(type="t", own=True), None, None)
    assert held_bytes(JobSpec(type="t", own=True, traceparent=VALID), None, None) == without + TRACEPARENT_BYTES
