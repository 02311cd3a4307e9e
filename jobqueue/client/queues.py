"""Calls on queues: reading and changing them while they run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import msgspec

from jobqueue.client.protocol import Request, Steps, decoded

if TYPE_CHECKING:
    from jobqueue.client.models import QueueChanges

Queue = dict[str, Any]


class _Queues(msgspec.Struct, frozen=True):
    queues: tuple[Queue, ...]


def queues() -> Steps[tuple[Queue, ...]]:
    return decoded((yield Request(method="GET", target="/v1/queues")), _Queues).queues


def steer(name: str, action: Literal["pause", "resume"]) -> Steps[Queue]:
    return decoded((yield Request(method="POST", target=f"{_path(name)}:{action}")), Queue)


def change(name: str, changes: QueueChanges) -> Steps[Queue]:
    body = json.dumps(changes, allow_nan=False).encode()
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="PATCH", target=_path(name), headers=headers, body=body)), Queue)


def _path(name: str) -> str:
    return f"/v1/queues/{quote(name, safe='')}"
