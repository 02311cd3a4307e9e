from __future__ import annotations

from random import Random

import pytest

from jobqueue.core.limits.circuit_breaker import NAMES_MAX, PROBE_S_MAX, PROBE_S_MIN, SEEN_S, CircuitBreaker


class BreakerDriver:
    """A circuit breaker and its clock, with one method for each step of a test."""

    def __init__(self, budget: int = 3) -> None:
        self.breaker = CircuitBreaker()
        self.budget = budget
        self.now = 100.0

    def submit(self, caller: str | None = None, group: str | None = None) -> None:
        self.breaker.submitted("t", caller, group, self.now)

    def fail(
        self,
        type_: str = "t",
        *,
        started_at: float | None = None,
        reason: str = "down",
        caller: str | None = None,
        group: str | None = None,
    ) -> float | None:
        started_at = self.now if started_at is None else started_at
        return self.breaker.failed(
            type_, budget=self.budget, started_at=started_at, reason=reason, now=self.now, caller=caller, group=group
        )

    def succeed(self, type_: str = "t", *, started_at: float | None = None) -> bool:
        return self.breaker.succeeded(type_, started_at=self.now if started_at is None else started_at)

    def shut(self, type_: str = "t") -> float:
        for _ in range(self.budget - 1):
            assert self.fail(type_) is None
        until = self.fail(type_)
        assert until is not None
        return until


def test_consecutive_failures_up_to_the_budget_quarantine_a_type() -> None:
    driver = BreakerDriver(budget=3)
    assert driver.fail() is None
    assert driver.fail() is None
    assert driver.breaker.of("t") is None
    assert driver.fail(reason="it is down") == 101.0
    quarantined = driver.breaker.of("t")
    assert quarantined is not None
    assert (quarantined.type, quarantined.since, quarantined.until) == ("t", 100.0, 101.0)
    assert quarantined.reason == "it is down"


def test_a_success_resets_the_failure_count() -> None:
    driver = BreakerDriver(budget=3)
    for _ in range(10):
        driver.fail()
        driver.fail()
        assert not driver.succeed(), "there was no quarantine to be released from"
    assert driver.breaker.all() == []


def test_failures_are_counted_per_type() -> None:
    driver = BreakerDriver(budget=2)
    for n in range(10):
        assert driver.fail(f"t{n}") is None
    assert driver.fail("t3") is not None
    assert [quarantined.type for quarantined in driver.breaker.all()] == ["t3"]
    assert not driver.succeed("never seen")


def test_a_budget_of_zero_disables_the_quarantine() -> None:
    driver = BreakerDriver(budget=0)
    assert all(driver.fail() is None for _ in range(1000))
    assert driver.breaker.all() == []


def test_a_budget_of_one_quarantines_after_one_failure() -> None:
    assert BreakerDriver(budget=1).fail() == 101.0


def test_a_successful_probe_releases_the_type() -> None:
    driver = BreakerDriver()
    driver.now = driver.shut()
    assert driver.succeed()
    assert driver.breaker.of("t") is None
    assert driver.breaker.all() == []
    assert not driver.succeed(), "the type is released once"


def test_the_probe_interval_doubles_with_each_failed_probe_up_to_a_bound() -> None:
    driver = BreakerDriver()
    waits = []
    until = driver.shut()
    for _ in range(9):
        waits.append(until - driver.now)
        driver.now = until
        again = driver.fail(reason="still down")
        assert again is not None
        until = again
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert (waits[0], waits[-1]) == (PROBE_S_MIN, PROBE_S_MAX)
    quarantined = driver.breaker.of("t")
    assert quarantined is not None
    assert (quarantined.since, quarantined.reason) == (100.0, "still down")
    assert quarantined.failures == driver.budget + 9


def test_a_release_resets_the_probe_interval() -> None:
    driver = BreakerDriver()
    for _ in range(4):
        driver.now = driver.shut()
        for _ in range(3):
            again = driver.fail()
            assert again is not None
            driver.now = again
        assert driver.succeed()
    assert driver.shut() == driver.now + PROBE_S_MIN


