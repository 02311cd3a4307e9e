"""Calls on callers: what each uses of its limits, and the blocks of single ones."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jobqueue.client.protocol import Request, Steps, decoded
from jobqueue.duration import as_seconds

if TYPE_CHECKING:
    from jobqueue.duration import Duration

Document = dict[str, Any]

_CALLERS = "/v1/callers"


def callers(limit: int | None) -> Steps[Document]:
    query = "" if limit is None else f"?limit={limit}"
    return decoded((yield Request(method="GET", target=f"{_CALLERS}{query}")), Document)


def block(name: str, for_s: Duration) -> Steps[Document]:
    body = json.dumps({"for_s": as_seconds(for_s)}, allow_nan=False).encode()
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="POST", target=_path(name, "block"), headers=headers, body=body)), Document)


def unblock(name: str) -> Steps[Document]:
    return decoded((yield Request(method="POST", target=_path(name, "unblock"))), Document)


def _path(name: str, action: str) -> str:
    return f"{_CALLERS}/{quote(name, safe='')}:{action}"
