"""Quotas per caller: how often one may submit, and the fields that tell it what it has left.

It owns one bucket for each caller, and their bound. How many live jobs a caller may have is
judged by the engine; here it is only advertised. The form of the fields is that of
draft-ietf-httpapi-ratelimit-headers-11: lists of structured items (RFC 9651), a policy's name with its parameters.

Rules:

1. Each submission counts as one, each item of a batch too, whatever becomes of it; what was refused for the
   server's own reasons before it was read does not count.
2. At most `CALLERS_MAX` callers are remembered. One whose bucket is full again may be forgotten: it loses nothing.
   Beyond the bound, the one that was silent for longest is, whatever it owes.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

from jobqueue.core.limits.token_bucket import TokenBucket
from jobqueue.http.errors import CallerRateExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import LimitsSettings
    from jobqueue.core.rate import Rate

CALLERS_MAX = 100_000
SWEEP = 2
"""How many of the longest silent callers are looked at when a new one comes: more than come, so the rest shrink."""

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
        # In the order of their last submissions.
        self._buckets: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        """How many callers are remembered."""
        return len(self._buckets)

    def take(self, caller: str) -> None:
        """Count a submission. Raises CallerRateExceeded."""
        bucket = self._bucket(caller)
        if bucket is not None and not bucket.take(self._now()):
            raise self._exceeded(bucket)

    def check(self, caller: str) -> None:
        """Raise CallerRateExceeded if a submission would be one too many; count none."""
        bucket = self._bucket(caller)
        if bucket is not None and bucket.wait_s(self._now()) > 0:
            raise self._exceeded(bucket)

    def fields(self, caller: str) -> dict[str, str]:
        """Return the headers that tell the policies, and what this caller has left. None of them without a quota."""
        limits = self._limits()
        policies = _policies(limits.caller_rate, limits.caller_jobs_max)
        bucket = self._bucket(caller)
        if bucket is None:
            return policies
        now, rate = self._now(), bucket.rate
        left = bucket.remaining(now)
        # How long what is left lasts at the policy's own pace; or, when nothing is, until there is something.
        window_s = left * rate.period_s / rate.count if left else bucket.wait_s(now)
        return {**policies, "RateLimit": f'"{_SUBMISSIONS}";r={left};t={max(1, math.ceil(window_s))}'}

    def _bucket(self, caller: str) -> TokenBucket | None:
        """Return the caller's bucket, as the latest one used; None if there is no rate to keep to."""
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
