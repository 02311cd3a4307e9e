"""Calls on queues: reading and changing them while they run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from jobqueue.client.protocol import Request, Steps, decoded
from jobqueue.duration import as_seconds

if TYPE_CHECKING:
    from jobqueue.client.models import QueueChanges, Simulation
    from jobqueue.duration import Duration

Queue = dict[str, Any]
Document = dict[str, Any]

SIMULATION_S = 20.0
"""Seconds after which a simulation has been answered."""


class _Queues(msgspec.Struct, frozen=True):
    queues: tuple[Queue, ...]


def queues() -> Steps[tuple[Queue, ...]]:
    return decoded((yield Request(method="GET", target="/v1/queues")), _Queues).queues


def pause(name: str, reason: str | None, for_s: Duration | None) -> Steps[Queue]:
    given = {"reason": reason, "for_s": as_seconds(for_s)}
    body = json.dumps({name: value for name, value in given.items() if value is not None}, allow_nan=False).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(method="POST", target=f"{_path(name)}:pause", headers=headers, body=body)
    return decoded((yield request), Queue)


def resume(name: str) -> Steps[Queue]:
    return decoded((yield Request(method="POST", target=f"{_path(name)}:resume")), Queue)


def change(name: str, changes: QueueChanges) -> Steps[Queue]:
    body = json.dumps(changes, allow_nan=False).encode()
    headers = {"Content-Type": "application/json"}
    return decoded((yield Request(method="PATCH", target=_path(name), headers=headers, body=body)), Queue)


def simulate(name: str, question: Simulation) -> Steps[Document]:
    body = json.dumps(question, allow_nan=False).encode()
    headers = {"Content-Type": "application/json"}
    request = Request(method="POST", target=f"{_path(name)}:simulate", headers=headers, body=body, quiet_s=SIMULATION_S)
    return decoded((yield request), Document)


def _path(name: str) -> str:
    return f"/v1/queues/{quote(name, safe='')}"
