"""JSON by its grammar (RFC 8259): every form of a value is accepted, and every near miss refused, at each place.

The cases are made from the productions of the grammar: the forms that each allows, and those next to them that it does
not. Each stands at every place where a value can stand, so that a parser's special paths are met, too.
"""

from __future__ import annotations

import itertools
import json
import random

import pytest

from jobqueue.http.errors import MalformedJson
from jobqueue.http.request.json_body import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, decode_batch, decode_submission

PLACES = {
    "alone": "{}",
    "in an array": "[{}]",
    "at the end of an array": '[1,"x",{}]',
    "at the beginning of an array": '[{},null,{{"a":[]}}]',
    "in an object": '{{"a":{}}}',
    "in the middle of an object": '{{"a":1,"b":{},"c":"x"}}',
    "between white space": " \t[\r\n {} \n]\r",
    "deep": "[" * 20 + "{}" + "]" * 20,
}

WHITE = (" ", "\t", "\n", "\r")
NOT_WHITE = (
    "\0",
    "\x0b",
    "\x0c",
    "\x1c",
    "\x7f",
    "\x85",
    "\xa0",
    "\u1680",
    "\u2003",
    "\u2028",
    "\u3000",
    "\ufeff",
    "//\n",
)

SIGNS, INTEGERS, BAD_INTEGERS = (
    ("", "-"),
    ("0", "7", "10", "1234567890"),
    ("", "00", "01", "--1", "+1", "0x1", "1_0", "\u0661"),
)
FRACTIONS, BAD_FRACTIONS = ("", ".0", ".5", ".000", ".0123456789"), (".", ".e1", "..1", ".-1", ".1.", ",")
EXPONENTS, BAD_EXPONENTS = (
    ("", "e0", "E0", "e+1", "E-1", "e007", "e-400"),
    ("e", "E+", "e-", "e1.0", "e 1", "ee1", "e0x1"),
)
NUMBERS = ["".join(parts) for parts in itertools.product(SIGNS, INTEGERS, FRACTIONS, EXPONENTS)]
NO_NUMBERS = [
    *("".join(parts) for parts in itertools.product(SIGNS, BAD_INTEGERS, FRACTIONS[:2], EXPONENTS[:3])),
    *("".join(parts) for parts in itertools.product(SIGNS, INTEGERS, BAD_FRACTIONS, EXPONENTS[:2])),
    *("".join(parts) for parts in itertools.product(SIGNS, INTEGERS, FRACTIONS[:2], BAD_EXPONENTS)),
    *("NaN", "nan", "Infinity", "-Infinity", "+Infinity", "inf", "1e400", "-1e309", "1e" + "9" * 30),
    *("1f", "1L", "1n", "1d", "0b1", "0o7", "1/2", "1%", "$1", "(1)", "- 1", "1 2", "1-1"),
]
EDGES = [*(INTEGER_MAX - step for step in range(3)), *(INTEGER_MIN + step for step in range(3))]
BEYOND = [
    *(INTEGER_MAX + step for step in range(1, 3)),
    *(INTEGER_MIN - step for step in range(1, 3)),
    10**19 * 2,
    10**400,
]

