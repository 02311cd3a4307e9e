"""Flows by the Python clients, against the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue import chain, group
from jobqueue.client import Answer, flows
from jobqueue.errors import InvalidSubmission, JobNotFound, KeyReused, WrongState

if TYPE_CHECKING:
    from tests.client.calling import Call

AFTER = {"name": "b", "type": "echo", "after": ["a"]}
PARTS = ({"type": "echo", "args": {"value": 1}}, group("echo", "echo"), {"type": "echo", "name": "last"})


async def test_a_graph_is_submitted_awaited_and_read(call: Call) -> None:
    flow = await call("submit_flow", chain(*PARTS))
    assert (flow.state, flow.over, flow.deduplicated, len(flow.jobs)) == ("running", False, False, 4)
    flow = await call("wait_flow", flow.id, 10)
    assert (flow.state, flow.over, flow.counts["succeeded"]) == ("succeeded", True, 4)
    assert flow.job("last").after == (flow.job("echo-2").id, flow.job("echo-3").id)
    whole = await call("flow", flow.id, include_jobs=True)
    assert whole.job("echo").job["result"] == 1


async def test_a_graph_may_be_given_as_its_document(call: Call) -> None:
    flow = await call("submit_flow", {"jobs": [{"name": "a", "type": "echo"}]})
    assert (await call("wait_flow", flow.id)).state == "succeeded"


async def test_a_graph_under_a_repeated_key_is_one_flow(call: Call) -> None:
    first = await call("submit_flow", chain("echo"), idempotency_key="one")
    again = await call("submit_flow", chain("echo"), idempotency_key="one")
    assert (again.id, again.deduplicated) == (first.id, True)
    with pytest.raises(KeyReused):
        await call("submit_flow", chain("echo", "echo"), idempotency_key="one")


async def test_a_flow_is_cancelled_and_not_retried_while_it_runs(call: Call) -> None:
    flow = await call("submit_flow", chain("hold", "echo"))
    with pytest.raises(TimeoutError, match="still runs after 0 s"):
        await call("wait_flow", flow.id, 0)
    with pytest.raises(WrongState):
        await call("retry_flow", flow.id)
    await call("cancel_flow", flow.id)
    assert (await call("wait_flow", flow.id, 10)).state == "cancelled"


async def test_a_failed_flow_is_retried(call: Call) -> None:
    flow = await call("submit_flow", chain("fail", "echo"))
    assert (await call("wait_flow", flow.id, 10)).state == "failed"
    assert (await call("retry_flow", flow.id)).state == "running"
    assert (await call("wait_flow", flow.id, 10)).counts["cancelled"] == 1


async def test_the_faults_of_a_graph_have_their_places(call: Call) -> None:
    with pytest.raises(InvalidSubmission) as raised:
        await call("submit_flow", chain("echo", {"type": "echo", "after": "nothing"}))
    assert [fault.pointer for fault in raised.value.errors] == ["/jobs/1/after/1"]


async def test_flows_are_listed_by_pages(call: Call) -> None:
    ids = [(await call("submit_flow", chain("hold"))).id for _ in range(3)]
    await call("cancel_flow", ids[1])
    await call("wait_flow", ids[1], 10)
    page = await call("flows", limit=2)
    assert ([flow.id for flow in page.flows], [flow.over for flow in page.flows]) == (ids[:0:-1], [False, True])
    rest = await call("flows", limit=2, cursor=page.next_cursor)
    assert ([flow.id for flow in rest.flows], rest.next_cursor) == (ids[:1], None)
    assert [flow.id for flow in await call("iter_flows", limit=1)] == ids[::-1]
    (cancelled,) = await call("iter_flows", "cancelled")
    assert (cancelled.id, cancelled.live, cancelled.ended["cancelled"]) == (ids[1], 0, 1)


async def test_the_jobs_of_a_flow_come_page_by_page(call: Call) -> None:
    flow = await call("submit_flow", chain(*PARTS))
    await call("wait_flow", flow.id, 10)
    page = await call("flow", flow.id, limit=3)
    assert [job.name for job in page.jobs] == ["echo", "echo-2", "echo-3"]
    (last,) = (await call("flow", flow.id, cursor=page.next_cursor)).jobs
    jobs = await call("iter_flow_jobs", flow.id, include_jobs=True, limit=1)
    assert ([job.name for job in jobs], jobs[-1].id) == (["echo", "echo-2", "echo-3", "last"], last.id)
    assert jobs[0].job["result"] == 1


async def test_the_events_of_a_flow_end_with_it(call: Call) -> None:
    flow = await call("submit_flow", {"jobs": [{"name": "a", "type": "echo", "delay_s": 0.2}, AFTER]})
    first, *of_jobs, last = await call("flow_events", flow.id)
    assert (first.name, first.data["state"], len(first.data["jobs"])) == ("flow", "running", 2)
    assert (last.name, last.data["state"], last.data["jobs"]) == ("flow", "succeeded", [])
    assert [event.data["id"] for event in of_jobs if event.name == "succeeded"] == [job.id for job in flow.jobs]
    (only,) = await call("flow_events", flow.id)
    assert (only.name, only.data["state"]) == ("flow", "succeeded")


def test_a_stream_is_over_with_the_end_of_the_flow_and_not_with_that_of_a_job() -> None:
    listener = flows.listener_of("f", 1.0)
    listener.take(Answer(200, {"content-type": "text/event-stream"}, b""))
    for name, state, over in (("flow", "running", False), ("failed", "failed", False), ("flow", "failed", True)):
        listener.take(b'event: %b\ndata: {"state":"%b"}\n\n' % (name.encode(), state.encode()))
        assert listener.over is over


async def test_the_events_of_an_unknown_flow_are_not_found(call: Call) -> None:
    with pytest.raises(JobNotFound):
        await call("flow_events", "nothing")


async def test_an_unknown_flow_is_not_found(call: Call) -> None:
    with pytest.raises(JobNotFound):
        await call("flow", "nothing")


async def test_a_submission_comes_after_a_job(call: Call) -> None:
    parent = await call("submit", "hold")
    child = await call("submit", "echo", after=[parent.id], on_failure="run")
    assert child.state == "waiting"
    await call("cancel", parent.id)
    assert (await call("wait", child.id, timeout_s=10)).state == "succeeded"
