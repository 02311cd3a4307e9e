"""Requests to a server with keys: without one, with a malformed or wrong one, without its scope (RFC 6750, RFC 9110).

On a kept connection the requests before had the key of an admin: no request has the key of an earlier one.
"""

from __future__ import annotations

from jobqueue.keys import Key
from tests.http.bad_input.row import ECHO, FORM, JSON, LAST_CHUNK, Row, chunked, get, head, posted, sent
from tests.http.keyed import ANN, BOB, OPS, READER, STRANGER, SUB, auth

SETTINGS = {"auth": auth()}
KEY = f"Authorization: Bearer {OPS.text}"
"""That of the requests before."""

NONE = "needs a key"
WRONG = "malformed, unknown or was removed"
SEVERAL = "several Authorization headers"
SCHEME = "must have the scheme Bearer"


def given(name: str, says: str, *lines: str) -> Row:
    """Return a row of a read with these headers."""
    return Row(name, get("/v1/jobs/{DONE}", *lines), 401, "unauthorized", says)


def refused(name: str, stream: bytes, says: str = NONE, *, closes: bool | None = False) -> Row:
    return Row(name, stream, 401, "unauthorized", says, closes=closes)


def lacking(scope: str, name: str, stream: bytes, *, closes: bool | None = False) -> Row:
    return Row(f"{name} without {scope}", stream, 403, "insufficient-scope", f"the scope {scope}", closes=closes)


def foreign(name: str, stream: bytes) -> Row:
    return Row(f"{name} of a foreign job", stream, 404, "job-not-found", "no job was ever created")


def bearer(key: Key) -> str:
    return f"Authorization: Bearer {key.text}"


