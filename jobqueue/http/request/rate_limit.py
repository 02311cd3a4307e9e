"""Quotas per caller: the rate of submissions, and the RateLimit fields.

Each caller has a token bucket. The engine enforces the limit of live jobs per caller;
here it is only advertised. The form of the fields is that of
draft-ietf-httpapi-ratelimit-headers-11: lists of structured items (RFC 9651), a policy's name with its parameters.

Rules:

1. Each submission counts as one, each item of a batch too, whatever its outcome; one that is rejected for the
   server's own reasons before it is read does not count.
2. At most `CALLERS_MAX` callers are kept. One with a full bucket may be dropped without loss.
   Above the bound, the one that was silent for longest is dropped, whatever its bucket.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

from jobqueue.core.limits.token_bucket import TokenBucket
from jobqueue.http.errors import CallerRateExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import LimitsSettings
    from jobqueue.core.rate import Rate

CALLERS_MAX = 100_000
SWEEP: Final = 2
"""Longest silent callers that are checked with each new one: more than come, so their number shrinks."""

_SUBMISSIONS, _LIVE_JOBS = "submissions", "live-jobs"


class RateLimits:
    """The callers' rates: a token bucket for each.

    Args:
        limits: Returns the limits of now; they may change while the server runs.
        now: The clock of the buckets, in seconds.
    """

    def __init__(self, limits: Callable[[], LimitsSettings], now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self._rate: Rate | None = None
        # By caller, in the order of their last submissions.
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        """Number of callers that are kept."""
        return len(self._buckets)

    def take(self, caller: str) -> None:
        """Count a submission. Raises CallerRateExceeded."""
        bucket = self._bucket(caller)
        if bucket is not None and not bucket.take(self._now()):
            raise self._exceeded(bucket)

    def check(self, caller: str) -> None:
        """Raise CallerRateExceeded if a submission would exceed the rate; count none."""
        bucket = self._bucket(caller)
        if bucket is not None and bucket.wait_s(self._now()) > 0:
            raise self._exceeded(bucket)

    def fields(self, caller: str) -> dict[str, str]:
        """Return the headers with the policies, and this caller's remaining quota. None of them without a quota."""
        limits = self._limits()
        policies = _policies(limits.caller_rate, limits.caller_jobs_max)
        bucket = self._bucket(caller)
        if bucket is None:
            return policies
        now, rate = self._now(), bucket.rate
        left = bucket.remaining(now)
        # How long the remaining quota lasts at the policy's rate; or, without any, the time until there is some.
        window_s = left * rate.period_s / rate.count if left else bucket.wait_s(now)
        return {**policies, "RateLimit": f'"{_SUBMISSIONS}";r={left};t={max(1, math.ceil(window_s))}'}

    def _bucket(self, caller: str) -> TokenBucket | None:
        """Return the caller's bucket, marked as the latest one used; None without a rate."""
        rate = self._limits().caller_rate
        if rate != self._rate:
            self._rate = rate
            self._buckets.clear()
        if rate is None:
            return None
        bucket = self._buckets.pop(caller, None)
        if bucket is None:
            self._sweep()
            bucket = TokenBucket(rate)
        self._buckets[caller] = bucket
        return bucket

    def _sweep(self) -> None:
        now = self._now()
        for _ in range(SWEEP):
            longest_silent = next(iter(self._buckets), None)
            if longest_silent is None:
                return
            if not self._buckets[longest_silent].is_full(now) and len(self._buckets) < CALLERS_MAX:
                return
            del self._buckets[longest_silent]

    def _exceeded(self, bucket: TokenBucket) -> CallerRateExceeded:
        detail = f"this caller submits more often than {bucket.rate}, the limit per caller (limits.caller_rate)"
        return CallerRateExceeded(detail, retry_after_s=bucket.wait_s(self._now()))


@functools.lru_cache(maxsize=8)
def _policies(rate: Rate | None, queued: int | None) -> dict[str, str]:
    policies = []
    if rate is not None:
        policies.append(f'"{_SUBMISSIONS}";q={rate.count};w={int(rate.period_s)}')
    if queued is not None:
        policies.append(f'"{_LIVE_JOBS}";q={queued};qu="concurrent-requests"')
    return {"RateLimit-Policy": ", ".join(policies)} if policies else {}
