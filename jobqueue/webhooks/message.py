"""What is sent to a receiver, and what comes back: values without I/O."""

from __future__ import annotations

from collections.abc import Mapping  # as of the next import, msgspec reads it from the annotations

import msgspec

from jobqueue.webhooks.addresses import Allowed


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One POST to a receiver.

    Attributes:
        url: One without faults (`fault_of_url`).
        allowed: The addresses that its host may have.
        timeout_s: For all of it: the lookup of the name, the connection, the request and the head of the answer.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    allowed: Allowed
    timeout_s: float


class Answer(msgspec.Struct, frozen=True):
    """The head of a receiver's answer. `retry_after_s`: the pause that it asks for, a day at most; None: none."""

    status: int
    retry_after_s: float | None = None


class Undelivered(Exception):
    """No answer came: the text says why, without the URL, which may hold a secret of the receiver."""


class AddressRefused(Undelivered):
    """The host of the URL has no address that a delivery may connect to."""
