from __future__ import annotations

import datetime as dt
import enum
import functools
import tracemalloc
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import pytest

from jobqueue import JobContext, JobQueue, Reject, Retry
from jobqueue.core.job import JobSpec
from jobqueue.core.report import ErrorCode
from jobqueue.errors import InvalidField, InvalidSubmission, UnknownType
from jobqueue.handlers import Handler, HandlerOptions, Registry, Submission, register
from jobqueue.handlers.result import BadResult, ResultTooLarge, encode_result, failure_of
from jobqueue.handlers.submission import Bounds


class Colour(enum.StrEnum):
    RED = "red"


@dataclass
class Size:
    width: int
    height: int


def handler_of(func: Any, **options: Any) -> Handler:
    registry = Registry()
    defaults = {"timeout_s": 60.0}
    register(registry, func, HandlerOptions(**(defaults | options)))
    (handler,) = registry
    return handler


def faults_of(handler: Handler, args: bytes) -> dict[str, str]:
    with pytest.raises(InvalidSubmission) as error:
        handler.check(args)
    return {fault.pointer: fault.detail for fault in error.value.errors}


async def resize(ctx: JobContext, path: str, width: int = 128, *, colour: Colour = Colour.RED) -> None: ...


# -- arguments


def test_arguments_arrive_converted_to_the_annotated_types() -> None:
    async def typed(
        ctx: JobContext, at: dt.datetime, size: Size, colour: Colour, mode: Literal["a", "b"], many: list[int]
    ) -> None: ...

    kwargs = handler_of(typed).kwargs(
        b'{"at":"2026-01-01T00:00:00Z","size":{"width":1,"height":2},"colour":"red","mode":"b","many":[1]}'
    )
    assert kwargs == {
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "size": Size(1, 2),
        "colour": Colour.RED,
        "mode": "b",
        "many": [1],
    }


def test_missing_arguments_get_the_defaults_of_the_function() -> None:
    default = object()

    async def func(ctx: JobContext, a: int, b: Any = default, c: list[int] = []) -> None: ...  # noqa: B006 - a mutable default is what is tested

    handler = handler_of(func)
    handler.check(b'{"a":1}')
    assert handler.kwargs(b'{"a":1}') == {"a": 1}


def test_all_faults_of_the_arguments_are_reported_with_pointers() -> None:
    faults = faults_of(handler_of(resize), b'{"width":"wide","colour":"blue","depth":1}')
    assert set(faults) == {"/args/width", "/args/colour", "/args/depth", "/args/path"}
    assert "Expected `int`, got `str`" in faults["/args/width"]
    assert "path, width, colour" in faults["/args/depth"]
    assert "required" in faults["/args/path"]


def test_a_pointer_reaches_nested_values_and_is_escaped() -> None:
    async def nested(ctx: JobContext, many: list[dict[str, int]]) -> None: ...

    assert set(faults_of(handler_of(nested), b'{"many":[{},{"a":1.5}]}')) == {"/args/many/1/*"}
    assert set(faults_of(handler_of(nested), b'{"many":[],"a/b~c":1}')) == {"/args/a~1b~0c"}


@pytest.mark.parametrize("args", [b"[]", b"null", b"1", b'"text"'])
def test_arguments_that_are_not_an_object_are_rejected(args: bytes) -> None:
    assert set(faults_of(handler_of(resize), args)) == {"/args"}


def test_bounds_in_an_annotation_are_checked() -> None:
    async def bounded(ctx: JobContext, n: Annotated[int, msgspec.Meta(ge=1, le=3)]) -> None: ...

    handler_of(bounded).check(b'{"n":3}')
    assert set(faults_of(handler_of(bounded), b'{"n":4}')) == {"/args/n"}


def test_a_function_with_keyword_arguments_accepts_further_arguments() -> None:
    async def open_ended(ctx: JobContext, a: int, **rest: Any) -> None: ...

    handler = handler_of(open_ended)
    handler.check(b'{"a":1,"b":[2]}')
    assert handler.kwargs(b'{"a":1,"b":[2]}') == {"a": 1, "b": [2]}
    assert set(faults_of(handler, b'{"a":"x"}')) == {"/args/a"}


