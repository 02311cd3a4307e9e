"""Methods that a resource does not have (RFC 9110, section 9)."""

from __future__ import annotations

from tests.http.bad_input.row import Row, get, head, sent


def wrong(method: str, target: str) -> Row:
    return Row(f"{method} of {target}", sent(method, target, b""), 405, "method-not-allowed", f"not {method}")


ROWS = [
    *(wrong(method, "/v1/jobs") for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "QUERY")),
    *(wrong(method, "/v1/jobs/{DONE}") for method in ("POST", "PUT", "PATCH", "OPTIONS", "TRACE", "LINK", "MKCOL")),
    *(wrong(method, "/v1/jobs/{DONE}/result") for method in ("POST", "PUT", "DELETE")),
    *(wrong(method, "/v1/jobs/{DONE}/events") for method in ("POST", "DELETE")),
    *(wrong(method, "/v1/jobs/{HELD}:cancel") for method in ("PUT", "DELETE", "PATCH")),
    *(wrong(method, "/v1/jobs:batch") for method in ("GET", "PUT", "DELETE")),
    *(wrong(method, "/v1/jobs:cancel") for method in ("GET", "PUT", "DELETE")),
    *(wrong(method, "/v1/events") for method in ("POST",)),
    *(wrong(method, "/v1/queues") for method in ("POST", "PATCH", "DELETE")),
    *(wrong(method, "/v1/queues/default") for method in ("POST", "PUT", "DELETE")),
    *(wrong(method, "/v1/queues/default:pause") for method in ("GET", "PUT", "DELETE")),
    *(wrong(method, "/livez") for method in ("POST", "OPTIONS", "TRACE", "PURGE")),
    *(wrong(method, "/readyz") for method in ("POST", "PUT")),
    Row("HEAD of /v1/jobs:batch", get("/v1/jobs:batch", method="HEAD"), 405),
    Row("HEAD of /v1/jobs/{HELD}:cancel", get("/v1/jobs/{HELD}:cancel", method="HEAD"), 405),
    Row("HEAD of nowhere", get("/nope", method="HEAD"), 404),
    Row("OPTIONS of nowhere", sent("OPTIONS", "/nope", b""), 404, "not-found"),
    Row("OPTIONS of a star", head("OPTIONS * HTTP/1.1"), 404, "not-found"),
    Row(
        "a preflight of a foreign page",
        get("/v1/jobs", "Origin: http://evil", "Access-Control-Request-Method: POST", method="OPTIONS"),
        403,
        "cross-origin",
        "evil",
    ),
    Row("CONNECT", head("CONNECT h:80 HTTP/1.1"), 404, "not-found"),
]
