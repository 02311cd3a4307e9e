"""`jobqueue queues simulate`: the forecast as tables, and as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Run

GIVEN = ("--arrivals", "8", "--run", "1s", "--seconds", "20", "--loads", "1,2", "--with", "capacity=30,discipline=lifo")
TIMES = "\N{MULTIPLICATION SIGN}"


async def test_a_forecast_is_a_table_for_each_measure_with_its_assumptions(run: Run) -> None:
    ran = await run("queues", "simulate", "default", *GIVEN, "-o", "table")
    assert ran.code == 0
    assert "8 arrivals/s, runs of 1.0 s on average" in ran.out
    assert "(given)" in ran.out
    for heading in ("goodput", "wait p95", "rejected", "workers used", f"2{TIMES}"):
        assert heading in ran.out
    assert "(present)" in ran.out
    assert "lifo, 30 slots, 1,000 workers" in ran.out
    assert "- A client waits 30 s" in ran.out


async def test_a_forecast_in_a_pipe_is_the_document(run: Run) -> None:
    (forecast,) = (await run("queues", "simulate", "default", *GIVEN)).lines
    assert forecast["loads"] == [1, 2]
    assert forecast["alternatives"][1]["changes"] == ["discipline", "capacity"]


async def test_a_queue_without_a_measurement_is_refused_with_the_reason(run: Run) -> None:
    ran = await run("queues", "simulate", "default")
    assert ran.code == 1
    assert "arrivals_per_s and run_s" in ran.err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("--with", "capcity=5"), "did you mean 'capacity'?"),
        (("--with", "weight=5"), "is not simulated"),
        (("--loads", "1,many"), "numbers such as 1,1.5,2,5"),
        (("--returns", "always"), "never"),
    ],
)
async def test_a_mistyped_question_is_answered_with_a_hint(run: Run, words: tuple[str, ...], hint: str) -> None:
    ran = await run("queues", "simulate", "default", *words)
    assert ran.code == 2
    assert hint in ran.err
