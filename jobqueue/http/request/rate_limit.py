"""Limits per caller in HTTP: the rates of its requests and submissions, and the RateLimit fields.

Each caller has a token bucket for either rate. The engine enforces what a caller may hold; here it is only advertised.
The form of the fields is that of draft-ietf-httpapi-ratelimit-headers-11: lists of structured items (RFC 9651), a
policy's name with its parameters.

Rules:

1. Each submission counts as one, each item of a batch too, whatever its outcome; one that is rejected for the
   server's own reasons before it is read does not count.
2. Each request counts as one, whatever its answer, once its key is known to be valid.
3. Of a caller with limits of its own, a key, the fields tell these.
4. At most `CALLERS_MAX` callers are kept. One with a full bucket may be dropped without loss.
   Above the bound, the one that was silent for longest is dropped, whatever its bucket.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Final

from jobqueue.core.limits.token_bucket import TokenBucket
from jobqueue.errors import InvalidField
from jobqueue.http.errors import CallerLimitExceeded, InvalidRequest
from jobqueue.http.request.blocks import Blocks
from jobqueue.http.request.rejections import Rejections

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.config import CallerLimits, LimitsOfCallers
    from jobqueue.core.rate import Rate

CALLERS_MAX = 100_000
SWEEP: Final = 2
"""Longest silent callers that are checked with each new one: more than come, so their number shrinks."""

_SUBMISSIONS: Final = "submissions"
_REQUESTS: Final = "requests"


class Buckets:
    """The token buckets of all callers for one rate."""

    def __init__(self) -> None:
        # By caller, in the order of their last uses.
        self._by_caller: dict[str, TokenBucket] = {}

    def __len__(self) -> int:
        """Number of callers that are kept."""
        return len(self._by_caller)

    def of(self, caller: str, rate: Rate | None, now: float) -> TokenBucket | None:
        """Return the caller's bucket, marked as the latest one used; None without a rate."""
        bucket = self._by_caller.pop(caller, None)
        if rate is None:
            return None
        if bucket is None or bucket.rate != rate:
            self._sweep(now)
            bucket = TokenBucket(rate)
        self._by_caller[caller] = bucket
        return bucket

    def peek(self, caller: str) -> TokenBucket | None:
        """Return the caller's bucket, if it has one, and leave its place."""
        return self._by_caller.get(caller)

    def latest(self, most: int) -> list[str]:
        """Return the callers that used their buckets last, the last one first."""
        found: list[str] = []
        for caller in reversed(self._by_caller):
            if len(found) >= most:
                break
            found.append(caller)
        return found

    def _sweep(self, now: float) -> None:
        for _ in range(SWEEP):
            longest_silent = next(iter(self._by_caller), None)
            if longest_silent is None:
                return
            if not self._by_caller[longest_silent].is_full(now) and len(self._by_caller) < CALLERS_MAX:
                return
            del self._by_caller[longest_silent]


