"""A POST under an idempotency key: repeated as long as the caller's patience lasts, and done once.

Rules:

1. A rejected request is repeated no sooner than the server asked, with jitter.
2. After a lost answer it can be sent again under its key.
3. An unknown fate stays unknown until an answer resolves it, whatever fails after it.
"""

from __future__ import annotations

import secrets
from typing import TypeVar

import msgspec

from jobqueue import errors
from jobqueue.client.protocol import FateUnknown, NoAnswer, Patience, Request, Steps
from jobqueue.client.submit import quoted, taken

T = TypeVar("T")


def keyed(
    target: str, body: bytes, kind: type[T], *, idempotency_key: str | None, retry_for_s: float
) -> Steps[tuple[T, bool]]:
    """Send JSON; return the answer's document, and whether it is that of an earlier request under the key.

    Args:
        kind: Of the document.
        idempotency_key: None: one is drawn.
        retry_for_s: How long it is repeated after a rejection or a lost answer.
    """
    key = secrets.token_hex(16) if idempotency_key is None else idempotency_key
    headers = {"Content-Type": "application/json", "Idempotency-Key": quoted(key)}
    request = Request(method="POST", target=target, headers=headers, body=body)
    patience = Patience(retry_for_s)
    unknown: FateUnknown | None = None
    while True:
        try:
            answer = yield request
            document = taken(answer, kind)
        except (errors.Refused, NoAnswer) as failure:
            if isinstance(failure, FateUnknown):
                failure.idempotency_key = key
                unknown = failure
            pause_s = patience.pause_s(failure)
            if pause_s is None:
                if unknown is None or unknown is failure:
                    raise
                raise unknown from failure
            request = msgspec.structs.replace(request, after_s=pause_s)
        else:
            return document, answer.headers.get("job-deduplicated") == "true"
