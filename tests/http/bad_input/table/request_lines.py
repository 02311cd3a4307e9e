"""Request lines and the ends of lines (RFC 9112, sections 2 and 3)."""

from __future__ import annotations

from tests.http.bad_input.row import Row, get, latin

REST = b" HTTP/1.1\r\nHost: h\r\n\r\n"


def bad(name: str, stream: bytes, says: str = "") -> Row:
    return Row(name, stream, 400, "malformed-request", says, closes=True)


def target(name: str, written: str, says: str = "") -> Row:
    return bad(name, latin(f"GET {written}") + REST, says)


def line(name: str, written: str, says: str = "") -> Row:
    return bad(name, latin(f"{written}\r\nHost: h\r\n\r\n"), says)


ROWS = [
    # -- no request
    bad("a line that is no request", b"nonsense\r\n\r\n", "Invalid method encountered: 'nonsense'"),
    bad("a response", b"HTTP/1.1 200 OK\r\n\r\n"),
    bad(
        "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP/2 preface was received, and this server speaks HTTP/1.1"
    ),
    bad("TLS", bytes.fromhex("1603010200010001fc0303") + b"x" * 40, "Received HTTPS traffic on an HTTP port"),
    bad("SSH", b"SSH-2.0-OpenSSH_9.6\r\n"),
    bad("SMTP", b"EHLO h\r\n"),
    bad("Redis", b"*1\r\n$4\r\nPING\r\n"),
    bad("a JSON document", b'{"type":"echo"}\r\n\r\n'),
    bad("NULs", bytes(64)),
    bad("the byte 0xFF", b"\xff" * 64),
    bad("a PROXY header", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + get("/livez")),
    # -- methods
    line("an unknown method", "FOO / HTTP/1.1", "Invalid method encountered: 'FOO / HTTP/1.1'"),
    line("a method with an @", "G@T / HTTP/1.1", "Invalid method encountered: 'G@T / HTTP/1.1'"),
    line("a method in small letters", "get / HTTP/1.1", "Invalid method"),
    line("a method that goes on", "GETX / HTTP/1.1"),
    line("a part of a method", "GE / HTTP/1.1"),
    line("a method with a colon", "GET: / HTTP/1.1"),
    line("a method with a NUL", "GET\0 / HTTP/1.1"),
    line("a method of 2,000 letters", "G" * 2000 + " / HTTP/1.1"),
    line("a space before the method", " GET / HTTP/1.1"),
    line("no method", "/ HTTP/1.1"),
    # -- targets
    target("a NUL in the target", "/\0", "Invalid char in url path: 'GET /\\\\x00 HTTP/1.1'"),
    target("a space in the target", "/a b", "Expected HTTP/, RTSP/ or ICE/: 'GET /a b HTTP/1.1'"),
    target("a tab in the target", "/a\tb"),
    target("a carriage return in the target", "/a\rb"),
    target("DEL in the target", "/\x7f"),
    target("an id in raw UTF-8", "/v1/jobs/\xc3\xa4", "Invalid char in url path: 'GET /v1/jobs/\\\\xc3\\\\xa4"),
    target("a number in raw UTF-8", "/v1/jobs?limit=\xd9\xa3", "Invalid char in url query: "),
    target("a target without a slash", "foo", "Invalid characters in url: 'GET foo HTTP/1.1'"),
    target("a relative target", "../livez"),
    target("an empty target", ""),
    target("a star", "*", "the request's target '*' is neither a path that begins with a slash"),
    target("a target of a query alone", "?x=y"),
    target("a target of a host alone", "h:80"),
    target("a target without a host", "http:///livez", "the request's target 'http:///livez' is neither a path"),
    target("a target with a bad port", "http://h:99999/", "the request's target 'http://h:99999/' is neither a path"),
    target("a target with a port in letters", "http://h:x/livez"),
    target("a target with an open bracket", "http://[::1/livez"),
    target("a backslash as the beginning", "\\livez"),
    # -- versions
    line("no version", "GET /livez"),
    line("no version and a space", "GET /livez "),
    line("a version with two dots", "GET / HTTP/1.2.3", "Invalid HTTP version: 'GET / HTTP/1.2.3'"),
    line("a version without a dot", "GET / HTTP/11"),
    line("a version without a minor number", "GET / HTTP/1."),
    line("a version in small letters", "GET / http/1.1"),
    line("a version of two digits", "GET / HTTP/1.10"),
    line("a version with a minus", "GET / HTTP/-1.1"),
    line("a version in letters", "GET / HTTP/x.y"),
    line("HTTP/2.0 on a usual request", "GET / HTTP/2.0", "not HTTP/2.0"),
    line("HTTP/0.9", "GET / HTTP/0.9", "not HTTP/0.9"),
    line("HTTP/3.0", "GET / HTTP/3.0"),
    line("HTTP/9.9", "GET / HTTP/9.9"),
    line("another protocol", "GET / XTTP/1.1"),
    line("HTTPS as the version", "GET / HTTPS/1.1"),
    line("a word after the version", "GET / HTTP/1.1 x"),
    line("a tab before the target", "GET\t/livez HTTP/1.1"),
    line("a tab before the version", "GET /livez\tHTTP/1.1"),
    line("a space after the version", "GET /livez HTTP/1.1 "),
    # -- line ends (section 2.2)
    bad("line feeds alone", b"GET / HTTP/1.1\nHost: h\n\n", "Expected CRLF after version"),
    bad("carriage returns alone", b"GET / HTTP/1.1\rHost: h\r\r"),
    bad("two carriage returns before a line feed", b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
    bad("a line feed at the head's end", b"GET /livez HTTP/1.1\r\nHost: h\r\n\n"),
    bad("a line in a version", b"GET / HTTP/\r\n1.1\r\nHost: h\r\n\r\n"),
    # Lenient where section 3 allows it: white space of any length separates.
    Row("two spaces before the target", get(" /livez"), 200),
    Row("two spaces before the version", get("/livez "), 200),
    # The parser takes the relatives of HTTP/1.0 for it.
    Row("RTSP", b"GET /livez RTSP/1.0\r\nHost: h\r\n\r\n", 200, closes=True),
    Row("empty lines before the request", b"\r\n\r\n" + get("/livez"), 200),
    # -- targets that are valid, and lead nowhere
    Row("a fragment", get("/livez#x"), 200),
    Row("an absolute target", get("http://h/livez"), 200),
    Row("an absolute target of another host", get("http://evil/livez"), 421, "misdirected-request", "evil"),
    Row("an absolute target with a user", get("http://h@evil/livez"), 421, "misdirected-request", "evil"),
    Row("two slashes", get("//livez"), 404, "not-found"),
    Row("dots", get("/v1/../livez"), 404, "not-found"),
    Row("escaped dots", get("/v1/%2e%2e/livez"), 404, "not-found"),
    Row("a slash at the end", get("/livez/"), 404, "not-found"),
    Row("another case", get("/LIVEZ"), 404, "not-found"),
    Row("an escape without its end", get("/livez%"), 404, "not-found"),
    Row("an escaped NUL", get("/livez%00"), 404, "not-found"),
    Row("an escape that is no UTF-8", get("/%ff"), 404, "not-found"),
    Row("markup", get("/<script>"), 404, "not-found"),
    Row("a file of the system", get("/../../etc/passwd"), 404, "not-found"),
]
