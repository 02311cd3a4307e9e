"""The rate of log lines that clients cause."""

from __future__ import annotations

from jobqueue.line_rate import LineRate
from jobqueue.testing import ManualClock


def test_lines_beyond_the_bound_of_a_second_do_not_pass() -> None:
    clock = ManualClock(5.0)
    rate = LineRate(2, clock)

    assert [rate.take() for _ in range(4)] == [True, True, False, False]
    clock.advance(0.9)
    assert not rate.take()
    clock.advance(0.1)
    assert [rate.take() for _ in range(3)] == [True, True, False]