ROWS = [
    given("no Authorization", NONE),
    given("an empty one", SCHEME, "Authorization:"),
    given("a blank one", SCHEME, "Authorization:    "),
    given("Basic", SCHEME, "Authorization: Basic YW5uOng="),
    given("Digest", SCHEME, 'Authorization: Digest username="ann"'),
    given("Negotiate", SCHEME, "Authorization: Negotiate x"),
    given("a key without a scheme", SCHEME, f"Authorization: {ANN.text}"),
    given("a scheme that begins like Bearer", SCHEME, f"Authorization: Bearers {ANN.text}"),
    given("a tab after the scheme", SCHEME, f"Authorization: Bearer\t{ANN.text}"),
    given("a colon after the scheme", SCHEME, f"Authorization: Bearer: {ANN.text}"),
    given("a scheme alone", WRONG, "Authorization: Bearer"),
    given("a short key", WRONG, bearer(ANN)[:-1]),
    given("a long key", WRONG, f"{bearer(ANN)}a"),
    given("a key in upper case", WRONG, f"Authorization: Bearer {ANN.text.upper()}"),
    given("a key in quotes", WRONG, f'Authorization: Bearer "{ANN.text}"'),
    given("a key with a parameter", WRONG, f"{bearer(ANN)}; x=y"),
    given("two keys in one header", WRONG, f"{bearer(ANN)}, Bearer {OPS.text}"),
    given("two keys after one scheme", WRONG, f"{bearer(ANN)} {OPS.text}"),
    given("a key with a NUL in its middle, as text", WRONG, f"Authorization: Bearer {ANN.text[:30]}%00{ANN.text[31:]}"),
    given("a byte over 127", WRONG, f"Authorization: Bearer \xff{ANN.text[1:]}"),
    given("UTF-8", WRONG, f"Authorization: Bearer \xc3\xa9{ANN.text[2:]}"),
    given("another prefix", WRONG, f"Authorization: Bearer jk_{ANN.text[3:]}"),
    given("a letter that base32 lacks", WRONG, f"Authorization: Bearer {ANN.text[:-1]}1"),
    given("an unknown key", WRONG, bearer(STRANGER)),
    given("the secret of another key", WRONG, bearer(Key(ANN.id, BOB.secret))),
    given("a digest for a secret", WRONG, bearer(Key(ANN.id, ANN.digest[:52]))),
    given("a secret with its last letter changed", WRONG, bearer(Key(ANN.id, f"{ANN.secret[:-1]}a"))),
    given("an id alone", WRONG, f"Authorization: Bearer jq_{ANN.id}_"),
    given("a key of 900 characters", WRONG, f"Authorization: Bearer {'jq_' * 300}"),
    given("a valid key twice", SEVERAL, bearer(ANN), bearer(ANN)),
    given("two valid keys", SEVERAL, bearer(ANN), bearer(OPS)),
    given("a valid key and Basic", SEVERAL, bearer(OPS), "Authorization: Basic x"),
    given("Basic and a valid key", SEVERAL, "authorization: Basic x", bearer(OPS)),
    given("a valid key and an empty one", SEVERAL, bearer(OPS), "AUTHORIZATION:"),
    given("a key in Proxy-Authorization", NONE, f"Proxy-Authorization: Bearer {OPS.text}"),
    given("a key in X-Api-Key", NONE, f"X-Api-Key: {OPS.text}"),
    given("a key in a cookie", NONE, f"Cookie: Authorization={OPS.text}"),
    given("a key in Idempotency-Key", NONE, f"Idempotency-Key: {OPS.text}"),
    refused("a key in the query", get(f"/v1/jobs?access_token={OPS.text}")),
    refused("a key in the path", get(f"/v1/jobs/{OPS.text}")),
    Row("a key in the authority", head(f"GET http://{OPS.text}@h/v1/jobs HTTP/1.1"), 421, "misdirected-request"),
    refused("a wait", get("/v1/jobs/{HELD}", "Prefer: wait=60")),
    refused("a wait with a wrong key", get("/v1/jobs/{HELD}", "Prefer: wait=60", bearer(STRANGER)), WRONG),
    refused("a wait for a change", get("/v1/jobs?ids={HELD}", "Prefer: wait=60")),
    refused("a tag that holds", get("/v1/jobs/{DONE}", 'If-None-Match: W/"2"')),
    refused("a stream", get("/v1/events")),
    refused("a stream that is resumed", get("/v1/events", "Last-Event-ID: 0-0")),
    Row("a HEAD", get("/v1/jobs/{DONE}", method="HEAD"), 401),
    Row("a HEAD with a wrong key", get("/v1/jobs/{DONE}", bearer(STRANGER), method="HEAD"), 401),
    refused("a submission", posted(ECHO), closes=None),
    refused("a submission with a wrong key", posted(ECHO, JSON, bearer(STRANGER)), WRONG, closes=None),
    refused("a submission that waits", posted(ECHO, JSON, "Prefer: wait=60"), closes=None),
    refused("a submission that is no JSON", posted(b"{"), closes=None),
    refused("a form", posted(b"--xyz--\r\n", FORM), closes=None),
    refused("a chunked submission", chunked(LAST_CHUNK), closes=None),
    refused("a submission over the limit", posted(b" " * 3000), closes=None),
    refused("a body of a terabyte", head("POST /v1/jobs HTTP/1.1", JSON, f"Content-Length: {10**12}"), closes=None),
    refused("Expect", head("POST /v1/jobs HTTP/1.1", JSON, "Content-Length: 15", "Expect: 100-continue"), closes=True),
    refused("a batch", sent("POST", "/v1/jobs:batch", b'{"jobs":[]}', JSON), closes=None),
    refused("a cancel", sent("POST", "/v1/jobs/{HELD}:cancel", b"")),
    refused("a delete", sent("DELETE", "/v1/jobs/{DONE}", b"")),
    refused("a cancel of all", sent("POST", "/v1/jobs:cancel", b'{"type":"hold"}', JSON), closes=None),
    refused("a pause", sent("POST", "/v1/queues/default:pause", b"")),
    refused("a change", sent("PATCH", "/v1/queues/default", b'{"workers":1}', JSON), closes=None),
    refused("a path without a resource", get("/nope")),
    refused("a method that a resource lacks", sent("PUT", "/v1/jobs", b"")),
    refused("OPTIONS", sent("OPTIONS", "/v1/jobs", b"")),
    refused("OPTIONS of a star", head("OPTIONS * HTTP/1.1")),
    refused("a probe with a slash at its end", get("/livez/")),
    refused("a probe in upper case", get("/LIVEZ")),
    refused("a probe below a path", get("/v1/livez")),
    refused("a probe by its double", get("//livez")),
    refused("a probe by another method", sent("POST", "/livez", b"")),
    Row("a foreign page without a key", get("/v1/jobs", "Origin: http://evil"), 403, "cross-origin", "evil"),
    Row("a foreign page with a key", get("/v1/jobs", "Origin: http://evil", KEY), 403, "cross-origin", "evil"),
    lacking("read", "a read", get("/v1/jobs/{DONE}", bearer(SUB))),
    lacking("read", "a wait", get("/v1/jobs/{HELD}", "Prefer: wait=60", bearer(SUB))),
    lacking("read", "a list", get("/v1/jobs", bearer(SUB))),
    lacking("read", "a wait for a change", get("/v1/jobs?ids={HELD}", "Prefer: wait=60", bearer(SUB))),
    lacking("read", "a stream", get("/v1/events", bearer(SUB))),
    lacking("read", "the queues", get("/v1/queues", bearer(SUB))),
    lacking("submit", "a submission", posted(ECHO, JSON, bearer(READER)), closes=None),
    lacking("submit", "a submission that waits", posted(ECHO, JSON, "Prefer: wait=60", bearer(READER)), closes=None),
    lacking("submit", "a submission that is no JSON", posted(b"{", JSON, bearer(READER)), closes=None),
    lacking("submit", "a batch", sent("POST", "/v1/jobs:batch", b"[", JSON, bearer(READER)), closes=None),
    lacking("operate", "a cancel", sent("POST", "/v1/jobs/{HELD}:cancel", b"", bearer(READER))),
    lacking("operate", "a retry", sent("POST", "/v1/jobs/{FAILED}:retry", b"", bearer(READER))),
    lacking("operate", "a run", sent("POST", "/v1/jobs/{LATER}:run", b"", bearer(SUB))),
    lacking("operate", "a delete", sent("DELETE", "/v1/jobs/{DONE}", b"", bearer(SUB))),
    lacking("operate", "a delete of all", sent("POST", "/v1/jobs:delete", b"{", JSON, bearer(READER)), closes=None),
    lacking("operate", "a pause", sent("POST", "/v1/queues/default:pause", b"", bearer(READER))),
    lacking("operate", "a change", sent("PATCH", "/v1/queues/default", b"{", JSON, bearer(SUB)), closes=None),
    *(foreign(f"a read of {job}", get(f"/v1/jobs/{job}", bearer(ANN))) for job in ("{DONE}", "{HELD}", "{GONE}")),
    foreign("a wait", get("/v1/jobs/{HELD}", "Prefer: wait=60", bearer(ANN))),
    foreign("a result", get("/v1/jobs/{DONE}/result", bearer(ANN))),
    foreign("a stream", get("/v1/jobs/{HELD}/events", bearer(ANN))),
    foreign("a cancel", sent("POST", "/v1/jobs/{HELD}:cancel", b"", bearer(ANN))),
    foreign("a retry", sent("POST", "/v1/jobs/{FAILED}:retry", b"", bearer(ANN))),
    foreign("a run", sent("POST", "/v1/jobs/{LATER}:run", b"", bearer(ANN))),
    foreign("a delete", sent("DELETE", "/v1/jobs/{DONE}", b"", bearer(ANN))),
]  # fmt: skip