class RateLimits:
    """The callers' rates.

    Args:
        limits: Returns the limits of now; they may change while the server runs.
        now: The clock of the buckets, in seconds.

    Attributes:
        blocks: The callers that an operator has blocked.
        rejections: The counts of 429s by caller.
        submissions, requests: The buckets of the two rates.
    """

    def __init__(self, limits: Callable[[], LimitsOfCallers], now: Callable[[], float]) -> None:
        self._limits = limits
        self._now = now
        self.blocks = Blocks(now)
        self.rejections = Rejections()
        self.submissions = Buckets()
        self.requests = Buckets()

    def __len__(self) -> int:
        """Number of callers that are kept for their submissions."""
        return len(self.submissions)

    def take(self, caller: str) -> None:
        """Count a submission. Raises CallerLimitExceeded."""
        now = self._now()
        bucket = self.submissions.of(caller, self._limits().of(caller).rate, now)
        if bucket is not None and not bucket.take(now):
            raise self._exceeded(caller, bucket, "submits", "rate", now)

    def take_many(self, caller: str, count: int) -> None:
        """Count submissions that are accepted together, or none of them.

        Raises:
            CallerLimitExceeded: There is no quota for all of them now.
            InvalidRequest: The quota is never large enough.
        """
        now = self._now()
        bucket = self.submissions.of(caller, self._limits().of(caller).rate, now)
        if bucket is None:
            return
        if count > bucket.rate.burst_max:
            detail = f"{count} jobs at once, and this caller may submit {bucket.rate} (limits.caller_rate)"
            raise InvalidRequest(InvalidField(pointer="/jobs", detail=detail))
        for taken in range(count):
            if not bucket.take(now):
                exceeded = self._exceeded(caller, bucket, "submits", "rate", now)
                for _ in range(taken):
                    bucket.put_back()
                raise exceeded

    def check(self, caller: str) -> None:
        """Raise CallerLimitExceeded if a submission would exceed the rate; count none."""
        now = self._now()
        bucket = self.submissions.of(caller, self._limits().of(caller).rate, now)
        if bucket is not None and bucket.wait_s(now) > 0:
            raise self._exceeded(caller, bucket, "submits", "rate", now)

    def take_request(self, caller: str) -> None:
        """Count a request. Raises CallerLimitExceeded."""
        now = self._now()
        bucket = self.requests.of(caller, self._limits().of(caller).requests, now)
        if bucket is not None and not bucket.take(now):
            raise self._exceeded(caller, bucket, "sends requests", "requests", now)

    def put_request_back(self, caller: str) -> None:
        """Count a request as none that was counted just now: it will be counted again."""
        bucket = self.requests.of(caller, self._limits().of(caller).requests, self._now())
        if bucket is not None:
            bucket.put_back()

    def fields(self, caller: str) -> dict[str, str]:
        """Return the headers with the policies, and this caller's remaining quota. None of them without a quota."""
        limits = self._limits().of(caller)
        policies = policies_of(limits)
        if limits.rate is None and limits.requests is None:
            return policies
        now = self._now()
        told = [
            _told(name, bucket, now)
            for name, bucket in (
                (_SUBMISSIONS, self.submissions.of(caller, limits.rate, now)),
                (_REQUESTS, self.requests.of(caller, limits.requests, now)),
            )
            if bucket is not None
        ]
        return {**policies, "RateLimit": ", ".join(told)}

    def lines(self, caller: str) -> bytes:
        """Return the same headers as they are sent."""
        return "".join([f"{name}: {value}\r\n" for name, value in self.fields(caller).items()]).encode()

    def _exceeded(self, caller: str, bucket: TokenBucket, does: str, setting: str, now: float) -> CallerLimitExceeded:
        detail = f"this caller {does} more often than {bucket.rate}, the limit per caller (limits.caller_{setting})"
        return CallerLimitExceeded(detail, retry_after_s=bucket.wait_s(now), headers=self.fields(caller))


def _told(name: str, bucket: TokenBucket, now: float) -> str:
    left, rate = bucket.remaining(now), bucket.rate
    # How long the remaining quota lasts at the policy's rate; or, without any, the time until there is some.
    window_s = left * rate.period_s / rate.count if left else bucket.wait_s(now)
    return f'"{name}";r={left};t={max(1, math.ceil(window_s))}'


@functools.lru_cache(maxsize=1024)
def policies_of(limits: CallerLimits) -> dict[str, str]:
    """Return the header with the policies of these limits; none without a limit."""
    policies = []
    for name, rate in ((_SUBMISSIONS, limits.rate), (_REQUESTS, limits.requests)):
        if rate is not None:
            policies.append(f'"{name}";q={rate.count};w={int(rate.period_s)}')
    for name, maximum, unit in (
        ("live-jobs", limits.jobs_max, "concurrent-requests"),
        ("records", limits.records_max, "concurrent-requests"),
        ("bytes", limits.bytes_max, "content-bytes"),
        ("connections", limits.connections_max, "concurrent-requests"),
        ("waits", limits.waits_max, "concurrent-requests"),
        ("files", limits.spool_bytes_max, "content-bytes"),
    ):
        if maximum is not None:
            policies.append(f'"{name}";q={maximum};qu="{unit}"')
    return {"RateLimit-Policy": ", ".join(policies)} if policies else {}
