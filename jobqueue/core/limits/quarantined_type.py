"""A type in quarantine, as others read it."""

from __future__ import annotations

import msgspec


class QuarantinedType(msgspec.Struct, frozen=True, kw_only=True):
    """A quarantined type: since one instant until, at the earliest, the instant of its probe.

    `reason` is the message of its last failure that counted, `failures` the number of those in a row, probes too.
    """

    type: str
    since: float
    until: float
    reason: str
    failures: int
