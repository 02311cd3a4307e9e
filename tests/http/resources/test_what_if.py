"""Simulations: the question that the server gathers, the process that answers it, and the keys that may ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from jobqueue.core.counting.series import FIRST_RUN, FIRST_SUM, FIRST_TOTAL, TOTALS
from jobqueue.http.resources import what_if
from jobqueue.runtime import simulator
from jobqueue.runtime.simulator_child import NICENESS
from tests.http.keyed import BOB, OPS, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]

PATH = "/v1/queues/default:simulate"
GIVEN = {"arrivals_per_s": 8.0, "run_s": 1.0, "seconds": 5.0, "loads": [1.0], "alternatives": [{"capacity": 30}]}
LONG = {"arrivals_per_s": 1000.0, "run_s": 1.0, "loads": [1, 2, 3, 4, 5], "patience_s": 3600.0}


async def ask(http: aiohttp.ClientSession, question: Any, path: str = PATH, **more: Any) -> tuple[int, Any]:
    async with http.post(path, json=question, **more) as answer:
        return answer.status, await answer.json()


async def begin(
    serving: Serving, http: aiohttp.ClientSession, question: Any
) -> tuple[asyncio.Task[Any], psutil.Process]:
    """Ask a question, and wait until its process is there."""
    asking = asyncio.create_task(ask(http, question))
    while not (found := simulations()):
        assert not asking.done(), asking.result()
        await asyncio.sleep(0.01)
    return asking, found[0]


def simulations() -> list[psutil.Process]:
    return [each for each in psutil.Process().children() if "simulator_child" in " ".join(each.cmdline())]


async def until_gone(process: psutil.Process) -> None:
    while process.is_running():
        await asyncio.sleep(0.01)


def record(serving: Serving, seconds: int = 60) -> None:
    """Put seconds into the history, as the recorder does: three jobs of 0.3 s in each."""
    serving.recorder.stop()
    history = serving.recorder.history
    assert history is not None
    submitted, succeeded = (FIRST_TOTAL + TOTALS.index(name) for name in ("submitted", "succeeded"))
    row = {submitted: 3, succeeded: 3, FIRST_RUN + 5: 3, FIRST_SUM + 1: 900}
    start = 0 if history.last is None else history.last + 1
    for tick in range(start, start + seconds):
        history.add(tick, {history.numbers[key]: dict(row) for key in (("queue", "default"), ("type", "echo"))})


async def sampled(serving: Serving, http: aiohttp.ClientSession) -> None:
    """Run a job, and wait until the recorder knows its type."""
    async with http.post("/v1/jobs", json={"type": "echo", "priority": 7}, headers={"Prefer": "wait=5"}) as answer:
        assert answer.status == 200
    while "echo" not in serving.recorder.types_in("default"):
        await asyncio.sleep(0.01)


async def test_the_answer_is_a_table_on_the_measured_arrivals_and_run_times(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    await sampled(serving, http)
    record(serving)
    question = {"loads": [1, 2], "seconds": 30, "alternatives": [{"discipline": "lifo", "workers": 1}]}
    status, told = await ask(http, question)
    assert status == 200
    assert told["queue"] == "default"
    assert told["measured"]["arrivals_per_s"] == pytest.approx(3.0, rel=0.1)
    assert told["measured"]["run_s"]["mean"] == pytest.approx(0.3, rel=0.05)
    assert [each["type"] for each in told["measured"]["types"]] == ["echo"]
    assert told["clients"] == {"patience_s": 30.0, "returns": "obedient", "samples": 1}
    assert told["loads"] == [1, 2]
    present, other = told["alternatives"]
    assert present["changes"] == []
    assert present["settings"]["capacity"] == 10_000
    assert other["changes"] == ["discipline", "workers"]
    assert [cell["load"] for cell in other["cells"]] == [1, 2]
    assert other["cells"][0]["utilisation"]["mean"] == pytest.approx(0.9, abs=0.15)


async def test_a_queue_without_history_is_simulated_on_given_arrivals_and_run_times(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    status, problem = await ask(http, {})
    assert (status, problem["type"]) == (409, "/problems/not-measured")
    assert "arrivals_per_s and run_s" in problem["detail"]
    status, told = await ask(http, GIVEN)
    assert status == 200
    assert told["measured"]["given"] == ["arrivals_per_s", "run_s"]
    assert told["alternatives"][1]["settings"]["capacity"] == 30


async def test_without_any_history_the_problem_names_the_setting(start: Start, http_to: Open) -> None:
    http = await http_to(await start(stats={"bytes_max": 0}))
    status, problem = await ask(http, {"arrivals_per_s": 5.0})
    assert status == 409
    assert "stats.bytes_max is 0" in problem["detail"]


async def test_the_server_answers_while_the_process_works_with_the_lowest_priority(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    asking, process = await begin(serving, http, LONG)
    while process.nice() != NICENESS:  # it sets it first of all
        await asyncio.sleep(0.01)
    async with http.get("/v1/queues/default") as answer:
        assert answer.status == 200
    status, problem = await ask(http, GIVEN)
    assert (status, problem["type"]) == (503, "/problems/simulator-in-use")
    process.kill()
    status, problem = await asking
    assert (status, problem["type"]) == (503, "/problems/overloaded")
    assert "killed by SIGKILL" in problem["detail"]
    status, _ = await ask(http, GIVEN)
    assert status == 200


async def test_a_simulation_ends_when_its_client_goes_away(serving: Serving, http: aiohttp.ClientSession) -> None:
    asking, process = await begin(serving, http, LONG)
    asking.cancel()
    await until_gone(process)
    while serving.api.simulator.busy:
        await asyncio.sleep(0.01)
    assert (await ask(http, GIVEN))[0] == 200


async def test_a_simulation_ends_when_the_server_stops(serving: Serving, http: aiohttp.ClientSession) -> None:
    asking, process = await begin(serving, http, LONG)
    serving.waiting.end()
    status, problem = await asking
    assert (status, problem["type"]) == (503, "/problems/draining")
    await until_gone(process)


async def test_a_process_that_takes_too_long_is_killed(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulator, "EXTRA_S", 0.2 - simulator.TIME_S)
    status, problem = await ask(http, LONG)
    assert (status, problem["type"]) == (503, "/problems/overloaded")
    assert "took more than 0.2 s" in problem["detail"]
    assert simulations() == []


@pytest.mark.parametrize(
    ("question", "pointer"),
    [
        ({"loads": []}, "/loads"),
        ({"loads": [0]}, "/loads/0"),
        ({"loads": [1] * 9}, "/loads"),
        ({"alternatives": [{"capacity": 0}]}, "/alternatives/0/capacity"),
        ({"alternatives": [{"discipline": "random"}]}, "/alternatives/0/discipline"),
        ({"alternatives": [{"weight": 2}]}, "/alternatives/0"),
        ({"alternatives": [{}] * 25}, "/alternatives"),
        ({"seconds": 1e9}, "/seconds"),
        ({"seed": -1}, "/seed"),
        ({"window_s": 5}, "/window_s"),
        ({"arrivals_per_s": 0}, "/arrivals_per_s"),
        ({"run_s": -1}, "/run_s"),
        ({"patience_s": 0}, "/patience_s"),
        ({"returns": "always"}, "/returns"),
        ({"workers": 5}, "/workers"),
        ([], ""),
    ],
)
async def test_a_bad_question_is_rejected_at_its_member(
    serving: Serving, http: aiohttp.ClientSession, question: Any, pointer: str
) -> None:
    status, problem = await ask(http, question)
    assert (status, problem["type"]) == (422, "/problems/invalid-request"), problem
    assert any(each["pointer"].startswith(pointer) for each in problem["errors"]), problem
    assert not serving.api.simulator.busy


async def test_a_key_needs_to_operate_and_to_see_all_jobs(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth("ops", "bob")))
    status, problem = await ask(http, GIVEN, headers=bearer(BOB))
    assert (status, problem["scope"]) == (403, "admin")
    assert (await ask(http, GIVEN, headers=bearer(OPS)))[0] == 200


async def test_a_queue_that_does_not_exist_is_not_simulated(serving: Serving, http: aiohttp.ClientSession) -> None:
    status, problem = await ask(http, GIVEN, "/v1/queues/nope:simulate")
    assert (status, problem["type"]) == (404, "/problems/queue-not-found")


async def test_a_question_that_takes_longer_than_its_time_is_answered_in_part(
    serving: Serving, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(what_if, "TIME_S", 0.5)
    question = LONG | {"alternatives": [{"capacity": 100 + each} for each in range(24)], "loads": [*range(1, 9)]}
    status, told = await ask(http, question)
    assert status == 200
    assert not told["simulated"]["complete"]
    assert len(told["alternatives"]) == 25
    assert told["alternatives"][24]["cells"][7] is None
