"""Filters of jobs: conditions on the record, and on values in the arguments."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.job import Extras, Job, JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.job_filter import ARGS_SEARCHED_BYTES_MAX, UNIT_BYTES, ArgFilter, JobFilter
from jobqueue.core.lineage import Lineage
from jobqueue.core.masking import failure_id
from jobqueue.core.report import ErrorCode, JobError

NAMES = st.sampled_from(["a", "b", "0", "1", "long name", "\u00e9", "\U0001f600", '"', "\\", 'a"b'])
SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0, "1", "a", "", "true", "\u00e9"])
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def made(args: bytes = b"{}", **fields: Any) -> Job:
    known = {"id": JobId("abc"), "spec": JobSpec(type="t"), "upload": None, "state": JobState.QUEUED}
    return Job(**{**known, "created_at": 1.0, "run_at": 1.0, "args": args, **fields})


def naive(args: Any, path: tuple[str, ...], value: Any) -> bool:
    """Walk through the parsed arguments; types are compared as JSON has them."""
    for name in path:
        if isinstance(args, dict):
            if name not in args:
                return False
            args = args[name]
        elif isinstance(args, list):
            if not name.isdecimal() or int(name) >= len(args):
                return False
            args = args[int(name)]
        else:
            return False
    kinds = [("number" if type(each) in (int, float) else type(each).__name__) for each in (args, value)]
    return kinds[0] == kinds[1] and bool(args == value)


@given(st.dictionaries(NAMES, VALUES, max_size=4), st.lists(NAMES, min_size=1, max_size=4), SCALARS, st.booleans())
def test_a_value_in_the_arguments_is_found_as_by_a_walk_through_them(
    args: dict[str, Any], path: list[str], value: Any, ascii_only: bool
) -> None:
    text = json.dumps(args, ensure_ascii=ascii_only).encode()
    assert ArgFilter(tuple(path), (value,)).matches(text) is naive(args, tuple(path), value)


@pytest.mark.parametrize(
    ("value", "matching"),
    [(1, [1, 1.0]), ("1", ["1"]), (True, [True]), (None, [None]), ("", [""]), (0, [0, 0.0, -0.0])],
)
def test_values_of_other_types_are_different(value: Any, matching: list[Any]) -> None:
    condition = ArgFilter(("x",), (value,))
    values = [0, 0.0, -0.0, 1, 1.0, True, False, None, "", "1", "true", [1], {"x": 1}, [], {}]
    assert [each for each in values if condition.matches(json.dumps({"x": each}).encode())] == matching


@pytest.mark.parametrize(
    "args", [b"{}", b'{"x":1}', b'{"a":{"x":1}}', b'{"b":"\\ud800","a":1}', b'{"a":{"a":{}}}', b""]
)
def test_arguments_without_the_value_do_not_match(args: bytes) -> None:
    assert ArgFilter(("a", "a"), (1,)).matches(args) is False


@pytest.mark.parametrize("args", [b'{"\\u00e9":{"a":1}}', b'{"\xc3\xa9":{"a":1}}', b'{"\xc3\xa9":{"\\u0061":1}}'])
def test_a_name_is_found_in_any_spelling(args: bytes) -> None:
    assert ArgFilter(("\u00e9", "a"), (1,)).matches(args) is True


def test_of_duplicate_names_the_last_one_counts_as_for_the_handler() -> None:
    args = b'{"a":1,"a":2}'
    assert [ArgFilter(("a",), (value,)).matches(args) for value in (1, 2)] == [False, True]


def test_long_arguments_are_not_looked_into_if_the_name_occurs() -> None:
    long = json.dumps({"a": 1, "text": "x" * ARGS_SEARCHED_BYTES_MAX}).encode()
    assert ArgFilter(("a",), (1,)).matches(long) is None
    assert ArgFilter(("b",), (1,)).matches(long) is False
    both = JobFilter(args=(ArgFilter(("a",), (1,)), ArgFilter(("b",), (1,))))
    assert both.matches(made(long)) is False
    assert JobFilter(args=both.args[:1]).matches(made(long)) is None
    assert JobFilter(args=both.args[:1], type="other").matches(made(long)) is False


@pytest.mark.parametrize(
    ("path", "hidden"),
    [
        ("password", True),
        ("user.password", True),
        ("password.0", True),
        ("password.of.whom", True),
        ("user.token", True),
        ("user.0.token", True),
        ("user.token.value", True),
        ("user", False),
        ("user.name", False),
        ("token", False),
        ("other.token", False),
        ("users.token", False),
    ],
)
def test_no_filter_finds_a_redacted_value(path: str, hidden: bool) -> None:
    names = path.split(".")
    value: Any = "secret"
    for name in reversed(names):
        value = [value] if name == "0" else {name: value}
    args = (ArgFilter(tuple(names), ("secret",)),)
    redacted = {"t": (("password",), ("user", "token"))}
    job = made(json.dumps(value).encode())
    assert JobFilter(args=args, redacted={"other": redacted["t"]}).matches(job) is True
    assert JobFilter(args=args, redacted=redacted).matches(job) is not hidden


def test_a_filter_meets_each_of_its_conditions() -> None:
    job = made(
        spec=JobSpec(type="t", queue="q", group="g"),
        state=JobState.FAILED,
        args=b'{"n":1}',
        created_at=5.0,
        uniqueness=Uniqueness("ann", owner="ann"),
        extras=Extras(lineage=Lineage((JobId("one"), JobId("a parent")), "cancel", None, None)),
    )
    job.error = JobError(ErrorCode.TIMED_OUT, "Stra\u00dfe 17 is CLOSED")
    matching: dict[str, Any] = {
        "state": JobState.FAILED,
        "type": "t",
        "queue": "q",
        "group": "g",
        "id_prefix": "ab",
        "parent": "a parent",
        "created_from": 5.0,
        "created_before": 5.5,
        "error": ErrorCode.TIMED_OUT,
        "failure": failure_id("t", "timed_out", "Stra\u00dfe 18 is CLOSED"),
        "message": "STRASSE 17 is c".casefold(),
        "args": (ArgFilter(("n",), (1,)),),
        "owner": "ann",
    }
    assert set(matching) == {*JobFilter.__struct_fields__} - {"redacted"}
    assert JobFilter(**matching).matches(job)
    other: dict[str, Any] = {
        "state": JobState.QUEUED,
        "created_from": 5.5,
        "created_before": 5.0,
        "error": ErrorCode.REJECTED,
        "message": "strasse 18",
        "args": (ArgFilter(("n",), (2,)),),
    }
    for name in matching:
        assert JobFilter(**matching | {name: other.get(name, "other")}).matches(job) is False, name


def test_a_job_without_an_error_has_no_code_and_no_message() -> None:
    assert not JobFilter(error=ErrorCode.REJECTED).matches(made())
    assert not JobFilter(message="x").matches(made())
    assert not JobFilter(parent="x").matches(made())
    assert not JobFilter(failure="0" * 16).matches(made(state=JobState.FAILED))


def test_only_a_failed_job_is_in_a_group_of_failures() -> None:
    job = made(state=JobState.DELAYED)  # after an attempt
    job.error = JobError(ErrorCode.TIMED_OUT, "x")
    of_it = JobFilter(failure=failure_id("t", "timed_out", "x"))
    assert not of_it.matches(job)
    assert of_it.cost(job) == 1


def test_the_cost_of_a_search_in_arguments_grows_with_their_length() -> None:
    job = made(b"x" * (10 * UNIT_BYTES))
    assert JobFilter(type="t").cost(job) == 1
    assert JobFilter(args=(ArgFilter(("n",), (1,)),)).cost(job) == 12
    assert JobFilter(message="x").cost(job) == 2
