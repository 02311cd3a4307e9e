"""Submissions by form (RFC 7578): parts, their heads, and their order."""

from __future__ import annotations

from tests.http.bad_input.row import FORM, JOB_PART, Row, file_part, form, posted

JOB = JOB_PART[0]
NESTED = 'Content-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; boundary=abc'


def bad(name: str, stream: bytes, says: str = "") -> Row:
    return Row(name, stream, 400, "malformed-request", says, closes=None)


def body(name: str, content: bytes) -> Row:
    return bad(name, posted(content, FORM))


def part(name: str, heading: str) -> Row:
    """Return the row of a part that is malformed, behind the job's."""
    return bad(f"a part {name}", form(JOB_PART, (heading, b"x")))


def job(name: str, content: bytes, status: int, problem: str, says: str = "") -> Row:
    return Row(f"a job's part: {name}", form((JOB, content)), status, problem, says, closes=None)


def taken(name: str, stream: bytes) -> Row:
    return Row(name, stream, 202, jobs=1)


def named(name: str, filename: str) -> Row:
    heading = f'Content-Disposition: form-data; name="f"; filename="{filename}"'
    return taken(f"a file named {name}", form(JOB_PART, (heading, b"x")))


ROWS = [
    # -- boundaries
    body("no byte", b""),
    body("JSON in place of a form", b'{"type":"sizes"}'),
    body("another boundary", form(JOB_PART).partition(b"\r\n\r\n")[2].replace(b"--xyz", b"--abc")),
    body("a preamble", b"preamble\r\n" + form(JOB_PART).partition(b"\r\n\r\n")[2]),
    body("the last boundary alone", b"--xyz--\r\n"),
    body("a boundary alone", b"--xyz"),
    body("a boundary and a word", b"--xyz x\r\n"),
    body("line feeds alone", form(JOB_PART).partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")),
    bad("no last boundary", form(JOB_PART, end=b"")),
    bad("a last boundary without its dashes", form(JOB_PART, end=b"--xyz\r\n")),
    bad("a file without its end", form(JOB_PART, end=b'--xyz\r\nContent-Disposition: form-data; name="f"\r\n\r\nx')),
    # -- parts
    bad("a file before the job", form(file_part("f"), JOB_PART), "job"),
    bad("two jobs", form(JOB_PART, JOB_PART), "job"),
    bad("a job behind a file", form(JOB_PART, file_part("f"), JOB_PART), "job"),
    bad("fields in place of a job", form(('Content-Disposition: form-data; name="type"', b"sizes")), "job"),
    bad("a job's name in capitals", form((JOB.replace("job", "JOB"), JOB_PART[1])), "job"),
    part("without a head", ""),
    part("without a disposition", "Content-Type: text/plain"),
    part("without a name", "Content-Disposition: form-data"),
    part("with an empty name", 'Content-Disposition: form-data; name=""'),
    part("with a filename alone", 'Content-Disposition: form-data; filename="f"'),
    part("of another disposition", 'Content-Disposition: attachment; name="f"'),
    part("with an open quote", 'Content-Disposition: form-data; name="f'),
    part("with a name that is no UTF-8", 'Content-Disposition: form-data; name="\xff"'),
    part("with two dispositions", "\r\n".join(['Content-Disposition: form-data; name="f"'] * 2)),
    part("with a folded line", 'Content-Disposition: form-data;\r\n name="f"'),
    part("with a line without a colon", 'Content-Disposition: form-data; name="f"\r\nnonsense'),
    part("with an empty header", 'Content-Disposition: form-data; name="f"\r\n: x'),
    part("with a space before the colon", 'Content-Disposition : form-data; name="f"'),
    part("in base64", 'Content-Disposition: form-data; name="f"\r\nContent-Transfer-Encoding: base64'),
    part("that is compressed", 'Content-Disposition: form-data; name="f"\r\nContent-Encoding: gzip'),
    # -- the job
    job("empty", b"", 400, "malformed-json", "not JSON"),
    job("no JSON", b"{", 400, "malformed-json", "not JSON"),
    job("a byte order mark", b"\xef\xbb\xbf" + JOB_PART[1], 400, "malformed-json", "not JSON"),
    job(
        "nested too deep", b'{"type":"sizes","args":' + b"[" * 33 + b"]" * 33 + b"}", 400, "malformed-json", "32 levels"
    ),
    job("an unknown type", b'{"type":"nope"}', 422, "unknown-type", "/type"),
    job("an unknown member", b'{"type":"sizes","nope":1}', 422, "invalid-submission", "/nope"),
    job("an unknown argument", b'{"type":"sizes","args":{"nope":1}}', 422, "invalid-submission", "/args/nope"),
    job("a batch", b'{"jobs":[]}', 422, "invalid-submission", "/jobs"),
    Row(
        "a debounced job with a file",
        form((JOB, b'{"type":"sizes","delay_s":9,"unique":{"value":"u","mode":"debounce"}}'), file_part("f")),
        422,
        "invalid-submission",
        "/unique",
        closes=None,
    ),
    # -- what is accepted: no name leads out of the spool, and no content is interpreted
    taken("no file", form(JOB_PART)),
    taken("an empty file", form(JOB_PART, file_part("f", b""))),
    taken("a file of line ends and dashes", form(JOB_PART, file_part("f", b"\r\n--xy\r\n--\r\n\r\n--xy"))),
    named("as a way up", "../../x"),
    named("as a path", "/etc/x"),
    named("with a NUL", "a\0b"),
    taken("a part named as a way up", form(JOB_PART, file_part("../../x"))),
    taken("a part named __proto__", form(JOB_PART, file_part("__proto__"))),
    taken("two files of one name", form(JOB_PART, file_part("f"), file_part("f"))),
    taken(
        "a file that is a form",
        form(
            JOB_PART,
            (
                'Content-Disposition: form-data; name="f"\r\nContent-Type: multipart/mixed; boundary=abc',
                b"--abc\r\n\r\nx\r\n--abc--",
            ),
        ),
    ),
    taken("bytes after the last boundary", form(JOB_PART, end=b"--xyz--\r\nepilogue")),
    taken("no line end after the last boundary", form(JOB_PART, end=b"--xyz--")),
]
