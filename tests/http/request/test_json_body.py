"""Decoding of submissions and batches: strict JSON, and validation. No socket, no loop."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.api_limits import BATCH_MAX
from jobqueue.errors import InvalidSubmission
from jobqueue.handlers import PlainSubmission, Submission
from jobqueue.http.errors import InvalidRequest, MalformedJson
from jobqueue.http.request.json_body import DEPTH_MAX, BatchItem, decode_batch, decode_one, decode_submission
from jobqueue.http.response.timestamps import timestamp


def submission(args: str) -> bytes:
    return b'{"type":"t","args":' + args.encode() + b"}"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


def pointers(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidSubmission) as refused:
        decode_submission(body)
    return {fault.pointer: fault.detail for fault in refused.value.errors}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"nonsense",
        b'{"type":"t"',
        b'{"type":"t"}}',
        b'{"type":"t"} x',
        b"{'type':'t'}",
        b'{"type":"t",}',
        b'\xef\xbb\xbf{"type":"t"}',
        b'\xff\xfe{\x00"\x00',
        b'{"type":"\xff"}',
        b'{"type":"t","args":{"a":"\xed\xa0\x80"}}',
        b'{"type":"t","args":{"a":"\\ud800"}}',
        b'{"type":"t","args":{"\\udfff":1}}',
        b'{"type":"t","args":{"a":"\n"}}',
        submission('{"a":NaN}'),
        submission('{"a":-Infinity}'),
        submission('{"a":1e400}'),
        submission('{"a":01}'),
        submission('{"a":+1}'),
        submission('{"a":.5}'),
        submission('{"a":18446744073709551616}'),
        submission('{"a":-9223372036854775809}'),
        submission('{"a":' + "9" * 5000 + "}"),
        submission('{"a":"x\\"","b":18446744073709551616}'),
        submission(nested(DEPTH_MAX)),
        submission(nested(2000)),
        submission('{"a":"' + '\\"[' * 3 + '","b":' + nested(DEPTH_MAX) + "}"),
    ],
)
def test_strict_parsing_rejects_malformed_or_lossy_json(body: bytes) -> None:
    with pytest.raises(MalformedJson) as refused:
        decode_submission(body)
    assert len(str(refused.value)) < 300


def test_the_shortest_document_that_is_nested_too_deep_is_too_deep() -> None:
    with pytest.raises(MalformedJson, match="levels deep"):
        decode_submission(nested(DEPTH_MAX + 1).encode())


@pytest.mark.parametrize(
    "args",
    [
        '{"a":18446744073709551615,"b":-9223372036854775808}',
        '{"a":12345678901234567890.0,"b":1e308,"c":18446744073709551616e0,"d":-1E-400}',
        '{"a":0.12345678901234567890123,"b":1e-12345678901234567890,"c":-99999999999999999999.5}',
        '{"a":"18446744073709551616","18446744073709551616":1}',
        '{"a":"\\\\","b":"\\"99999999999999999999999","c":"\\u005b"}',
        '{"a":"' + "[{" * 100 + '"}',
        '{"a":' + nested(DEPTH_MAX - 2) + "}",
        '{"a":[' + ",".join(["{}", "[]"] * 100) + "]}",
        '{ "b" : 1.50 , "a" : "\\u00e9\\ud83d\\ude00" }',
        '{"a":1,"a":2}',
        "{}",
    ],
)
def test_arguments_keep_their_original_bytes(args: str) -> None:
    assert bytes(decode_submission(submission(args)).args) == args.encode()


def test_the_last_of_duplicate_keys_wins() -> None:
    assert decode_submission(b'{"type":"a","type":"b"}').type == "b"


def test_all_errors_are_reported_at_once_with_pointers() -> None:
    faults = pointers(b'{"priority":99,"delay_s":"soon","a/b~c":1,"group":7,"run_at":"yesterday"}')
    assert set(faults) == {"/priority", "/delay_s", "/a~1b~0c", "/group", "/run_at", "/type"}
    assert "required" in faults["/type"]
    assert "unknown" in faults["/a~1b~0c"]
    assert "priority" in faults["/a~1b~0c"], "lists the known fields"


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"type"', b"true"])
def test_a_document_that_is_not_an_object_is_invalid_at_the_root(body: bytes) -> None:
    assert list(pointers(body)) == [""]


def test_the_list_of_errors_is_bounded_and_the_rest_is_counted() -> None:
    body = json.dumps({"type": 1, **{f"x{number}": 1 for number in range(1000)}}).encode()
    with pytest.raises(InvalidSubmission) as refused:
        decode_submission(body)
    assert len(refused.value.errors) == 32
    assert refused.value.more == 1001 - 32
    assert refused.value.errors[0].pointer == "/type", "known fields come before unknown names"
    assert str(refused.value).endswith("; and 969 more")


@pytest.mark.parametrize(
    "document",
    [
        {"type": "echo", "n" * 900_000: 1},
        {"type": "echo", "unique": {"value": "v", "n" * 900_000: 1}},
        {"type": "echo", "unique": {"value": "v", "a - at `$." + "n" * 900_000: 1}},
        {"type": "echo", "unique": {"value": "v", "mode": "n" * 900_000}},
        {"type": "echo", "unique": {"value": "v", "mode": "x", "/" * 900_000: 1}},
    ],
)
def test_errors_quote_long_texts_in_part(document: dict[str, object]) -> None:
    with pytest.raises(InvalidSubmission) as refused:
        decode_submission(json.dumps(document).encode())
    assert all(len(fault.pointer) <= 300 and len(fault.detail) <= 500 for fault in refused.value.errors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", 1),
        ("type", None),
        ("type", ""),
        ("priority", 10),
        ("priority", -1),
        ("priority", 1.5),
        ("priority", True),
        ("priority", "1"),
        ("delay_s", -1),
        ("delay_s", "1"),
        ("start_by_s", 0),
        ("timeout_s", 0),
        ("attempts_max", 0),
        ("group", ""),
        ("ttl_s", -1),
        ("run_at", "2030-01-01T00:00:00"),
        ("run_at", 0),
        ("queue", "no such name!"),
        ("unique", ""),
        ("unique", 1),
        ("unique", "x" * 201),
    ],
)
def test_an_invalid_field_is_reported_with_its_pointer(field: str, value: Any) -> None:
    assert list(pointers(json.dumps({"type": "t", field: value}).encode())) == [f"/{field}"]


def test_an_invalid_unique_value_is_reported_with_the_pointer_of_its_member() -> None:
    assert list(pointers(b'{"type":"t","unique":{"value":"x","mode":"sometimes"}}')) == ["/unique/mode"]
    assert list(pointers(b'{"type":"t","unique":{"value":""}}')) == ["/unique/value"]


def submission_of(item: PlainSubmission | Submission | BatchItem) -> PlainSubmission | Submission:
    return item.submission() if isinstance(item, BatchItem) else item


def batch(*jobs: str) -> bytes:
    return b'{"jobs":[' + ",".join(jobs).encode() + b"]}"


def test_a_batch_decodes_to_submissions_with_original_argument_bytes() -> None:
    texts = ('{"type":"a","args":{"x": 1.50}}', '{ "type" : "b" }')
    for more in ((), ("1",)):  # one by one beside an invalid item
        first, second = map(submission_of, decode_batch(batch(*texts, *more))[:2])
        assert (first.type, bytes(first.args), second.type) == ("a", b'{"x": 1.50}', "b")
    assert decode_batch(batch()) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"[]", ""),
        (b"{}", "/jobs"),
        (b'{"jobs":{}}', "/jobs"),
        (b'{"jobs":null}', "/jobs"),
        (b'{"jobs":[],"more":1}', "/more"),
        (batch(*["1"] * (BATCH_MAX + 1)), "/jobs"),
    ],
)
def test_an_invalid_batch_is_rejected_as_a_whole(body: bytes, pointer: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        decode_batch(body)
    assert [fault.pointer for fault in refused.value.errors] == [pointer]


@pytest.mark.parametrize(
    "job", ['{"type":"a","args":{"x":1e400}}', '{"type":"a","args":' + nested(DEPTH_MAX - 1) + "}"]
)
def test_malformed_json_in_one_item_rejects_the_whole_batch(job: str) -> None:
    with pytest.raises(MalformedJson):
        decode_batch(batch('{"type":"a"}', job))


def test_an_invalid_item_is_rejected_individually() -> None:
    items = decode_batch(batch('{"type":"a","priority":10}', "1", '{"type":"a"}'))
    for item, pointer in zip(items[:2], ("/priority", ""), strict=True):
        with pytest.raises(InvalidSubmission) as refused:
            submission_of(item)
        assert [fault.pointer for fault in refused.value.errors] == [pointer]
    assert submission_of(items[2]).type == "a"


def test_the_last_of_duplicate_job_lists_wins() -> None:
    (item,) = decode_batch(b'{"jobs":1,"jobs":[{"type":"a"},{"type":"b"}],"jobs":[{"type":"c"}]}')
    assert submission_of(item).type == "c"


@given(st.binary(max_size=200))
def test_any_bytes_give_a_submission_or_a_documented_error(body: bytes) -> None:
    with contextlib.suppress(MalformedJson, InvalidSubmission):
        decode_submission(body)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(["type", "args", "priority", "delay_s", "run_at", "x"]), ANYTHING))
def test_any_json_gives_an_equal_submission_or_a_documented_error(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    try:
        accepted = decode_submission(body)
    except (MalformedJson, InvalidSubmission):
        return
    assert accepted.type == document["type"]
    assert json.loads(bytes(accepted.args)) == document.get("args", {})


@pytest.mark.parametrize(
    ("body", "is_plain"),
    [
        (b'{"type":"a"}', True),
        (b'{"type":"a","args":{"x":1}}', True),
        (b'{"args":[1],"type":"a","type":"b"}', True),
        (b'{"type":"a","priority":1}', False),
        (b'{"type":"a","args":{},"queue":"default"}', False),
    ],
)
def test_a_submission_of_a_type_and_arguments_alone_is_decoded_as_a_plain_one(body: bytes, is_plain: bool) -> None:
    one, whole = decode_one(body), decode_submission(body)
    assert isinstance(one, PlainSubmission) is is_plain
    assert (one.type, one.args) == (whole.type, whole.args)


@given(st.dictionaries(st.sampled_from(["type", "args", "priority", "x"]), st.just("echo") | ANYTHING))
def test_faults_are_the_same_whether_or_not_a_submission_is_plain(document: dict[str, Any]) -> None:
    body = json.dumps(document).encode("utf-8", "surrogatepass")
    outcomes: list[object] = []
    for decode in (decode_one, decode_submission):
        try:
            outcomes.append(decode(body).type)
        except (MalformedJson, InvalidSubmission) as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@given(st.integers(-(2**66), 2**66))
def test_integers_of_64_bits_are_accepted_and_larger_ones_rejected(number: int) -> None:
    body = submission(json.dumps({"a": number}))
    if -(2**63) <= number < 2**64:
        decode_submission(body)
    else:
        with pytest.raises(MalformedJson):
            decode_submission(body)


@given(st.integers(1, 60), st.text(alphabet='[]{}"\\a', max_size=20))
def test_nesting_is_accepted_up_to_the_limit(levels: int, text: str) -> None:
    body = submission(json.dumps({text: 0})[:-1] + ',"deep":' + nested(levels) + "}")
    if levels + 2 <= DEPTH_MAX:
        decode_submission(body)
    else:
        with pytest.raises(MalformedJson):
            decode_submission(body)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "1970-01-01T00:00:00.000Z"),
        (1.9996, "1970-01-01T00:00:01.999Z"),
        (1_767_225_600.25, "2026-01-01T00:00:00.250Z"),
    ],
)
def test_a_timestamp_is_rfc_3339_with_milliseconds(seconds: float, text: str) -> None:
    assert timestamp(seconds) == text
