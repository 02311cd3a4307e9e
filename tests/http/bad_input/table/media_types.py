"""Media types and charsets (RFC 9110, section 8.3)."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, FORM, JOB_PART, JSON, Row, form, head, posted, sent


def bad(name: str, *headers: str, says: str = "application/json") -> Row:
    stream = head("POST /v1/jobs HTTP/1.1", *headers, f"Content-Length: {len(ECHO)}") + ECHO
    return Row(name, stream, 415, "unsupported-media-type", says, closes=None)


def other(name: str, content_type: str) -> Row:
    return bad(name, f"Content-Type: {content_type}")


def repeated(name: str, *headers: str) -> Row:
    return Row(name, posted(ECHO, *headers), 400, "malformed-request", "Duplicate 'Content-Type'", closes=True)


def charset(name: str, parameter: str) -> Row:
    return bad(f"the charset {name}", f"Content-Type: application/json;{parameter}", says="UTF-8")


def taken(name: str, content_type: str) -> Row:
    return Row(name, posted(ECHO, f"Content-Type: {content_type}"), 202, jobs=1)


def boundary(name: str, parameters: str) -> Row:
    says = "a boundary of 1 to 70 ASCII characters"
    stream = posted(b"--xyz--", f"Content-Type: multipart/form-data{parameters}")
    return Row(name, stream, 400, "malformed-request", says, closes=None)


ROWS = [
    bad("no media type"),
    bad("an empty media type", "Content-Type:"),
    other("text", "text/plain"),
    other("a form's fields", "application/x-www-form-urlencoded"),
    other("JSON as text", "text/json"),
    other("a kin of JSON", "application/problem+json"),
    other("JSON lines", "application/x-ndjson"),
    other("JSON with a suffix", "application/jsonp"),
    other("JSON with a prefix", "xapplication/json"),
    other("a media range", "*/*"),
    other("a media range of a type", "application/*"),
    other("a type without a subtype", "application"),
    other("a type with an empty subtype", "application/"),
    other("a subtype alone", "/json"),
    other("a subtype alone, as a word", "json"),
    other("spaces around the slash", "application / json"),
    other("three parts", "application/json/x"),
    other("a list", "application/json, application/json"),
    other("a list of two types", "text/plain, application/json"),
    other("two types without a comma", "application/json text/plain"),
    other("quotes", '"application/json"'),
    other("bytes above 0x7F", "application/\xff"),
    other("a form of another kind", "multipart/mixed; boundary=xyz"),
    other("a media type in brackets", "<application/json>"),
    # A repeated Content-Type has no valid meaning (section 8.3), and parsers differ in which line they take.
    repeated("two types in two lines", JSON, "Content-Type: text/plain"),
    repeated("two types in two lines, JSON last", "Content-Type: text/plain", JSON),
    repeated("the same type in two lines", JSON, JSON),
    repeated("a form and JSON in two lines", FORM, JSON),
    # -- charsets
    charset("latin-1", "charset=latin-1"),
    charset("UTF-16", "charset=utf-16"),
    charset("UTF-7", "charset=utf-7"),
    charset("US-ASCII", "charset=us-ascii"),
    charset("an unknown charset", "charset=nonsense"),
    charset("an extended parameter", "charset*=utf-16''x"),
    charset("a long charset", "charset=" + "x" * 500),
    taken("UTF-8", "application/json; charset=utf-8"),
    taken("UTF-8 in quotes and capitals", 'Application/JSON;Charset="UTF-8"'),
    taken("an unknown parameter", "application/json; version=1"),
    taken("a semicolon at the end", "application/json;"),
    # -- boundaries
    boundary("a form without a boundary", ""),
    boundary("an empty boundary", "; boundary="),
    boundary("an empty boundary in quotes", '; boundary=""'),
    boundary("a boundary of 71 characters", "; boundary=" + "x" * 71),
    boundary("a boundary of bytes above 0x7F", "; boundary=\xff"),
    boundary("a boundary without its closing quote", '; boundary="xyz'),
    boundary("a boundary with a space", "; boundary= xyz"),
    boundary("another parameter", "; xboundary=xyz"),
    # -- the other resources
    *(
        Row(
            f"{name} of {what}",
            sent(method, target, b"{}", header),
            415,
            "unsupported-media-type",
            "application/json",
            closes=None,
        )
        for what, method, target in (
            ("a batch", "POST", "/v1/jobs:batch"),
            ("a filter", "POST", "/v1/jobs:cancel"),
            ("a queue's change", "PATCH", "/v1/queues/default"),
        )
        for name, header in (("text", "Content-Type: text/plain"), ("a form", FORM))
    ),
    Row("a submission by form as JSON", form(JOB_PART).replace(FORM.encode(), JSON.encode()), 400, "malformed-json"),
]