ESCAPES = '"\\/bfnrt'
TEXTS = [
    *(f"\\{letter}" for letter in ESCAPES),
    *(f"\\u{code:04x}" for code in (0, 0x1F, 0x22, 0x5C, 0x7F, 0xFF, 0x2028, 0xD7FF, 0xE000, 0xFFFE, 0xFFFF)),
    *(f"\\u{high:04X}\\u{low:04x}" for high in (0xD800, 0xDBFF) for low in (0xDC00, 0xDFFF)),
    *(
        chr(code)
        for code in (
            0x20,
            0x21,
            0x7E,
            0x7F,
            0x80,
            0xA0,
            0xFF,
            0x2028,
            0xD7FF,
            0xE000,
            0xFFFD,
            0xFFFF,
            0x10000,
            0x10FFFF,
        )
    ),
    *("[", "{", "]", "}", ":", ",", "null", "1e400", "9" * 30, "//", "/**/", "\\\\u", "\\\\\\\\", "e\u0301"),
]
NO_TEXTS = [
    *(chr(code) for code in range(0x20)),
    *(f"\\{chr(code)}" for code in range(0x7F) if chr(code) not in ESCAPES + "u"),
    *(
        f"\\u{digits}"
        for digits in ("", "0", "00", "000", "000g", "+000", "-000", " 000", "00 0", "{0}", "0x00", "\uff10000")
    ),
    *(f"\\u{code:04x}" for code in (0xD800, 0xDBFF, 0xDC00, 0xDFFF)),
    *(f"\\ud800{rest}" for rest in ("x", "\\n", "\\u0041", "\\ud800", "\\\\", "\\u", "\\udc0", "\\uDbFF", "\\ue000")),
    *("\\", "\\\\\\", '"', '""', "\ud800", "\udfff"),
]
BAD_BYTES = [
    *(bytes([byte]) for byte in range(0x80, 0x100)),
    *(bytes([0xC2, byte]) for byte in (0x00, 0x22, 0x7F, 0xC0, 0xFF)),
    *(b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xe0\x9f\xbf", b"\xf0\x80\x80\x80", b"\xf0\x8f\xbf\xbf"),
    *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80"),
    *(b"\xe2\x82", b"\xf0\x9f\x98", b"\xe2\x28\xa1", b"\xf0\x28\x8c\xbc", b"\xc3\xa4\xa4"),
]

VALUES = ["null", "true", "false", "0", '""', "[]", "{}"]
STRUCTURES = [
    "[]",
    "{}",
    "[[]]",
    '{"a":{}}',
    '{"":0}',
    '{"a":1,"a":2}',
    "[1,2]",
    '[[],{},"",0,true]',
    "[ ]",
    "{ }",
    '{ "a" : 1 }',
]
NO_STRUCTURES = [
    *("[", "]", "{", "}", "[}", "{]", "[[]", "[]]", '{"a":1', '{"a":1}}', "[1", "1]", '"', '"a', 'a"'),
    *("[,]", "[1,]", "[,1]", "[1,,2]", "[1 2]", "[1;2]", "[1:2]", '["a":1]', "{,}", '{"a":1,}', '{,"a":1}'),
    *('{"a"}', '{"a":}', "{:1}", '{"a":1 "b":2}', '{"a":1;"b":2}', '{"a",1}', '{"a"=1}', '{"a"::1}', '{"a":1:2}'),
    *("{a:1}", "{'a':1}", "{1:1}", "{null:1}", "{[]:1}", '{"a":1,b:2}', "['a']", "[a]", "(1)", "<a>"),
    *("nul", "nulll", "NULL", "Null", "None", "tru", "True", "TRUE", "fals", "False", "undefined", "yes", "no"),
    *("null null", "null,", ",null", "1,2", "[] []", "{}{}", "null//", "null/**/", "#null", "null;", "\\n", "..."),
]


def submission(value: str) -> bytes:
    return b'{"type":"t","args":{"v":' + value.encode("utf-8", "surrogatepass") + b"}}"


def at_each_place(value: str) -> list[tuple[str, bytes]]:
    return [(place, submission(pattern.format(value))) for place, pattern in PLACES.items()]


def accepted(value: str) -> None:
    for place, body in at_each_place(value):
        try:
            taken = decode_submission(body)
        except Exception as fault:
            raise AssertionError(f"{value!r} {place}: {fault}") from None
        assert bytes(taken.args) == body[len(b'{"type":"t","args":') : -1]


def refused(value: str) -> None:
    for place, body in at_each_place(value):
        refused_bytes(body, f"{value!r} {place}")


def refused_bytes(body: bytes, what: str) -> None:
    """Check that a body is refused as a submission, and in a batch."""
    for decode, whole in ((decode_submission, body), (decode_batch, b'{"jobs":[' + body + b"]}")):
        try:
            decode(whole)
        except MalformedJson:
            continue
        raise AssertionError(f"accepted: {what}")


@pytest.mark.parametrize("values", [VALUES, NUMBERS, [str(number) for number in EDGES], STRUCTURES])
def test_every_form_of_a_value_is_accepted_at_each_place(values: list[str]) -> None:
    for value in values:
        accepted(value)


@pytest.mark.parametrize("values", [NO_NUMBERS, [str(number) for number in BEYOND]])
def test_a_near_miss_of_a_number_is_refused_at_each_place(values: list[str]) -> None:
    for value in sorted({*values} - {*NUMBERS, ""}):
        if "," not in value:  # which makes two elements of it in an array
            refused(value)


def test_every_character_of_a_text_is_accepted_in_values_and_names() -> None:
    for text in TEXTS:
        for written in (text, f"a{text}", f"{text}b", f"a{text}b" * 10):
            accepted(f'"{written}"')
            accepted(f'{{"{written}":1}}')


def test_a_near_miss_of_a_text_is_refused_in_values_and_names() -> None:
    for text in NO_TEXTS:
        for written in (text, f"a{text}", "x" * 40 + text):
            refused(f'"{written}"')
            refused(f'{{"{written}":1}}')


def test_bytes_that_are_no_utf_8_are_refused_everywhere() -> None:
    for wrong in BAD_BYTES:
        for before, after in (
            (b'"', b'"'),
            (b'"abc', b'def"'),
            (b'{"', b'":1}'),
            (b"", b"null"),
            (b"null", b""),
            (b"[1,", b"]"),
        ):
            refused_bytes(b'{"type":"t","args":{"v":' + before + wrong + after + b"}}", f"{before!r} {wrong!r}")


def test_a_near_miss_of_a_structure_is_refused_at_each_place() -> None:
    for value in NO_STRUCTURES:
        for place, body in at_each_place(value):
            # `1,2` is two elements of an array; what closes one bracket and opens another is a structure again.
            if "array" not in place and place not in ("between white space", "deep"):
                refused_bytes(body, f"{value!r} {place}")


TOKENS = ("{", '"type"', ":", '"t"', ",", '"args"', ":", "{", '"v"', ":", "[", "1", ",", "null", "]", "}", "}")


@pytest.mark.parametrize("between", range(len(TOKENS) + 1))
def test_white_space_stands_between_any_two_tokens_and_nothing_else_does(between: int) -> None:
    for white in (*WHITE, "".join(WHITE) * 5):
        decode_submission(with_between(white, between))
    for other in NOT_WHITE:
        refused_bytes(with_between(other, between), f"{other!r} at {between}")


def with_between(text: str, at: int) -> bytes:
    return ("".join(TOKENS[:at]) + text + "".join(TOKENS[at:])).encode()


@pytest.mark.parametrize("at", range(len(TOKENS)))
def test_a_missing_a_repeated_and_another_token_are_refused(at: int) -> None:
    whole = "".join(TOKENS)
    for tokens in ((), (TOKENS[at], TOKENS[at]), *((other,) for other in {*TOKENS, "x", "'"} - {TOKENS[at]})):
        body = "".join((*TOKENS[:at], *tokens, *TOKENS[at + 1 :]))
        if body == whole or is_json(body):
            continue
        refused_bytes(body.encode(), body)


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def test_no_beginning_of_a_document_is_a_document() -> None:
    body = submission('[1.5e3,"a\\u00e9\\n\u00e9\U0001f600",{"k":[true,false,null]},-0]')
    for end in range(1, len(body)):
        refused_bytes(body[:end], repr(body[:end]))


@pytest.mark.parametrize("opened", ["[", '{"a":'])
@pytest.mark.parametrize(
    "levels", [1, 2, DEPTH_MAX - 3, DEPTH_MAX - 2, DEPTH_MAX - 1, DEPTH_MAX, 100, 1023, 1024, 1025, 5000]
)
def test_values_are_nested_up_to_the_limit(opened: str, levels: int) -> None:
    body = submission(opened * levels + "1" + {"[": "]", '{"a":': "}"}[opened] * levels)
    if levels <= DEPTH_MAX - 2:
        decode_submission(body)
    else:
        refused_bytes(body, f"{levels} levels")


def test_random_documents_are_accepted_and_keep_their_meaning() -> None:
    chance = random.Random(8259)
    for _ in range(1000):
        accepted(document(chance, 4))


def document(chance: random.Random, levels: int) -> str:
    """Write a random value, with random white space."""

    def white() -> str:
        return "".join(chance.choices(WHITE, k=chance.choice((0, 0, 0, 1, 3))))

    kind = chance.randrange(6 if levels else 3)
    if kind == 0:
        return chance.choice(VALUES)
    if kind == 1:
        return chance.choice(NUMBERS)
    if kind == 2:
        return f'"{"".join(chance.choices(TEXTS, k=chance.randrange(4)))}"'
    parts = [document(chance, levels - 1) for _ in range(chance.randrange(4))]
    if kind == 3:
        parts = [f'"{chance.choice(TEXTS)}"{white()}:{white()}{part}' for part in parts]
    opened, closed = "{}" if kind == 3 else "[]"
    return opened + white() + f"{white()},{white()}".join(parts) + white() + closed