def test_the_context_parameter_is_optional() -> None:
    async def plain(a: int) -> None: ...

    async def bare() -> None: ...

    async def unannotated(ctx, a: int) -> None: ...  # type: ignore[no-untyped-def]  # unannotated on purpose

    assert not handler_of(plain).wants_context
    assert not handler_of(bare).wants_context
    assert handler_of(unannotated).wants_context
    assert handler_of(resize).wants_context


# -- registration


def test_the_decorator_returns_the_function_unchanged() -> None:
    queue = JobQueue()

    @queue.handler
    async def one(a: int) -> int:
        return a

    @queue.handler(name="second-one", timeout_s=5)
    def two(a: int) -> int:
        return a

    assert two(2) == 2
    assert [(h.name, h.run_in, h.timeout_s) for h in queue.service.registry] == [
        ("one", "loop", 300.0),
        ("second-one", "thread", 5),
    ]


def takes_args(*args: int) -> None: ...


def takes_positional(a: int, /) -> None: ...


def takes_a_callback(callback: functools.partial[int]) -> None: ...


def takes_an_unknown_type(a: Nowhere) -> None: ...  # type: ignore[name-defined] # noqa: F821 - undefined on purpose


def plain() -> None: ...


@pytest.mark.parametrize(
    ("func", "options", "message"),
    [
        (takes_args, {}, r"go by name, so \*args"),
        (takes_positional, {}, "go by name"),
        (takes_a_callback, {}, "JSON can't be checked against its signature"),
        (takes_an_unknown_type, {}, "annotations can't be read"),
        (resize, {"run_in": "thread"}, "an async function runs in 'loop'"),
        (plain, {"run_in": "loop"}, "a plain function runs in 'thread' or 'process'"),
        (plain, {"run_in": "elsewhere"}, "run_in is 'loop', 'thread' or 'process', got 'elsewhere'"),
        (plain, {"name": "no spaces"}, "a type is 1 to 100"),
        (plain, {"name": ""}, "a type is 1 to 100"),
        (plain, {"timeout_s": 0}, "timeout_s is more than 0"),
        (plain, {"attempts_max": 0}, "attempts_max is 1 to 100"),
    ],
)
def test_an_unsuitable_function_or_option_raises_an_error_with_the_reason(
    func: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        handler_of(func, **options)


def test_registering_a_type_twice_raises_an_error() -> None:
    queue = JobQueue()
    queue.handler(name="a")(plain)
    with pytest.raises(ValueError, match="'a' is registered already"):
        queue.handler(name="a")(takes_nothing)


async def takes_nothing() -> None: ...


# -- submissions


def registry_of(*funcs: Any, **options: Any) -> Registry:
    registry = Registry()
    for func in funcs:
        defaults = {"timeout_s": 60.0}
        register(registry, func, HandlerOptions(**(defaults | options)))
    return registry


def submission(**fields: Any) -> Submission:
    args = fields.pop("args", b"{}")
    return msgspec.structs.replace(msgspec.convert({"type": "takes_nothing", **fields}, Submission), args=args)


def spec_of(registry: Registry, given: Submission, wall_now: float = 0.0) -> JobSpec:
    return registry.check(given, wall_now=lambda: wall_now)[0]


def test_a_submission_with_type_and_arguments_alone_is_plain() -> None:
    more: dict[str, Any] = {
        "queue": "fast",
        "priority": 1,
        "delay_s": 0,
        "run_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "start_by_s": 1,
        "timeout_s": 1,
        "attempts_max": 1,
        "group": "g",
        "unique": "u",
        "ttl_s": 1,
        "callback": "https://example.com/",
        "after": ["0aB000000-1c3FfGhIjKlM"],
        "on_failure": "run",
    }
    assert more.keys() == set(Submission.__struct_fields__) - {"type", "args"}
    assert submission(args=b'{"a":1}').plain
    for name, value in more.items():
        assert not submission(**{name: value}).plain, name


def test_plain_submissions_share_one_spec() -> None:
    registry = registry_of(takes_nothing)
    first = spec_of(registry, submission())
    assert spec_of(registry, submission()) is first
    assert spec_of(registry, submission(priority=3)) is not first


def test_a_submission_overrides_the_defaults_of_its_handler() -> None:
    registry = registry_of(takes_nothing, attempts_max=2, queue="slow")
    spec = spec_of(registry, submission())
    assert (spec.queue, spec.timeout_s, spec.attempts_max) == ("slow", 60.0, 2)
    spec = spec_of(registry, submission(queue="fast", timeout_s=1, attempts_max=5))
    assert (spec.queue, spec.timeout_s, spec.attempts_max) == ("fast", 1, 5)


def test_an_unknown_type_raises_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UnknownType) as error:
        spec_of(registry_of(takes_nothing), submission(type="nope"))
    (fault,) = error.value.errors
    assert fault.pointer == "/type"
    assert "takes_nothing" in fault.detail