def test_a_success_of_an_attempt_started_before_the_quarantine_does_not_release_the_type() -> None:
    driver = BreakerDriver()
    until = driver.shut()
    for driver.now in (100.5, until, until + 0.5):
        assert not driver.succeed(started_at=99.0)
    assert driver.breaker.of("t") is not None
    assert driver.succeed(started_at=until), "a success of the probe releases the type"


def test_failures_of_attempts_started_before_the_quarantine_do_not_delay_the_probe() -> None:
    driver = BreakerDriver()
    until = driver.shut()
    for n in range(1000):
        driver.now = 100.0 + n / 100
        assert driver.fail(started_at=99.0, reason="a straggler") is None
    quarantined = driver.breaker.of("t")
    assert quarantined is not None
    assert (quarantined.until, quarantined.reason) == (until, "down")
    assert driver.fail(started_at=until) == driver.now + 2.0, "a failure of the probe does"


def test_late_failures_from_before_a_release_do_not_quarantine_the_type_again() -> None:
    driver = BreakerDriver(budget=3)
    driver.now = driver.shut()
    assert driver.succeed()
    for _ in range(10):
        assert driver.fail(started_at=99.0) is None
    assert driver.fail() is None
    assert not driver.succeed(started_at=99.0)
    assert driver.fail() is None
    assert driver.fail() is not None, "three failures of attempts that started after the release"


def test_the_outcome_of_a_late_and_slow_probe_counts() -> None:
    driver = BreakerDriver()
    until = driver.shut()
    driver.now = until + 500.0
    assert driver.fail(started_at=until + 20.0) == driver.now + 2.0
    driver.now += 1000.0
    assert driver.succeed(started_at=driver.now - 998.0)


def test_a_budget_set_to_zero_does_not_end_a_quarantine() -> None:
    driver = BreakerDriver()
    driver.now = driver.shut()
    driver.budget = 0
    assert driver.fail() == driver.now + 2.0
    driver.now += 2.0
    assert driver.succeed()
    assert all(driver.fail() is None for _ in range(100))


def test_a_lowered_budget_counts_earlier_failures() -> None:
    driver = BreakerDriver(budget=0)
    for _ in range(10):
        driver.fail()
    driver.budget = 5
    assert driver.fail() is not None


