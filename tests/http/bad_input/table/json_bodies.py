"""Bodies that are no JSON, or JSON that two parsers may read differently (RFC 8259)."""

from __future__ import annotations

from tests.http.bad_input.row import ECHO, Row, posted, sent, with_args

LIMITS = {"body_bytes": 64 * 1024}

SYNTAX = "the body is not JSON"


def bad(name: str, stream: bytes, says: str = SYNTAX) -> Row:
    return Row(name, stream, 400, "malformed-json", says)


def taken(name: str, stream: bytes) -> Row:
    return Row(name, stream, 202, jobs=1)


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


ROWS = [
    # -- no document, a part of one, or more than one
    bad("an empty body", posted(b"")),
    bad("white space alone", posted(b" \t\r\n")),
    bad("an open brace", posted(b"{")),
    bad("a closing brace", posted(b"}")),
    bad("a document without its end", posted(b'{"type":"echo"')),
    bad("a text without its end", posted(b'{"type":"echo')),
    bad("a name without a value", posted(b'{"type"}')),
    bad("a value without a name", posted(b'{"echo"}')),
    bad("an escape without its end", posted(b'{"type":"ec\\')),
    bad("a number without its end", posted(b'{"type":"echo","priority":1e')),
    bad("a literal without its end", posted(b'{"type":"echo","args":nul')),
    bad("two documents", posted(ECHO + ECHO)),
    bad("two documents in two lines", posted(ECHO + b"\n" + ECHO)),
    bad("a brace too many", posted(ECHO + b"}")),
    bad("a word after the document", posted(ECHO + b" x")),
    bad("a NUL after the document", posted(ECHO + b"\0")),
    bad("a NUL before the document", posted(b"\0" + ECHO)),
    bad("a record separator before the document", posted(b"\x1e" + ECHO)),
    bad("a semicolon after the document", posted(ECHO + b";")),
    taken("white space around the document", posted(b"\r\n\t " + ECHO + b" \t\r\n")),
    # -- other languages than JSON
    bad("a form's fields", posted(b"type=echo")),
    bad("XML", posted(b"<type>echo</type>")),
    bad("YAML", posted(b"type: echo\n")),
    bad("names without quotes", posted(b'{type:"echo"}')),
    bad("single quotes", posted(b"{'type':'echo'}")),
    bad("a comma at the end of an object", posted(b'{"type":"echo",}')),
    bad("a comma at the end of an array", with_args("[1,]")),
    bad("a comma at the beginning", posted(b'{,"type":"echo"}')),
    bad("two commas", with_args("[1,,2]")),
    bad("no comma", posted(b'{"type":"echo" "priority":1}')),
    bad("a semicolon for a comma", posted(b'{"type":"echo";"priority":1}')),
    bad("an equals sign for a colon", posted(b'{"type"="echo"}')),
    bad("a number as a name", posted(b'{1:"echo"}')),
    bad("a comment of a line", posted(b'{"type":"echo"} // x')),
    bad("a comment", posted(b'{"type":/**/"echo"}')),
    bad("brackets that cross", with_args("[{]}")),
    bad("literals of Python", with_args("None")),
    bad("capital literals", with_args("TRUE")),
    bad("undefined", with_args("undefined")),
    bad("a prefix against inclusion", posted(b")]}',\n" + ECHO)),
    # -- encodings: UTF-8 without a byte order mark (section 8.1)
    bad("a byte order mark", posted(b"\xef\xbb\xbf" + ECHO)),
    bad("UTF-16, little endian", posted(ECHO.decode().encode("utf-16-le"))),
    bad("UTF-16 with a byte order mark", posted(ECHO.decode().encode("utf-16"))),
    bad("UTF-16, big endian", posted(ECHO.decode().encode("utf-16-be"))),
    bad("UTF-32", posted(ECHO.decode().encode("utf-32"))),
    bad("UTF-7", posted(b'+AHs-"type":"echo"+AH0-')),
    bad("latin-1 in a text", with_args(b'"caf\xe9"')),
    bad("an overlong slash", with_args(b'"\xc0\xaf"')),
    bad("an overlong NUL", with_args(b'"\xc0\x80"')),
    bad("an overlong quote in three bytes", with_args(b'"\xe0\x80\xa2"')),
    bad("an overlong form of a name", posted(b'{"\xc1\xb4ype":"echo"}')),
    bad("a character above U+10FFFF", with_args(b'"\xf4\x90\x80\x80"')),
    bad("five bytes", with_args(b'"\xf8\x88\x80\x80\x80"')),
    bad("a character without its end", with_args(b'"\xe2\x82"')),
    bad("a continuation byte alone", with_args(b'"\x80"')),
    bad("the byte 0xFF", with_args(b'"\xff"')),
    bad("a surrogate in UTF-8", with_args(b'"\xed\xa0\x80"')),
    bad("a pair of surrogates in UTF-8", with_args(b'"\xed\xa0\xbd\xed\xb8\x80"')),
    bad("an overlong form outside of a text", posted(b"\xc0\xa0" + ECHO)),
    bad("a no-break space between values", posted(b'{"type":\xc2\xa0"echo"}')),
    bad("a form feed between values", posted(b'{"type":\x0c"echo"}')),
    # -- texts
    bad("a lone high surrogate", with_args('"\\ud800"')),
    bad("a lone low surrogate", with_args('"\\udfff"')),
    bad("two high surrogates", with_args('"\\ud800\\ud800"')),
    bad("surrogates in the wrong order", with_args('"\\udc00\\ud800"')),
    bad("a high surrogate before a letter", with_args('"\\ud800a"')),
    bad("a lone surrogate in a name", with_args('{"\\ud800":1}')),
    bad("a line break in a text", with_args('"a\nb"')),
    bad("a tab in a text", with_args('"a\tb"')),
    bad("a NUL in a text", with_args('"a\0b"')),
    bad("an unknown escape", with_args('"\\x41"')),
    bad("an escape with three digits", with_args('"\\u041"')),
    bad("an escape of a single quote", with_args('"\\\'"')),
    bad("a capital U escape", with_args('"\\U00000041"')),
    taken("a pair of surrogates", with_args('"\\ud83d\\ude00"')),
    taken("an escaped NUL", with_args('"\\u0000"')),
    taken("noncharacters", with_args('"\\uffff\\ufffe"')),
    taken("DEL and C1 controls", with_args('"\x7f\x80\x9f"')),
    # -- numbers (section 6)
    bad("NaN", with_args("NaN")),
    bad("Infinity", with_args("Infinity")),
    bad("-Infinity", with_args("-Infinity")),
    bad("1e400", with_args("1e400")),
    bad("-1e400", with_args("-1e400")),
    bad("an exponent of many digits", with_args("1e" + "9" * 400)),
    bad("a zero in front", with_args("01")),
    bad("a minus and a zero in front", with_args("-01")),
    bad("a plus", with_args("+1")),
    bad("a minus alone", with_args("-")),
    bad("two minuses", with_args("--1")),
    bad("a point at the beginning", with_args(".5")),
    bad("a point at the end", with_args("5.")),
    bad("a point before the exponent", with_args("1.e5")),
    bad("an exponent without digits", with_args("1e+")),
    bad("a hexadecimal number", with_args("0x10")),
    bad("an underscore in a number", with_args("1_000")),
    bad("digits of another script", with_args("\u0661")),
    bad("2^64", with_args(str(2**64)), "18446744073709551616"),
    bad("-2^63 - 1", with_args(str(-(2**63) - 1)), "-9223372036854775809"),
    bad("5,000 digits", with_args("9" * 5000), "infinity"),
    bad(
        "5,000 digits outside of the arguments", posted(b'{"type":"echo","priority":' + b"9" * 5000 + b"}"), "infinity"
    ),
    taken("2^64 - 1", with_args(str(2**64 - 1))),
    taken("-2^63", with_args(str(-(2**63)))),
    taken("5,000 digits of a fraction", with_args("0." + "9" * 5000)),
    taken("a number that underflows", with_args("1e-400")),
    taken("minus zero", with_args("-0")),
    # -- nesting: the arguments' value is the third level
    bad("33 levels", with_args(nested(31)), "more than 32 levels"),
    bad("33 levels of objects", with_args('{"a":' * 31 + "1" + "}" * 31), "more than 32 levels"),
    bad("30,000 levels", with_args(nested(30_000)), "not JSON"),
    bad("30,000 open brackets", with_args("[" * 30_000), "not JSON"),
    bad("30,000 open braces", with_args('{"":' * 15_000), "not JSON"),
    bad("30,000 levels alone", posted(nested(30_000).encode()), "not JSON"),
    bad("30,000 closing brackets", with_args("]" * 30_000)),
    taken("32 levels", with_args(nested(30))),
    taken("30,000 brackets in a text", with_args('"' + "[" * 30_000 + '"')),
    taken("10,000 brackets that are closed at once", with_args("[" + ",".join(["[]"] * 10_000) + "]")),
    # -- duplicate names: the last one counts (section 4 leaves it open)
    taken("a type twice", posted(b'{"type":"nope","type":"echo"}')),
    Row("a type twice, the last unknown", posted(b'{"type":"echo","type":"nope"}'), 422, "unknown-type", '"/type"'),
    taken("a name twice in the arguments", with_args('{"a":1,"a":2}')),
    Row(
        "a name twice, the last invalid",
        posted(b'{"type":"echo","priority":1,"priority":10}'),
        422,
        "invalid-submission",
        "/priority",
    ),
    taken("a name twice, the first invalid", posted(b'{"type":"echo","priority":10,"priority":1}')),
    taken("an escaped name twice", posted(b'{"type":"nope","t\\u0079pe":"echo"}')),
    # -- the same for other resources
    bad("an empty batch body", sent("POST", "/v1/jobs:batch", b"", "Content-Type: application/json")),
    bad("a batch without its end", sent("POST", "/v1/jobs:batch", b'{"jobs":[', "Content-Type: application/json")),
    bad(
        "a batch with one item that is no JSON",
        sent("POST", "/v1/jobs:batch", b'{"jobs":[{"type":"echo"},{"type":}]}', "Content-Type: application/json"),
    ),
    bad(
        "a batch with a number that overflows",
        sent(
            "POST",
            "/v1/jobs:batch",
            b'{"jobs":[{"type":"echo","args":{"value":1e400}}]}',
            "Content-Type: application/json",
        ),
    ),
    bad("an empty filter body", sent("POST", "/v1/jobs:cancel", b"", "Content-Type: application/json")),
    bad(
        "a filter with a byte order mark",
        sent("POST", "/v1/jobs:delete", b'\xef\xbb\xbf{"state":"failed"}', "Content-Type: application/json"),
    ),
    bad("a filter, twice", sent("POST", "/v1/jobs:retry", b'{"state":"failed"}{}', "Content-Type: application/json")),
    bad(
        "a queue's change without its end",
        sent("PATCH", "/v1/queues/default", b'{"weight":', "Content-Type: application/json"),
    ),
    bad(
        "a queue's change with NaN",
        sent("PATCH", "/v1/queues/default", b'{"weight":NaN}', "Content-Type: application/json"),
    ),
]