def test_run_at_is_wall_clock_time_and_in_the_past_means_now() -> None:
    registry = registry_of(takes_nothing)
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    assert spec_of(registry, submission(run_at=at), wall_now=at.timestamp() - 30).delay_s == 30
    assert spec_of(registry, submission(run_at=at), wall_now=at.timestamp() + 30).delay_s == 0


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"delay_s": 1, "run_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC)}, "/run_at"),
        ({"run_at": dt.datetime(2099, 1, 1, tzinfo=dt.UTC)}, "/run_at"),
        ({"timeout_s": 61}, "/timeout_s"),
        ({"delay_s": 10, "start_by_s": 10}, "/start_by_s"),
    ],
)
def test_contradictory_fields_are_rejected(fields: dict[str, Any], pointer: str) -> None:
    with pytest.raises(InvalidSubmission) as error:
        spec_of(registry_of(takes_nothing), submission(**fields), wall_now=1.7e9)
    assert [fault.pointer for fault in error.value.errors] == [pointer]


def test_many_unknown_arguments_are_reported_in_part_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = 0
    make = InvalidField.__init__

    def counting(self: InvalidField, *args: Any, **kwargs: Any) -> None:
        nonlocal made
        made += 1
        make(self, *args, **kwargs)

    monkeypatch.setattr(InvalidField, "__init__", counting)
    handler = handler_of(resize)
    with pytest.raises(InvalidSubmission) as error:
        handler.check(msgspec.json.encode({"width": "x", **{str(number): 0 for number in range(110_000)}}))
    assert [fault.pointer for fault in error.value.errors[:3]] == ["/args/path", "/args/width", "/args/0"]
    assert len(error.value.errors) == 32
    assert error.value.more == 110_002 - 32
    assert made < 100


def test_the_count_of_faults_includes_faults_of_the_options() -> None:
    registry = registry_of(takes_nothing)
    args = msgspec.Raw(msgspec.json.encode({str(number): 0 for number in range(1000)}))
    with pytest.raises(InvalidSubmission) as error:
        spec_of(registry, submission(args=args, timeout_s=61))
    assert error.value.errors[0].pointer == "/timeout_s"
    assert len(error.value.errors) + error.value.more == 1001


# -- outcomes


def test_results_are_encoded_as_json() -> None:
    class Point(msgspec.Struct):
        x: int

    value = {"a": [1, 2.5, None, True], "at": dt.date(2026, 1, 1), "p": Point(1), "s": Size(1, 2)}
    encoded = encode_result(value, bytes_max=1000)
    assert msgspec.json.decode(encoded) == {
        "a": [1, 2.5, None, True],
        "at": "2026-01-01",
        "p": {"x": 1},
        "s": {"width": 1, "height": 2},
    }


def test_nan_and_infinity_in_a_result_raise_bad_result_and_none_does_not() -> None:
    assert encode_result([None, Size(1, 2)], bytes_max=100) == b'[null,{"width":1,"height":2}]'
    for value in (float("nan"), [None, float("inf")], {"a": {"b": [-float("inf")]}}, Size(float("nan"), 1)):  # type: ignore[arg-type]  # NaN for an int
        with pytest.raises(BadResult):
            encode_result(value, bytes_max=100)


def test_a_cyclic_result_raises_bad_result() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(BadResult):
        encode_result(endless, bytes_max=100)


