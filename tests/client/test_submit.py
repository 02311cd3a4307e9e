"""Submissions by the Python clients: idempotency, rejections and retries, waits, batches."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import errors
from jobqueue.client import FateUnknown, JobDocument, Unreachable
from jobqueue.core.job import JobState
from tests.client.calling import answer, calling, document, refusal, scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.client.calling import Call
    from tests.http.serving import Serving


# -- idempotency


async def test_the_same_submission_under_the_same_idempotency_key_returns_the_same_job(call: Call) -> None:
    first = await call("submit", "echo", {"value": 1}, idempotency_key='it\'s "mine" \\o/')
    again = await call("submit", "echo", {"value": 1}, idempotency_key='it\'s "mine" \\o/')
    other = await call("submit", "echo", {"value": 1})

    assert first.id == again.id != other.id
    assert (first.deduplicated, again.deduplicated, other.deduplicated) == (False, True, False)


@pytest.mark.parametrize("how", ["submit", "run"])
async def test_an_argument_among_the_options_raises_an_error_that_names_args(call: Call, how: str) -> None:
    with pytest.raises(errors.InvalidSubmission) as refused:
        await call(how, "echo", value=1)
    (fault,) = refused.value.errors
    assert fault.pointer == "/value"
    assert fault.detail.endswith("; a handler's arguments stand in args")


async def test_another_submission_under_the_same_key_raises_key_reused(call: Call) -> None:
    await call("submit", "echo", {"value": 1}, idempotency_key="k")
    with pytest.raises(errors.KeyReused):
        await call("submit", "echo", {"value": 2}, idempotency_key="k")


async def test_every_submission_gets_its_own_idempotency_key(kind: str) -> None:
    async with scripted(kind, *[answer(202, document("queued"))] * 2) as (call, script):
        await call("submit", "t")
        await call("submit", "t")

    first, second = script.header("idempotency-key")
    assert first
    assert second
    assert first != second


async def test_a_submission_without_a_response_is_resent_under_its_idempotency_key(kind: str) -> None:
    async with scripted(kind, None, answer(202, document("queued"))) as (call, script):
        job = await call("submit", "t", {"a": 1}, retry_for_s=10)

    assert job.id == "j"
    first, second = script.header("idempotency-key")
    assert first == second is not None
    assert script.bodies[0] == script.bodies[1]


async def test_a_rejected_submission_is_resent_under_its_idempotency_key(kind: str) -> None:
    """By the key the server gives the submission its retry slot."""
    async with scripted(kind, refusal("queue-full", 1), answer(202, document("queued"))) as (call, script):
        await call("submit", "t", retry_for_s=10)

    first, second = script.header("idempotency-key")
    assert first == second is not None


async def test_a_lost_response_without_retry_for_s_raises_fate_unknown_with_the_key(kind: str) -> None:
    async with scripted(kind, None, answer(202, document("queued"))) as (call, script):
        with pytest.raises(FateUnknown, match="it may have taken effect") as raised:
            await call("submit", "t")
        assert script.requests == ["POST /v1/jobs"]
        assert script.header("idempotency-key") == [f'"{raised.value.idempotency_key}"']

        await call("submit", "t", idempotency_key=raised.value.idempotency_key)
    first, second = script.header("idempotency-key")
    assert first == second


async def test_a_later_rejection_does_not_settle_an_unknown_fate(kind: str) -> None:
    async with scripted(kind, None, refusal("queue-full", 60)) as (call, _):
        with pytest.raises(FateUnknown):
            await call("submit", "t", retry_for_s=5)


async def test_a_resubmission_sends_the_same_files(kind: str, tmp_path: Any) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"x" * 1000)
    async with scripted(kind, None, answer(202, document("queued"))) as (call, script):
        await call("submit", "t", files={"a": path}, retry_for_s=10)

    assert script.bodies[0] == script.bodies[1] != b""


@pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\r\nX-Evil: 1"])
async def test_an_invalid_idempotency_key_raises_before_any_request(kind: str, key: str) -> None:
    async with scripted(kind) as (call, script):
        with pytest.raises(ValueError, match="1 to 255 printable ASCII characters"):
            await call("submit", "t", idempotency_key=key)
        assert script.requests == []


async def test_a_taken_unique_value_returns_the_live_job_or_raises_duplicate(call: Call) -> None:
    first = await call("submit", "hold", unique="u")
    again = await call("submit", "hold", unique="u")
    assert (again.id, again.deduplicated) == (first.id, True)

    with pytest.raises(errors.Duplicate) as raised:
        await call("submit", "hold", unique={"value": "u", "mode": "reject"})
    assert raised.value.job_id == first.id


# -- rejections


async def test_a_full_queue_rejects_with_retry_after_and_accepts_the_retry(
    kind: str, start: Callable[..., Awaitable[Serving]]
) -> None:
    serving = await start(queues={"default": {"workers": 1, "capacity": 1}})
    async with calling(kind, serving.url) as call:
        for _ in range(20):  # for the server to measure its drain rate
            await call("submit", "echo", wait_s=10)
        await call("submit", "hold")
        with pytest.raises(errors.QueueFull) as raised:
            await call("submit", "hold")
        assert 0 < raised.value.retry_after_s < 30

        asyncio.get_running_loop().call_later(0.1, serving.gate.set)
        job = await call("submit", "echo", {"value": 7}, retry_for_s=30)
        assert (await call("wait", job.id, timeout_s=10)).result == 7


async def test_a_rejected_submission_is_retried_after_retry_after(kind: str) -> None:
    answers = (refusal("queue-full", 1), refusal("draining", 1), answer(202, document("queued")))
    async with scripted(kind, *answers) as (call, script):
        job = await call("submit", "t", retry_for_s=10)

    assert job.id == "j"
    first, second, third = script.times
    assert second - first >= 1.0
    assert third - second >= 1.0


async def test_a_rejected_submission_is_retried_only_within_retry_for_s(kind: str) -> None:
    async with scripted(kind, refusal("rate-limited", 1, 429), refusal("queue-full", 60)) as (call, script):
        with pytest.raises(errors.RateLimited) as raised:
            await call("submit", "t")
        assert raised.value.retry_after_s == 1.0
        with pytest.raises(errors.QueueFull):  # a Retry-After of 60 s exceeds retry_for_s
            await call("submit", "t", retry_for_s=5)
        assert len(script.requests) == 2


async def test_a_fractional_retry_after_of_the_document_is_used(kind: str) -> None:
    answers = (refusal("queue-full", 1, retry_after_s=0.3), answer(202, document("queued")))
    async with scripted(kind, *answers) as (call, script):
        await call("submit", "t", retry_for_s=10)

    first, second = script.times
    assert 0.3 <= second - first <= 0.3 * 1.2 + 0.2


async def test_retries_after_equal_retry_after_values_are_jittered(kind: str) -> None:
    answers = [refusal("queue-full", 1, retry_after_s=0.5)] * 8 + [answer(202, document("queued"))] * 8
    async with scripted(kind, *answers) as (call, script):
        await asyncio.gather(*(call("submit", "t", retry_for_s=10) for _ in range(8)))

    assert len(script.requests) == 16  # no other requests
    back = sorted(script.times)[8:]
    assert back[-1] - back[0] >= 0.02


async def test_a_submission_raises_unreachable_when_retry_for_s_is_over(kind: str) -> None:
    async with scripted(kind, answer(202, document("queued"))) as (_, script):
        url = script.url
    async with calling(kind, url) as call:
        with pytest.raises(Unreachable):
            await call("submit", "t", retry_for_s=0.5)


# -- waits


async def test_submit_with_wait_s_returns_the_result(call: Call) -> None:
    job = await call("submit", "echo", {"value": 7}, wait_s=10)
    assert (job.state, job.result) == (JobState.SUCCEEDED, 7)


async def test_wait_s_may_exceed_the_timeout_of_the_client(kind: str, serving: Serving) -> None:
    async with calling(kind, serving.url, timeout_s=0.3) as call:
        asyncio.get_running_loop().call_later(1.0, serving.gate.set)
        job = await call("submit", "hold", wait_s=10)
    assert job.result == "held"


async def test_submit_returns_a_live_job_when_wait_s_is_over(call: Call) -> None:
    job = await call("submit", "hold", wait_s=0.5)
    assert not job.over


# -- batches


async def test_submit_many_returns_an_id_or_error_per_submission(call: Call) -> None:
    outcomes = await call(
        "submit_many",
        [
            {"type": "echo", "args": {"value": 1}},
            {"type": "no-such-type"},
            {"type": "big", "args": {"size": "many"}},
            {"type": "hold", "unique": "u"},
            {"type": "hold", "unique": {"value": "u", "mode": "reject"}},
            {"type": "echo", "args": {"value": 6}, "group": "g"},
        ],
    )

    one, unknown, invalid, hold, duplicate, six = outcomes
    assert isinstance(unknown, errors.UnknownType)
    assert [fault.pointer for fault in invalid.errors] == ["/jobs/2/args/size"]
    assert duplicate.job_id == hold
    assert [(await call("wait", id, timeout_s=10)).result for id in (one, six)] == [1, 6]


async def test_submit_many_splits_more_submissions_than_one_request_allows(call: Call) -> None:
    outcomes = await call("submit_many", ({"type": "echo", "args": {"value": n}} for n in range(1200)))

    found = await call("get_many", [outcomes[0], outcomes[999], outcomes[1000], outcomes[1199]])
    jobs = [await call("wait", id, timeout_s=10) for id in found]
    assert [job.result for job in jobs if isinstance(job, JobDocument)] == [0, 999, 1000, 1199]


async def test_submit_many_splits_requests_by_size(kind: str) -> None:
    responses = [answer(207, {"jobs": [{"status": 202, "id": f"j{n}"}] * count}) for n, count in ((0, 2), (1, 1))]
    async with scripted(kind, *responses) as (call, script):
        outcomes = await call("submit_many", [{"type": "t", "args": {"x": "y" * 200_000}}] * 3)

    assert outcomes == ["j0", "j0", "j1"]
    assert [len(json.loads(body)["jobs"]) for body in script.bodies] == [2, 1]


async def test_submit_many_retries_only_the_rejected_submissions_after_retry_after(kind: str) -> None:
    full = {"status": 503, "problem": {"type": "/problems/queue-full", "retry_after_s": 0.3}}
    first = answer(207, {"jobs": [{"status": 202, "id": "a"}, full, {"status": 202, "id": "c"}, full]})
    second = answer(207, {"jobs": [{"status": 202, "id": "b"}, full]})
    async with scripted(kind, first, second) as (call, script):
        jobs = [{"type": "t", "args": {"n": n}} for n in range(4)]
        a, b, c, refused = await call("submit_many", jobs, retry_for_s=0.5)

    assert (a, b, c) == ("a", "b", "c")
    assert isinstance(refused, errors.QueueFull)
    assert [job["args"]["n"] for job in json.loads(script.bodies[1])["jobs"]] == [1, 3]
    assert script.times[1] - script.times[0] >= 0.3


async def test_submit_many_returns_the_rejection_of_a_whole_batch_for_each_submission(kind: str) -> None:
    async with scripted(kind, refusal("draining", 60)) as (call, _):
        outcomes = await call("submit_many", [{"type": "t"}] * 2, retry_for_s=5)
    assert [type(outcome) for outcome in outcomes] == [errors.Draining] * 2


async def test_submit_many_returns_fate_unknown_for_a_batch_without_a_response(kind: str) -> None:
    async with scripted(kind, None, answer(207, {"jobs": []})) as (call, script):
        outcomes = await call("submit_many", [{"type": "t"}] * 2, retry_for_s=5)

    assert [type(outcome) for outcome in outcomes] == [FateUnknown] * 2
    assert len(script.requests) == 1


async def test_submit_many_of_no_submissions_sends_no_request(kind: str) -> None:
    async with scripted(kind) as (call, script):
        assert await call("submit_many", []) == []
        assert script.requests == []