def test_quarantined_types_are_listed_in_the_order_of_their_quarantine() -> None:
    driver = BreakerDriver(budget=1)
    for name in ("c", "a", "b"):
        driver.fail(name)
        driver.now += 0.1
    assert [quarantined.type for quarantined in driver.breaker.all()] == ["c", "a", "b"]
    driver.now += 10
    assert driver.succeed("a")
    assert [quarantined.type for quarantined in driver.breaker.all()] == ["c", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_a_type_that_always_fails_is_probed_once_per_interval_beside_many_running_attempts(seed: int) -> None:
    """Workers start each permitted probe; attempts take random times, so late outcomes come at any time."""
    rng = Random(seed)
    driver = BreakerDriver(budget=5)
    # (end, start) of each running attempt, the probe included.
    running = [(100.0 + rng.random() * 40, 99.0) for _ in range(200)]
    probes: list[float] = []
    until: float | None = None
    while driver.now < 1000.0:
        driver.now += 1 / 16
        probing = any(started_at >= (until or 0.0) for _, started_at in running) and until is not None
        if until is not None and driver.now >= until and not probing:
            probes.append(driver.now)
            running.append((driver.now + rng.random() * 3, driver.now))
        for run in [run for run in running if run[0] <= driver.now]:
            running.remove(run)
            set_to = driver.fail(started_at=run[1])
            if set_to is not None:
                assert set_to - driver.now <= PROBE_S_MAX
                assert until is None or run[1] >= until, "only a probe sets the next one"
                until = set_to
    assert until is not None
    # 1 + 2 + 4 + … + 32 s, then one a minute, and up to 3 s for each to run.
    assert 6 + (900 - 40 - 63 - 6 * 3) // 63 <= len(probes) <= 6 + 900 // 60
    assert driver.breaker.of("t") is not None


# -- failures of several callers


def fail_all(driver: BreakerDriver, callers: str, **group: str) -> float | None:
    """Report one failure per caller, in order; return the time of the probe once the type is quarantined."""
    for caller in callers:
        until = driver.fail(caller=caller, **group)
        if until is not None:
            return until
    return None


def test_failures_of_one_caller_do_not_quarantine_a_type_that_other_callers_use() -> None:
    driver = BreakerDriver(budget=10)
    driver.submit("honest")
    driver.submit("hostile")
    for _ in range(1000):
        assert driver.fail(caller="hostile") is None
    assert driver.breaker.all() == []


def test_a_shared_type_is_quarantined_once_a_fifth_of_the_budget_comes_from_other_callers() -> None:
    driver = BreakerDriver(budget=10)
    driver.submit("a")
    driver.submit("b")
    assert fail_all(driver, "a" * 20 + "b") is None
    assert driver.fail(caller="b") is not None


def test_with_a_budget_of_one_a_failure_of_a_second_caller_quarantines_the_type() -> None:
    driver = BreakerDriver(budget=1)
    driver.submit("a")
    driver.submit("b")
    assert driver.fail(caller="a") is None
    assert driver.fail(caller="b") is not None


def test_failures_of_one_caller_count_alone_once_other_callers_are_inactive() -> None:
    driver = BreakerDriver(budget=3)
    driver.submit("gone")
    driver.submit("left")
    assert driver.fail(caller="left") is None
    driver.now += SEEN_S
    driver.submit("left")
    driver.succeed()
    for _ in range(2):
        assert driver.fail(caller="left") is None
    assert driver.fail(caller="left") is not None


def test_groups_count_as_callers_behind_one_address() -> None:
    driver = BreakerDriver(budget=10)
    driver.submit("proxy", "tenant")
    driver.submit("proxy", "poison")
    for _ in range(100):
        assert driver.fail(caller="proxy", group="poison") is None
    assert driver.fail(caller="proxy", group="tenant") is None
    assert driver.fail(caller="proxy", group="tenant") is not None


def test_a_caller_with_many_groups_counts_as_one_caller() -> None:
    driver = BreakerDriver(budget=10)
    driver.submit("honest", "a")
    for n in range(200):
        driver.submit("hostile", f"g{n}")
        assert driver.fail(caller="hostile", group=f"g{n}") is None


def test_a_single_failure_of_another_caller_does_not_make_failures_of_a_hostile_caller_count() -> None:
    driver = BreakerDriver(budget=50)
    driver.submit("honest")
    driver.submit("hostile")
    assert fail_all(driver, "x" * 500) is None
    assert driver.fail(caller="honest") is None
    assert driver.breaker.all() == []


def test_a_success_of_any_caller_resets_the_failure_count() -> None:
    driver = BreakerDriver(budget=4)
    driver.submit("a")
    driver.submit("b")
    fail_all(driver, "aaaaaa")
    driver.succeed()
    assert fail_all(driver, "bbb") is None
    assert driver.fail(caller="a") is not None


def test_the_failure_tables_are_bounded_for_any_number_of_callers() -> None:
    driver = BreakerDriver(budget=1_000_000)
    for n in range(10_000):
        driver.submit(f"c{n}", f"g{n}")
        driver.fail(caller=f"c{n}", group=f"g{n}")
    record = driver.breaker._records["t"]
    assert len(record.callers.failures) == len(record.groups.failures) == NAMES_MAX
    driver.budget = 10_000
    assert driver.fail(caller="c0") is not None, "failures of callers beyond the table count as well"


def test_a_release_on_request_ends_the_quarantine_once() -> None:
    driver = BreakerDriver()
    assert not driver.breaker.release("t", driver.now), "it was never seen"
    driver.fail()
    assert not driver.breaker.release("t", driver.now), "it is not in quarantine"
    driver.fail()
    driver.fail()
    assert driver.breaker.release("t", driver.now)
    assert (driver.breaker.of("t"), driver.breaker.count) == (None, 0)
    assert not driver.breaker.release("t", driver.now)


def test_after_a_release_on_request_only_later_attempts_count_and_probes_begin_anew() -> None:
    driver = BreakerDriver(budget=2)
    driver.now = driver.shut()
    driver.now = driver.fail() or 0.0  # the probe failed: the next wait is twice as long
    before, driver.now = driver.now - 0.5, driver.now
    driver.breaker.release("t", driver.now)
    for _ in range(9):
        assert driver.fail(started_at=before) is None, "it ran while the type was released"
    assert driver.shut() == driver.now + PROBE_S_MIN
