"""Documents that are JSON, and not what the resource takes: each fault with its JSON pointer (RFC 6901)."""

from __future__ import annotations

import json
from typing import Any

from tests.http.bad_input.row import JSON, Row, posted, sent

LIMITS = {"body_bytes": 8192}

DAY_S = 86_400


def bad(name: str, document: Any, pointer: str, problem: str = "invalid-submission") -> Row:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Row(name, posted(body), 422, problem, f'"pointer":"{pointer}"')


def field(name: str, member: str, value: Any, pointer: str = "", type: str = "echo") -> Row:
    """Return the row of a submission with one wrong member."""
    return bad(f"{member}: {name}", {"type": type, member: value}, pointer or f"/{member}")


def fields(member: str, *values: Any) -> list[Row]:
    return [field(repr(value), member, value) for value in values]


def argument(name: str, args: Any, pointer: str) -> Row:
    return bad(f"arguments: {name}", {"type": "big", "args": args}, pointer)


def batch(name: str, body: bytes, pointer: str) -> Row:
    return Row(f"a batch: {name}", sent("POST", "/v1/jobs:batch", body, JSON), 422, "invalid-request", f'"{pointer}"')


def bulk(name: str, body: bytes, pointer: str) -> Row:
    return Row(f"a filter: {name}", sent("POST", "/v1/jobs:cancel", body, JSON), 422, "invalid-request", f'"{pointer}"')


def change(name: str, body: bytes, pointer: str) -> Row:
    stream = sent("PATCH", "/v1/queues/default", body, JSON)
    return Row(f"a queue's change: {name}", stream, 422, "invalid-request", f'"{pointer}"')


