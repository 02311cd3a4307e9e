"""Quotas per caller: counting, headers, and bounds, on a manual clock."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jobqueue.config import AuthSettings, KeySettings, LimitsOfCallers, LimitsSettings, Settings
from jobqueue.config.key_limits import KeyLimits
from jobqueue.core.rate import Rate
from jobqueue.errors import RateLimited
from jobqueue.http.request import rate_limit
from jobqueue.http.request.caller import caller_of
from jobqueue.http.request.rate_limit import RateLimits

POLICY = '"submissions";q=2;w=60'


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def callers_of(limits: LimitsSettings, **own: KeyLimits) -> LimitsOfCallers:
    keys = {
        name: KeySettings(id=f"{number:a>8}", sha256="0" * 64, scopes=("submit",), limits=limits)
        for number, (name, limits) in enumerate(own.items())
    }
    return LimitsOfCallers(Settings(limits=limits, auth=AuthSettings(keys=keys)))


def rate_limits(clock: Clock, rate: str | None = "2/m", **limits: Any) -> RateLimits:
    callers = callers_of(LimitsSettings(caller_rate=None if rate is None else Rate.parse(rate), **limits))
    return RateLimits(lambda: callers, clock)


def left(fields: dict[str, str]) -> tuple[int, int]:
    match = re.fullmatch(r'"submissions";r=(\d+);t=(\d+)', fields["RateLimit"])
    assert match
    return int(match[1]), int(match[2])


def test_a_caller_may_submit_at_its_rate_and_again_after_retry_after(clock: Clock) -> None:
    several = rate_limits(clock)
    several.take("a")
    several.take("a")
    with pytest.raises(RateLimited) as refused:
        several.take("a")
    assert refused.value.retry_after_s == pytest.approx(30)
    several.take("b")
    clock.now += refused.value.retry_after_s
    several.take("a")


def test_the_headers_have_the_remaining_tokens_and_the_time_to_the_next(clock: Clock) -> None:
    one = rate_limits(clock)
    assert one.fields("a") == {"RateLimit-Policy": POLICY, "RateLimit": '"submissions";r=2;t=60'}
    one.take("a")
    assert left(one.fields("a")) == (1, 30)
    one.take("a")
    assert left(one.fields("a")) == (0, 30)
    clock.now += 29.5
    assert left(one.fields("a")) == (0, 1)
    clock.now += 0.5
    assert left(one.fields("a")) == (1, 30)


def test_check_and_fields_take_no_token(clock: Clock) -> None:
    one = rate_limits(clock)
    for _ in range(10):
        one.check("a")
        one.fields("a")
    one.take("a")
    one.take("a")
    with pytest.raises(RateLimited):
        one.check("a")


def test_no_caller_is_limited_or_stored_without_a_rate(clock: Clock) -> None:
    none = rate_limits(clock, rate=None)
    for _ in range(100):
        none.take("a")
    assert none.fields("a") == {}
    assert len(none) == 0


def test_the_limit_of_live_jobs_is_a_ratelimit_policy(clock: Clock) -> None:
    assert rate_limits(clock, rate=None, caller_jobs_max=5).fields("a") == {
        "RateLimit-Policy": '"live-jobs";q=5;qu="concurrent-requests"'
    }
    assert rate_limits(clock, caller_jobs_max=5).fields("a")["RateLimit-Policy"] == (
        f'{POLICY}, "live-jobs";q=5;qu="concurrent-requests"'
    )


def test_a_changed_rate_applies_immediately(clock: Clock) -> None:
    callers = [callers_of(LimitsSettings(caller_rate=Rate.parse("1/h")))]
    one = RateLimits(lambda: callers[0], clock)
    one.take("a")
    with pytest.raises(RateLimited):
        one.take("a")
    callers[0] = callers_of(LimitsSettings(caller_rate=Rate.parse("5/s")))
    one.take("a")
    assert left(one.fields("a"))[0] == 4
    callers[0] = callers_of(LimitsSettings())
    one.take("a")
    assert len(one) == 0


def test_the_rate_of_requests_is_apart_from_that_of_submissions(clock: Clock) -> None:
    one = rate_limits(clock, caller_requests=Rate.parse("3/m"))
    for _ in range(2):
        one.take_request("a")
        one.take("a")
    fields = one.fields("a")
    assert fields["RateLimit-Policy"] == f'{POLICY}, "requests";q=3;w=60'
    assert fields["RateLimit"] == '"submissions";r=0;t=30, "requests";r=1;t=20'
    one.take_request("a")
    with pytest.raises(RateLimited, match="sends requests more often than 3/m") as refusal:
        one.take_request("a")
    assert refusal.value.retry_after_s == pytest.approx(20)
    assert refusal.value.headers == one.fields("a")  # type: ignore[attr-defined] # of its subclass
    one.take_request("b")
    clock.now += refusal.value.retry_after_s
    one.take_request("a")


def test_a_request_that_is_put_back_was_not_counted(clock: Clock) -> None:
    one = rate_limits(clock, rate=None, caller_requests=Rate.parse("2/m"))
    for _ in range(10):
        one.take_request("a")
        one.put_request_back("a")
    assert one.fields("a")["RateLimit"] == '"requests";r=2;t=60'


def test_the_fields_of_a_key_tell_its_own_limits(clock: Clock) -> None:
    limits = LimitsSettings(caller_rate=Rate.parse("2/m"), caller_jobs_max=5)
    callers = callers_of(limits, ci=KeyLimits(rate=Rate.parse("9/s"), records_max=7), web=KeyLimits())
    several = RateLimits(lambda: callers, clock)
    several.take("key:ci")
    assert several.fields("key:ci") == {
        "RateLimit-Policy": '"submissions";q=9;w=1, "live-jobs";q=5;qu="concurrent-requests", '
        '"records";q=7;qu="concurrent-requests"',
        "RateLimit": '"submissions";r=8;t=1',
    }
    assert several.fields("key:web") == several.fields("192.0.2.7")


def test_callers_with_a_full_bucket_are_evicted(clock: Clock) -> None:
    several = rate_limits(clock)
    for number in range(100):
        several.take(f"early {number}")
    clock.now += 61
    for number in range(60):
        several.take(f"late {number}")
    assert len(several) == 60


def test_the_least_recently_active_caller_is_evicted_at_the_limit(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "CALLERS_MAX", 10)
    several = rate_limits(clock)
    several.take("first")
    several.take("first")
    for number in range(9):
        several.take(f"other {number}")
    with pytest.raises(RateLimited):
        several.take("first")  # still stored, and now the most recent
    for number in range(100):
        several.take(f"flood {number}")
        assert len(several) <= 10
    several.take("first")  # evicted, so its count is reset
    several.take("first")
    for number in range(100):
        several.take(f"again {number}")
        with pytest.raises(RateLimited):
            several.take("first")  # recently active, so never evicted


@pytest.mark.parametrize(
    ("remote", "caller"),
    [
        (None, "local"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_64_bit_network_is_one_caller(remote: str | None, caller: str) -> None:
    assert caller_of(remote) == caller


@pytest.mark.parametrize(
    ("common", "own", "unbounded"),
    [
        ({}, {}, True),
        ({"caller_jobs_max": 5}, {}, False),
        ({"caller_rate": Rate.parse("2/m")}, {}, False),
        ({"caller_requests": Rate.parse("2/m")}, {}, True),
        ({}, {"ann": KeyLimits(jobs_max=5)}, False),
        ({}, {"ann": KeyLimits(jobs_max=5), "bob": KeyLimits(rate=Rate.parse("2/m"))}, False),
        ({}, {"ann": KeyLimits(jobs_max=5), "bob": KeyLimits()}, True),
        ({"caller_jobs_max": 5}, {"ann": KeyLimits(), "bob": KeyLimits(waits_max=1)}, False),
    ],
)
def test_a_caller_without_a_limit_of_jobs_or_submissions_makes_callers_unbounded(
    common: dict[str, Any], own: dict[str, KeyLimits], unbounded: bool
) -> None:
    assert callers_of(LimitsSettings(**common), **own).unbounded is unbounded
