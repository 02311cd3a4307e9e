"""Calls on the server: what may be submitted, how it is, what it did; a reload, a drain, the level of its log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

import msgspec

from jobqueue.client.protocol import Request, Steps, decoded

if TYPE_CHECKING:
    from datetime import datetime

Document = dict[str, Any]

_SERVER = "/v1/server"


class _Types(msgspec.Struct, frozen=True):
    types: tuple[Document, ...]


class _Findings(msgspec.Struct, frozen=True):
    findings: tuple[Document, ...]


class _Webhooks(msgspec.Struct, frozen=True):
    webhooks: tuple[Document, ...]


class _Problems(msgspec.Struct, frozen=True):
    problems: tuple[Document, ...]


def types() -> Steps[tuple[Document, ...]]:
    return decoded((yield Request(method="GET", target="/v1/types")), _Types).types


def job_type(name: str) -> Steps[Document]:
    return decoded((yield Request(method="GET", target=_type(name))), Document)


def release_type(name: str) -> Steps[Document]:
    return decoded((yield Request(method="POST", target=f"{_type(name)}:release")), Document)


def server() -> Steps[Document]:
    return decoded((yield Request(method="GET", target=_SERVER)), Document)


def stats(by: str, name: str | None, since: datetime | float | None, step_s: int | None) -> Steps[Document]:
    asked = {"by": by, "name": name, "since": since, "step": step_s}
    query = {name: _text(value) for name, value in asked.items() if value is not None}
    return decoded((yield Request(method="GET", target=f"/v1/stats?{urlencode(query)}")), Document)


def findings() -> Steps[tuple[Document, ...]]:
    return decoded((yield Request(method="GET", target="/v1/findings")), _Findings).findings


def webhooks() -> Steps[tuple[Document, ...]]:
    return decoded((yield Request(method="GET", target="/v1/webhooks")), _Webhooks).webhooks


def log_lines(level: str | None, event: str | None, limit: int | None) -> Steps[Document]:
    asked = {"level": level, "event": event, "limit": limit}
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    target = f"{_SERVER}/log?{query}" if query else f"{_SERVER}/log"
    return decoded((yield Request(method="GET", target=target)), Document)


def settings() -> Steps[Document]:
    return decoded((yield Request(method="GET", target=f"{_SERVER}/settings")), Document)


def problems() -> Steps[tuple[Document, ...]]:
    headers = {"Accept": "application/json"}
    return decoded((yield Request(method="GET", target="/problems", headers=headers)), _Problems).problems


def act(action: Literal["reload", "drain"]) -> Steps[Document]:
    return decoded((yield Request(method="POST", target=f"{_SERVER}:{action}")), Document)


def set_log_level(level: str) -> Steps[Document]:
    headers = {"Content-Type": "application/json"}
    body = json.dumps({"log_level": level}).encode()
    return decoded((yield Request(method="PATCH", target=_SERVER, headers=headers, body=body)), Document)


def _type(name: str) -> str:
    return f"/v1/types/{quote(name, safe='')}"


def _text(value: object) -> str:
    isoformat = getattr(value, "isoformat", None)
    return str(value if isoformat is None else isoformat())
