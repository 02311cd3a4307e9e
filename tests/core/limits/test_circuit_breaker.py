from __future__ import annotations

from random import Random

import pytest

from jobqueue.core.limits.circuit_breaker import NAMES_MAX, PROBE_S_MAX, PROBE_S_MIN, SEEN_S, CircuitBreaker


class Ward:
    """A quarantine and its clock, spoken to in a test's words."""

    def __init__(self, budget: int = 3) -> None:
        self.quarantine = CircuitBreaker()
        self.budget = budget
        self.now = 100.0

    def submit(self, caller: str | None = None, group: str | None = None) -> None:
        self.quarantine.submitted("t", caller, group, self.now)

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
        return self.quarantine.failed(
            type_, budget=self.budget, started_at=started_at, reason=reason, now=self.now, caller=caller, group=group
        )

    def succeed(self, type_: str = "t", *, started_at: float | None = None) -> bool:
        return self.quarantine.succeeded(type_, started_at=self.now if started_at is None else started_at)

    def shut(self, type_: str = "t") -> float:
        for _ in range(self.budget - 1):
            assert self.fail(type_) is None
        until = self.fail(type_)
        assert until is not None
        return until


def test_as_many_failures_in_a_row_as_the_budget_put_a_type_into_quarantine() -> None:
    ward = Ward(budget=3)
    assert ward.fail() is None
    assert ward.fail() is None
    assert ward.quarantine.of("t") is None
    assert ward.fail(reason="it is down") == 101.0
    quarantined = ward.quarantine.of("t")
    assert quarantined is not None
    assert (quarantined.type, quarantined.since, quarantined.until) == ("t", 100.0, 101.0)
    assert quarantined.reason == "it is down"


def test_a_success_in_between_begins_the_count_anew() -> None:
    ward = Ward(budget=3)
    for _ in range(10):
        ward.fail()
        ward.fail()
        assert not ward.succeed(), "there was no quarantine to be released from"
    assert ward.quarantine.all() == []


def test_types_are_counted_apart() -> None:
    ward = Ward(budget=2)
    for n in range(10):
        assert ward.fail(f"t{n}") is None
    assert ward.fail("t3") is not None
    assert [quarantined.type for quarantined in ward.quarantine.all()] == ["t3"]
    assert not ward.succeed("never seen")


def test_a_budget_of_none_never_puts_a_type_into_quarantine() -> None:
    ward = Ward(budget=0)
    assert all(ward.fail() is None for _ in range(1000))
    assert ward.quarantine.all() == []


def test_a_budget_of_one_takes_one_failure() -> None:
    assert Ward(budget=1).fail() == 101.0


def test_a_probe_that_succeeds_releases_the_type() -> None:
    ward = Ward()
    ward.now = ward.shut()
    assert ward.succeed()
    assert ward.quarantine.of("t") is None
    assert ward.quarantine.all() == []
    assert not ward.succeed(), "it is released once"


def test_each_failed_probe_puts_the_next_one_off_for_longer_up_to_a_bound() -> None:
    ward = Ward()
    waits = []
    until = ward.shut()
    for _ in range(9):
        waits.append(until - ward.now)
        ward.now = until
        again = ward.fail(reason="still down")
        assert again is not None
        until = again
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    assert (waits[0], waits[-1]) == (PROBE_S_MIN, PROBE_S_MAX)
    quarantined = ward.quarantine.of("t")
    assert quarantined is not None
    assert (quarantined.since, quarantined.reason) == (100.0, "still down")


def test_after_a_release_the_waits_are_short_again() -> None:
    ward = Ward()
    for _ in range(4):
        ward.now = ward.shut()
        for _ in range(3):
            again = ward.fail()
            assert again is not None
            ward.now = again
        assert ward.succeed()
    assert ward.shut() == ward.now + PROBE_S_MIN


def test_a_success_of_an_attempt_from_before_the_quarantine_releases_nothing() -> None:
    ward = Ward()
    until = ward.shut()
    for ward.now in (100.5, until, until + 0.5):
        assert not ward.succeed(started_at=99.0)
    assert ward.quarantine.of("t") is not None
    assert ward.succeed(started_at=until), "the probe's does"


def test_failures_of_attempts_from_before_the_quarantine_put_no_probe_off() -> None:
    ward = Ward()
    until = ward.shut()
    for n in range(1000):
        ward.now = 100.0 + n / 100
        assert ward.fail(started_at=99.0, reason="a straggler") is None
    quarantined = ward.quarantine.of("t")
    assert quarantined is not None
    assert (quarantined.until, quarantined.reason) == (until, "down")
    assert ward.fail(started_at=until) == ward.now + 2.0, "the probe's do"


def test_stragglers_do_not_bring_a_released_type_back() -> None:
    ward = Ward(budget=3)
    ward.now = ward.shut()
    assert ward.succeed()
    for _ in range(10):
        assert ward.fail(started_at=99.0) is None
    assert ward.fail() is None
    assert not ward.succeed(started_at=99.0)
    assert ward.fail() is None
    assert ward.fail() is not None, "three that started after the release, whatever came in between"


def test_a_probe_that_started_late_and_took_long_counts() -> None:
    ward = Ward()
    until = ward.shut()
    ward.now = until + 500.0
    assert ward.fail(started_at=until + 20.0) == ward.now + 2.0
    ward.now += 1000.0
    assert ward.succeed(started_at=ward.now - 998.0)


def test_a_quarantine_outlives_a_change_of_the_budget() -> None:
    ward = Ward()
    ward.now = ward.shut()
    ward.budget = 0
    assert ward.fail() == ward.now + 2.0
    ward.now += 2.0
    assert ward.succeed()
    assert all(ward.fail() is None for _ in range(100))