def test_a_result_can_have_exactly_the_maximum_size() -> None:
    assert encode_result("x" * 8, bytes_max=10) == b'"xxxxxxxx"'
    with pytest.raises(ResultTooLarge, match="11 bytes"):
        encode_result("x" * 9, bytes_max=10)


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("error", "code", "message", "final"),
    [
        (ValueError("bad"), ErrorCode.HANDLER_ERROR, "ValueError: bad", False),
        (ValueError(), ErrorCode.HANDLER_ERROR, "ValueError", False),
        (Unprintable(), ErrorCode.HANDLER_ERROR, "Unprintable: (its text is not available)", False),
        (ValueError("\ud800"), ErrorCode.HANDLER_ERROR, "ValueError: ?", False),
        (SystemExit(3), ErrorCode.WORKER_CRASHED, "SystemExit: 3", False),
        (Reject("no"), ErrorCode.REJECTED, "no", True),
        (Retry(5), ErrorCode.HANDLER_ERROR, "the handler asked for a retry", False),
        (BadResult("b"), ErrorCode.BAD_RESULT, "b", True),
        (ResultTooLarge("l"), ErrorCode.RESULT_TOO_LARGE, "l", True),
    ],
)
def test_any_exception_of_a_handler_becomes_a_failure(
    error: BaseException, code: ErrorCode, message: str, final: bool
) -> None:
    failure = failure_of(error)
    assert (failure.code, failure.message, failure.final) == (code, message, final)


def test_any_message_can_be_encoded_and_is_bounded() -> None:
    for error in (Retry(1, 5), Reject("\ud800" * 5000), ValueError("x" * 10**6)):  # type: ignore[arg-type]  # invalid on purpose
        message = failure_of(error).message
        message.encode()
        assert 0 < len(message) <= 1100
    deep = ValueError("y" * 10**6)
    assert len(failure_of(deep).traceback or "") <= 10_000


def test_a_small_result_takes_little_memory() -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        held = [encode_result({"n": n}, bytes_max=100) for n in range(2000)]
        each = (tracemalloc.get_traced_memory()[0] - before) / len(held)
    finally:
        tracemalloc.stop()
    assert each < 150


def test_the_last_of_duplicate_keys_counts() -> None:
    async def func(ctx: JobContext, n: int) -> None: ...

    handler = handler_of(func)
    assert handler.check(b'{"n":1,"n":2}') == b'{"n":1,"n":2}'
    kept = handler.check(b'{"n":"x","n":2}')
    assert handler.kwargs(kept) == {"n": 2}
    assert set(faults_of(handler, b'{"n":2,"n":"x"}')) == {"/args/n"}


def test_an_argument_with_the_name_of_the_context_is_rejected() -> None:
    async def open_ended(ctx: JobContext, **rest: Any) -> None: ...

    assert set(faults_of(handler_of(open_ended), b'{"ctx":1}')) == {"/args/ctx"}


BOUNDS = Bounds(ttl_s_max=60.0, delay_s_max=10.0)


@pytest.mark.parametrize(
    ("field", "most", "setting"), [("delay_s", 10.0, "limits.delay_s_max"), ("ttl_s", 60.0, "statuses.ttl_s_max")]
)
def test_a_duration_over_the_limit_of_the_server_is_a_fault_of_its_field(field: str, most: float, setting: str) -> None:
    registry = registry_of(takes_nothing)

    def check(seconds: float) -> JobSpec:
        return registry.check(submission(**{field: seconds}), wall_now=lambda: 0.0, bounds=lambda: BOUNDS)[0]

    assert getattr(check(most), field) == most
    with pytest.raises(InvalidSubmission) as invalid:
        check(most + 0.001)
    assert [fault.pointer for fault in invalid.value.errors] == [f"/{field}"]
    assert invalid.value.errors[0].detail == f"at most {most:g} s ({setting})"


def test_run_at_beyond_the_longest_delay_is_a_fault() -> None:
    registry = registry_of(takes_nothing)

    def check(run_at: str) -> JobSpec:
        return registry.check(submission(run_at=run_at), wall_now=lambda: 0.0, bounds=lambda: BOUNDS)[0]

    assert check("1970-01-01T00:00:10Z").delay_s == 10.0
    with pytest.raises(InvalidSubmission, match=r"/run_at: at most 10 s from now \(limits.delay_s_max\)"):
        check("1970-01-01T00:00:11Z")