ROWS = [
    # -- the document
    bad("an array", [], ""),
    bad("null", None, ""),
    bad("a number", 1, ""),
    bad("a text", "echo", ""),
    bad("a boolean", True, ""),
    bad("an empty object", {}, "/type"),
    bad("a batch in place of a submission", {"jobs": [{"type": "echo"}]}, "/jobs"),
    bad("an unknown member", {"type": "echo", "nope": 1}, "/nope"),
    bad("an unknown member with an empty name", {"type": "echo", "": 1}, "/"),
    bad("an unknown member with a slash and a tilde", {"type": "echo", "a/b~c": 1}, "/a~1b~0c"),
    bad("a member in capitals", {"type": "echo", "Priority": 1}, "/Priority"),
    bad("a member __proto__", {"type": "echo", "__proto__": {}}, "/__proto__"),
    bad("the handler's argument beside args", {"type": "big", "size": 1}, "/size"),
    bad("forty unknown members", {"type": "echo", **{f"x{n}": n for n in range(40)}}, "/x0"),
    # -- type
    field("missing", "priority", 1, "/type", type=""),
    field("a number", "type", 1),
    field("null", "type", None),
    field("empty", "type", ""),
    field("an array", "type", ["echo"]),
    field("101 characters", "type", "x" * 101),
    bad("type: unknown", {"type": "nope"}, "/type", "unknown-type"),
    bad("type: in capitals", {"type": "ECHO"}, "/type", "unknown-type"),
    bad("type: with a space", {"type": "echo "}, "/type", "unknown-type"),
    bad("type: with a NUL", {"type": "echo\0"}, "/type", "unknown-type"),
    bad("type: a path", {"type": "../echo"}, "/type", "unknown-type"),
    bad("type: a name of Python", {"type": "os.system"}, "/type", "unknown-type"),
    bad("type: 100 characters", {"type": "x" * 100}, "/type", "unknown-type"),
    # -- arguments
    argument("null", None, "/args"),
    argument("an array", [1], "/args"),
    argument("a text", "{}", "/args"),
    argument("a number", 1, "/args"),
    argument("missing", {}, "/args/size"),
    argument("unknown", {"size": 1, "more": 1}, "/args/more"),
    argument("the context", {"size": 1, "ctx": {}}, "/args/ctx"),
    argument("a text for a number", {"size": "1"}, "/args/size"),
    argument("a fraction for an integer", {"size": 1.5}, "/args/size"),
    argument("true for an integer", {"size": True}, "/args/size"),
    argument("null for an integer", {"size": None}, "/args/size"),
    # -- numbers
    *fields("priority", 10, -1, 1.5, True, "1", None, [1], 2**63),
    *fields("attempts_max", 0, -1, 101, 1.5, True, "1"),
    *fields("delay_s", -1, -0.001, "1", True, [], 1e308, 31 * DAY_S),
    *fields("start_by_s", 0, -1, "1", False, 1e308),
    *fields("timeout_s", 0, -1, "1", False, 1e308),
    *fields("ttl_s", 0, -1, "1", False, 1e308, DAY_S + 1),
    *fields("callback", "", 17, True, [], {"url": "https://example.com/"}, "a" * 2001),
    field("a server without callbacks", "callback", "https://example.com/"),
    bad("start_by_s: before the delay's end", {"type": "echo", "start_by_s": 1, "delay_s": 2}, "/start_by_s"),
    # -- times
    *fields(
        "run_at",
        *(
            0,
            1.5e9,
            "",
            "yesterday",
            "2030-01-01",
            "2030-01-01T00:00:00",
            "2030-01-01 00:00:00",
            "20300101T000000Z",
        ),
        *("2030-02-30T00:00:00Z", "2030-13-01T00:00:00Z", "2030-01-01T25:00:00Z", "2030-01-01T00:61:00Z"),
        *("2030-01-01T00:00:00+25:00", "+2030-01-01T00:00:00Z", "0000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    ),
    bad("run_at: beside delay_s", {"type": "echo", "run_at": "2026-01-01T00:00:00Z", "delay_s": 1}, "/run_at"),
    # -- names
    *fields("queue", "", "nope", "no such name!", "../default", "Default", 1, []),
    *(field(name, "group", value) for name, value in (("empty", ""), ("201 characters", "x" * 201), ("a number", 1))),
    field("empty", "unique", ""),
    field("201 characters", "unique", "x" * 201),
    field("a number", "unique", 1),
    field("an array", "unique", ["u"]),
    field("an empty object", "unique", {}),
    field("an empty value", "unique", {"value": ""}, "/unique/value"),
    field("an unknown mode", "unique", {"value": "u", "mode": "sometimes"}, "/unique/mode"),
    field("a null mode", "unique", {"value": "u", "mode": None}, "/unique/mode"),
    field("an unknown member", "unique", {"value": "u", "ttl": 1}),
    field("debounced without a delay", "unique", {"value": "u", "mode": "debounce"}),
    # -- batches
    batch("an array", b"[]", ""),
    batch("an empty object", b"{}", "/jobs"),
    batch("jobs as an object", b'{"jobs":{}}', "/jobs"),
    batch("null for jobs", b'{"jobs":null}', "/jobs"),
    batch("an unknown member", b'{"jobs":[],"more":1}', "/more"),
    batch("one submission", b'{"type":"echo"}', "/jobs"),
    batch("1,001 items", b'{"jobs":[' + b",".join([b"1"] * 1001) + b"]}", "/jobs"),
    Row(
        "a batch: three invalid items",
        sent("POST", "/v1/jobs:batch", b'{"jobs":[1,{"type":"nope"},{"type":"echo","priority":10}]}', JSON),
        207,
        says='"/jobs/2/priority"',
    ),
    Row(
        "a batch: one valid item among invalid ones",
        sent("POST", "/v1/jobs:batch", b'{"jobs":[null,{"type":"echo"},[]]}', JSON),
        207,
        says='"/jobs/2"',
        jobs=1,
    ),
    # -- filters of many jobs
    bulk("empty", b"{}", ""),
    bulk("an array", b"[]", ""),
    bulk("null", b"null", ""),
    bulk("null for a state", b'{"state":null}', "/state"),
    bulk("an unknown state", b'{"state":"done"}', "/state"),
    bulk("an array of states", b'{"state":["queued"]}', "/state"),
    bulk("an unknown member", b'{"states":"queued"}', "/states"),
    bulk("an empty type", b'{"type":""}', "/type"),
    bulk("a long group", b'{"group":"' + b"x" * 201 + b'"}', "/group"),
    bulk("a negative age", b'{"older_than_s":-1}', "/older_than_s"),
    bulk("a text as an age", b'{"older_than_s":"1"}', "/older_than_s"),
    bulk("a valid and an unknown member", b'{"type":"hold","all":true}', "/all"),
    # -- changes of a queue
    change("an array", b"[]", ""),
    change("an unknown member", b'{"paused":true}', "/paused"),
    change("no worker", b'{"workers":0}', "/workers"),
    change("a text", b'{"workers":"4"}', "/workers"),
    change("too many workers", b'{"workers":100001}', "/workers"),
    change("true", b'{"weight":true}', "/weight"),
    change("a weight over the bound", b'{"weight":1001}', "/weight"),
    change("no capacity", b'{"capacity":0}', "/capacity"),
    change("null", b'{"capacity":null}', "/capacity"),
    change("an unknown discipline", b'{"discipline":"random"}', "/discipline"),
    change("a valid and an invalid member", b'{"workers":4,"weight":0}', "/weight"),
]