def test_a_smaller_budget_counts_the_failures_so_far() -> None:
    ward = Ward(budget=0)
    for _ in range(10):
        ward.fail()
    ward.budget = 5
    assert ward.fail() is not None


def test_all_tells_those_in_quarantine_the_latest_last() -> None:
    ward = Ward(budget=1)
    for name in ("c", "a", "b"):
        ward.fail(name)
        ward.now += 0.1
    assert [quarantined.type for quarantined in ward.quarantine.all()] == ["c", "a", "b"]
    ward.now += 10
    assert ward.succeed("a")
    assert [quarantined.type for quarantined in ward.quarantine.all()] == ["c", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_a_type_that_always_fails_is_tried_once_a_wait_however_many_were_running(seed: int) -> None:
    """Workers go on with what the quarantine lets start, runs take any time; late outcomes come at any time."""
    rng = Random(seed)
    ward = Ward(budget=5)
    # (ends at, started at) of what runs; a probe is on its way or not.
    running = [(100.0 + rng.random() * 40, 99.0) for _ in range(200)]
    probes: list[float] = []
    until: float | None = None
    while ward.now < 1000.0:
        ward.now += 1 / 16
        probing = any(started_at >= (until or 0.0) for _, started_at in running) and until is not None
        if until is not None and ward.now >= until and not probing:
            probes.append(ward.now)
            running.append((ward.now + rng.random() * 3, ward.now))
        for run in [run for run in running if run[0] <= ward.now]:
            running.remove(run)
            set_to = ward.fail(started_at=run[1])
            if set_to is not None:
                assert set_to - ward.now <= PROBE_S_MAX
                assert until is None or run[1] >= until, "only a probe sets the next one"
                until = set_to
    assert until is not None
    # 1 + 2 + 4 + … + 32 s, then one a minute, and up to 3 s for each to run.
    assert 6 + (900 - 40 - 63 - 6 * 3) // 63 <= len(probes) <= 6 + 900 // 60
    assert ward.quarantine.of("t") is not None


# -- whose failures count


def fail_all(ward: Ward, callers: str, **group: str) -> float | None:
    """Let a failure of each of these callers follow the other; return the instant of a probe, if one set it."""
    for caller in callers:
        until = ward.fail(caller=caller, **group)
        if until is not None:
            return until
    return None


def test_one_caller_cannot_pause_a_type_that_others_use() -> None:
    ward = Ward(budget=10)
    ward.submit("honest")
    ward.submit("hostile")
    for _ in range(1000):
        assert ward.fail(caller="hostile") is None
    assert ward.quarantine.all() == []


def test_failures_of_several_callers_pause_a_type_once_a_fifth_is_of_others() -> None:
    ward = Ward(budget=10)
    ward.submit("a")
    ward.submit("b")
    assert fail_all(ward, "a" * 20 + "b") is None
    assert ward.fail(caller="b") is not None


def test_with_a_small_budget_one_failure_of_another_caller_is_enough() -> None:
    ward = Ward(budget=1)
    ward.submit("a")
    ward.submit("b")
    assert ward.fail(caller="a") is None
    assert ward.fail(caller="b") is not None


def test_a_single_caller_s_failures_count_alone_once_the_others_have_been_gone_for_a_while() -> None:
    ward = Ward(budget=3)
    ward.submit("gone")
    ward.submit("left")
    assert ward.fail(caller="left") is None
    ward.now += SEEN_S
    ward.submit("left")
    ward.succeed()
    for _ in range(2):
        assert ward.fail(caller="left") is None
    assert ward.fail(caller="left") is not None


def test_behind_one_address_groups_take_the_place_of_callers() -> None:
    ward = Ward(budget=10)
    ward.submit("proxy", "tenant")
    ward.submit("proxy", "poison")
    for _ in range(100):
        assert ward.fail(caller="proxy", group="poison") is None
    assert ward.fail(caller="proxy", group="tenant") is None
    assert ward.fail(caller="proxy", group="tenant") is not None


def test_a_caller_that_invents_groups_is_one_caller_all_the_same() -> None:
    ward = Ward(budget=10)
    ward.submit("honest", "a")
    for n in range(200):
        ward.submit("hostile", f"g{n}")
        assert ward.fail(caller="hostile", group=f"g{n}") is None


def test_one_stray_failure_of_another_caller_does_not_make_a_hostile_one_s_count() -> None:
    ward = Ward(budget=50)
    ward.submit("honest")
    ward.submit("hostile")
    assert fail_all(ward, "x" * 500) is None
    assert ward.fail(caller="honest") is None
    assert ward.quarantine.all() == []


def test_a_success_of_any_caller_begins_the_count_anew() -> None:
    ward = Ward(budget=4)
    ward.submit("a")
    ward.submit("b")
    fail_all(ward, "aaaaaa")
    ward.succeed()
    assert fail_all(ward, "bbb") is None
    assert ward.fail(caller="a") is not None


def test_failures_of_any_number_of_callers_take_a_bounded_table() -> None:
    ward = Ward(budget=1_000_000)
    for n in range(10_000):
        ward.submit(f"c{n}", f"g{n}")
        ward.fail(caller=f"c{n}", group=f"g{n}")
    record = ward.quarantine._records["t"]
    assert len(record.callers.failures) == len(record.groups.failures) == NAMES_MAX
    ward.budget = 10_000
    assert ward.fail(caller="c0") is not None, "those of the many count, all the same"
