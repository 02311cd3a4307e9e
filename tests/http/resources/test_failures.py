"""Groups of failed jobs, as clients read them and act on them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core.failure_groups import BUCKETS, GROUPS_OF_TYPE_MAX
from jobqueue.http.resources.failures import COMMON_ARGS_MAX, COMMON_VALUE_BYTES_MAX
from tests.http.keyed import ANN, BOB, OPS, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.keys import Key
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def read(http: aiohttp.ClientSession, path: str = "", status: int = 200, **more: Any) -> dict[str, Any]:
    async with http.get(f"/v1/failures{path}", **more) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        return document


async def act(http: aiohttp.ClientSession, action: str, **body: Any) -> dict[str, Any]:
    async with http.post(f"/v1/jobs:{action}", json=body) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == 200, document
        return document


def add_broken(serving: Serving) -> None:
    @serving.queue.handler(redact=("secret",))
    async def broken(why: str, n: int = 0, secret: str = "", more: dict[str, str] | None = None) -> None:
        raise ValueError(why)


async def fail(serving: Serving, http: aiohttp.ClientSession, why: str, key: Key | None = None, **args: Any) -> str:
    submission = {"type": "broken", "args": {"why": why, **args}}
    async with http.post("/v1/jobs", json=submission, headers=bearer(key)) as response:
        job = await response.json()
        assert response.status == 202, job
    await serving.service.backend.wait(job["id"])
    return str(job["id"])


async def test_failed_jobs_are_grouped_by_masked_messages(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_broken(serving)
    ids = [await fail(serving, http, f"user {n} is gone") for n in range(7)]
    await fail(serving, http, "no mail")
    found = await read(http)
    assert [(each["type"], each["code"], each["message"], each["count"]) for each in found["groups"]] == [
        ("broken", "handler_error", "ValueError: no mail", 1),
        ("broken", "handler_error", "ValueError: user # is gone", 7),
    ]
    group = found["groups"][1]
    assert group["sample"] == ids[:1:-1]
    assert (len(group["counts"]), sum(group["counts"]), found["step_s"]) == (BUCKETS, 7, 1)
    assert group["first_at"] <= group["last_at"] <= found["at"]
    assert (found["total"], found["other"], found["complete"]) == (2, None, True)


async def test_the_groups_with_the_most_jobs_come_first_on_request(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    add_broken(serving)
    for why in ("many 1", "many 2", "one"):
        await fail(serving, http, why)
    found = await read(http, "?sort=count&limit=1")
    assert [(each["message"], each["count"]) for each in found["groups"]] == [("ValueError: many #", 2)]
    assert found["total"] == 2


async def test_a_filter_of_failures_is_that_of_lists(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_broken(serving)
    await fail(serving, http, "no mail", n=17)
    for query, count in (
        ("type=broken", 1),
        ("type=other", 0),
        ("queue=default&error=handler_error&message~=NO+MAIL", 1),
        ("arg.n=17", 1),
        ("arg.n=18", 0),
        ("until=2020-01-01T00:00:00Z", 0),
        ("since=2020-01-01T00:00:00Z", 1),
        ("failure=0000000000000000", 0),
    ):
        assert len((await read(http, f"?{query}"))["groups"]) == count, query


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limt=1", "unknown query parameter 'limt'; did you mean 'limit'?"),
        ("state=failed", "unknown query parameter 'state'"),
        ("sort=oldest", "sort is one of newest, count, got 'oldest'"),
        ("error=handler_eror", "did you mean 'handler_error'?"),
        ("limit=101", "limit is a number of groups from 1 to 100, got '101'"),
        ("limit=-1", "limit is a number"),
        ("failure=nope", "failure is the id of a group of /v1/failures"),
        ("since=then", "since"),
        ("type=a&type=b", "duplicate query parameter type"),
    ],
)
async def test_a_faulty_query_is_rejected_with_a_hint(http: aiohttp.ClientSession, query: str, detail: str) -> None:
    assert detail in (await read(http, f"?{query}", 400))["detail"]


async def test_a_group_is_retried_and_deleted_by_its_id(serving: Serving, http: aiohttp.ClientSession) -> None:
    add_broken(serving)
    ids = [await fail(serving, http, f"user {n} is gone") for n in range(3)]
    other = await fail(serving, http, "no mail")
    group = next(each for each in (await read(http))["groups"] if each["count"] == 3)
    async with http.get("/v1/jobs", params={"failure": group["id"]}) as response:
        assert [job["id"] for job in (await response.json())["jobs"]] == ids[::-1]
    counted = await act(http, "retry", failure=group["id"], dry_run=True)
    assert counted == {"count": 3, "sample": ids[::-1]}
    assert await act(http, "retry", failure=group["id"]) == {"count": 3}
    await asyncio.gather(*map(serving.service.backend.wait, ids))
    assert await act(http, "delete", failure=group["id"]) == {"count": 3}
    assert [each["sample"] for each in (await read(http))["groups"]] == [[other]]
    assert "were retried, deleted or evicted" in (await read(http, f"/{group['id']}", 404))["detail"]


async def test_a_faulty_group_of_an_action_is_named_by_its_pointer(http: aiohttp.ClientSession) -> None:
    for failure in ("nope", "", "0" * 17, "G" * 16):
        async with http.post("/v1/jobs:retry", json={"failure": failure}) as response:
            problem = await response.json()
            assert (response.status, problem["errors"][0]["pointer"]) == (422, "/failure")


async def test_a_group_tells_the_arguments_that_its_sample_has_in_common(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    add_broken(serving)
    for n in range(3):
        more = {"a": "same", "b": "x" * COMMON_VALUE_BYTES_MAX}
        await fail(serving, http, f"user {n} is gone", n=n, secret="s3cret", more=more if n else {**more, "a": "same"})
    (group,) = (await read(http))["groups"]
    document = await read(http, f"/{group['id']}")
    assert document["common_args"] == {"secret": "\u2022\u2022\u2022"}
    assert (document["sampled"], document["count"]) == (3, 3)
    assert {name: document[name] for name in group} == group


async def test_common_arguments_are_bounded(serving: Serving, http: aiohttp.ClientSession) -> None:
    @serving.queue.handler(name="broken")
    async def open_to_all(why: str, **members: str) -> None:
        raise ValueError(why)

    members = {f"m{n}": "\x00\u202e" for n in range(3 * COMMON_ARGS_MAX)} | {"x" * 1000: "y"}
    await fail(serving, http, "x", **members)
    (group,) = (await read(http))["groups"]
    common = (await read(http, f"/{group['id']}"))["common_args"]
    assert len(common) == COMMON_ARGS_MAX
    assert max(map(len, common)) < 1000


async def test_jobs_of_which_the_arguments_are_too_long_are_not_compared(start: Start, http_to: Open) -> None:
    serving = await start(limits={"body_bytes": 1024 * 1024})
    http = await http_to(serving)
    add_broken(serving)
    await fail(serving, http, "no mail", secret="x" * 100_000)
    (group,) = (await read(http))["groups"]
    document = await read(http, f"/{group['id']}")
    assert (document["common_args"], document["sampled"]) == ({}, 0)


async def test_a_key_sees_the_failures_of_its_own_jobs(start: Start, http_to: Open) -> None:
    serving = await start(auth=auth())
    http = await http_to(serving)
    add_broken(serving)
    for key in (ANN, ANN, BOB):
        await fail(serving, http, "no mail", key)
    counts = {}
    for name, key in (("ann", ANN), ("bob", BOB), ("ops", OPS)):
        (group,) = (await read(http, headers=bearer(key)))["groups"]
        one = await read(http, f"/{group['id']}", headers=bearer(key))
        counts[name] = (group["count"], one["count"], len(one["sample"]))
    assert counts == {"ann": (2, 2, 2), "bob": (1, 1, 1), "ops": (3, 3, 3)}
    async with http.post("/v1/jobs:delete", json={"failure": group["id"]}, headers=bearer(BOB)) as response:
        assert await response.json() == {"count": 1}


async def test_hostile_messages_are_masked_cut_and_bounded_in_number(start: Start, http_to: Open) -> None:
    serving = await start(queues={"default": {"retry_budget": 10_000}})
    http = await http_to(serving)
    add_broken(serving)
    for why in ("\x00\u202e<script>", "x" * 60_000, "'" * 60_000, "\ud7ff\U0001f600 5"):
        await fail(serving, http, why)
    found = await read(http)
    assert found["total"] == 4
    assert all(len(each["message"]) <= 200 for each in found["groups"])
    letters = [f"{chr(97 + n // 26)}{chr(97 + n % 26)} x" for n in range(GROUPS_OF_TYPE_MAX)]
    await asyncio.gather(*(fail(serving, http, why) for why in letters))
    found = await read(http, "?limit=100")
    assert (found["total"], len(found["groups"]), found["other"]["count"]) == (GROUPS_OF_TYPE_MAX, 100, 4)


async def test_the_failures_of_none_are_no_groups(http: aiohttp.ClientSession) -> None:
    found = await read(http)
    assert (found["groups"], found["other"], found["total"], found["complete"]) == ([], None, 0, True)
    assert (await read(http, "/nope", 404))["type"] == "/problems/not-found"
