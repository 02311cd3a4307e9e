"""Encoding of values as JSON: lossless, or an error with the reason."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import types
import uuid
from decimal import Decimal
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Optional, TypedDict

import msgspec
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobqueue import JobQueue, encoder
from jobqueue.client.submit import encoded
from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode
from jobqueue.encoder import encode
from jobqueue.handlers import Handler, HandlerOptions, Registry, register
from jobqueue.handlers.result import BadResult, encode_result
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=["orjson", "msgspec"], autouse=True, scope="module")
def _encoded_by(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run each test with orjson, and as where only the client is installed."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "msgspec":
            patch.setattr(encoder, "dumps", encoder.by_msgspec)
        yield


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Tag(enum.StrEnum):
    A = "a"


@dataclasses.dataclass
class Point:
    x: int
    _id: str
    when: dt.date | None = None


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    name: str
    _many: tuple[Decimal, ...] = ()


class Named(NamedTuple):
    a: int
    b: dt.timedelta


class Typed(TypedDict, total=False):
    a: int
    b: bytes


class Plain(msgspec.Struct):
    a: int
    b: dict[int, Slotted]


class Renamed(msgspec.Struct, tag="renamed", rename="camel", omit_defaults=True):
    first_one: int = 1
    second_one: uuid.UUID | msgspec.UnsetType = msgspec.UNSET


class Listed(msgspec.Struct, array_like=True, tag=True, frozen=True):
    a: int
    b: str = "b"


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
floats = st.floats(allow_nan=False, allow_infinity=False)
integers = st.integers(-(2**63), 2**64 - 1)
small = st.integers(-(2**63), 2**63 - 1)
decimals = st.decimals(allow_nan=False, allow_infinity=False)
offsets = st.integers(-1439, 1439).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
odd_offsets = st.integers(-86_399, 86_399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))
datetimes = st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 12, 31), timezones=st.none() | offsets | odd_offsets)
durations = st.timedeltas(dt.timedelta(days=-99_999), dt.timedelta(days=99_999))
points = st.builds(Point, integers, texts, st.none() | st.dates())
slotted = st.builds(Slotted, texts, st.lists(decimals, max_size=3).map(tuple))
paths = texts.map(lambda text: PurePosixPath(text.replace("\0", "")))
anything = st.recursive(
    st.none() | st.booleans() | integers | floats | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)

KINDS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, anything),
    (int, integers),
    (bool, st.booleans()),
    (float, floats),
    (str, texts),
    (None, st.none()),
    (bytes, st.binary(max_size=20)),
    (bytearray, st.binary(max_size=20).map(bytearray)),
    (Decimal, decimals),
    (dt.datetime, datetimes),
    (dt.date, st.dates()),
    (dt.time, st.times(timezones=st.none() | offsets)),
    (dt.timedelta, durations),
    (uuid.UUID, st.uuids()),
    (PurePosixPath, paths),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Tag, st.sampled_from(Tag)),
    (Literal["a", 1], st.sampled_from(["a", 1])),
    (Point, points),
    (Slotted, slotted),
    (Named, st.builds(Named, integers, durations)),
    (Typed, st.fixed_dictionaries({}, optional={"a": integers, "b": st.binary(max_size=5)})),
    (Plain, st.builds(Plain, integers, st.dictionaries(small, slotted, max_size=2))),
    (Renamed, st.builds(Renamed, integers, st.uuids() | st.just(msgspec.UNSET))),
    (Listed, st.builds(Listed, integers, texts)),
    (Annotated[int, msgspec.Meta(ge=0)], st.integers(0, 2**63)),
]  # fmt: skip
KEYS: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (str, texts),
    (int, small),
    (float, floats),
    (Tag, st.sampled_from(Tag)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (dt.date, st.dates()),
    (dt.datetime, datetimes),
    (dt.timedelta, durations),
    (uuid.UUID, st.uuids()),
    (bytes, st.binary(max_size=4)),
    (Decimal, decimals),
]


def frozen(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def around(kind: Any, values: st.SearchStrategy[Any], data: st.DataObject) -> tuple[Any, Any]:
    """Draw a value of a kind, in one of the collections that a signature may have."""
    which = data.draw(st.sampled_from(["itself", "list", "tuple", "set", "frozenset", "optional", "values", "keys"]))
    hashable = values.filter(frozen)
    match which:
        case "list":
            return list[kind], data.draw(st.lists(values, max_size=3))
        case "tuple":
            return tuple[kind, ...], tuple(data.draw(st.lists(values, max_size=3)))
        case "set" if kind not in (Point, Plain, Typed, Any, bytearray, Renamed):
            return set[kind], set(data.draw(st.lists(hashable, max_size=3)))
        case "frozenset" if kind not in (Point, Plain, Typed, Any, bytearray, Renamed):
            return frozenset[kind], frozenset(data.draw(st.lists(hashable, max_size=3)))
        case "optional":
            return Optional[kind], data.draw(st.none() | values)  # noqa: UP045 - the old form is under test
        case "values":
            return dict[str, kind], data.draw(st.dictionaries(texts, values, max_size=3))
        case "keys":
            key, keys = data.draw(st.sampled_from(KEYS))
            drawn = data.draw(st.dictionaries(keys, values, max_size=3))
            return dict[key, kind], drawn
    return kind, data.draw(values)


def handler_of(hint: Any) -> Handler:
    async def take(value) -> None: ...  # type: ignore[no-untyped-def]  # the hint is set below

    take.__annotations__["value"] = hint
    registry = Registry()
    register(registry, take, HandlerOptions(timeout_s=60.0))
    (handler,) = registry
    return handler


@settings(max_examples=600, deadline=None)
@given(data=st.data())
def test_arguments_of_every_type_survive_encoding_and_decoding(data: st.DataObject) -> None:
    kind, values = data.draw(st.sampled_from(KINDS))
    hint, value = around(kind, values, data)
    handler = handler_of(hint)
    args = encode({"value": value})
    assert msgspec.json.decode(handler.check(args)) == msgspec.json.decode(args)
    assert handler.kwargs(args) == {"value": value}
    assert orjson.loads(args) == orjson.loads(encoded({"type": "take", "args": {"value": value}}))["args"]
    assert orjson.loads(encode_result(value, bytes_max=10**6)) == orjson.loads(args)["value"]


@virtual_time
async def test_a_queue_passes_typed_arguments_and_returns_json_values() -> None:
    queue = JobQueue()

    @queue.handler
    async def turn(point: Point, many: set[Decimal], when: dict[dt.date, bytes]) -> dict[str, Any]:
        assert (point, many, when) == (Point(1, "x"), {Decimal("1.50")}, {dt.date(2026, 1, 1): b"hi"})
        return {"point": point, "many": many, "when": when}

    async with queue:
        args = {"point": Point(1, "x"), "many": {Decimal("1.50")}, "when": {dt.date(2026, 1, 1): b"hi"}}
        assert await (await queue.submit("turn", args)).result() == {
            "point": {"x": 1, "_id": "x", "when": None},
            "many": ["1.50"],
            "when": {"2026-01-01": "aGk="},
        }


# -- lossless or an error


class Lossy(dict):  # type: ignore[type-arg]  # a plain subclass, as users write it
    pass


@dataclasses.dataclass
class AlsoADict(dict):  # type: ignore[type-arg]  # a plain subclass, as users write it
    a: int = 1


@dataclasses.dataclass
class Unset:
    a: int
    b: int = dataclasses.field(init=False)


@dataclasses.dataclass
class Initialised:
    a: int
    b: dataclasses.InitVar[int]
    c: int = dataclasses.field(init=False)

    def __post_init__(self, b: int) -> None:
        self.c = self.a + b


class Text(str):
    __slots__ = ()


class Count(int):
    pass


class Share(float):
    pass


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Point(1, "x"), b'{"x":1,"_id":"x","when":null}'),
        ([{"p": Slotted("n")}], b'[{"p":{"name":"n","_many":[]}}]'),
        (AlsoADict(), b'{"a":1}'),
        (Initialised(1, 2), b'{"a":1,"c":3}'),
        (Renamed(), b'{"type":"renamed","firstOne":1}'),
        (Listed(1), b'["Listed",1,"b"]'),
        (Lossy(a=Point(1, "x")), b'{"a":{"x":1,"_id":"x","when":null}}'),
        (types.MappingProxyType({"a": 1}), b'{"a":1}'),
        ({1: "a", 2.5: "b", None.__class__.__name__: "c"}, b'{"1":"a","2.5":"b","NoneType":"c"}'),
        ([Text("a"), Count(1), Share(0.5), {Text("k"): Tag.A}], b'["a",1,0.5,{"k":"a"}]'),
        ({Level.LOW: Level.HIGH, Colour.RED: Colour.BLUE}, b'{"1":2,"red":"blue"}'),
        (msgspec.Raw(b'{"a":[1]}'), b'{"a":[1]}'),
        (memoryview(b"hi"), b'"aGk="'),
        (
            dt.datetime(1900, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=3208))),
            b'"1899-12-31T23:06:32Z"',
        ),
        ([None, 2**64 - 1, -(2**63)], b"[null,18446744073709551615,-9223372036854775808]"),
    ],
)
def test_encode_keeps_all_of_a_value(value: Any, json: bytes) -> None:
    assert encode(value) == json


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({1: "a", "1": "b"}, "two keys of an object are both '1' in JSON"),
        ({Colour.RED: 1, "red": 2}, "two keys of an object are both 'red'"),
        ({float("nan"): 1}, "the key nan of an object is not a valid JSON number"),
        ({True: 1}, "keys are strings, numbers or dates, not bool"),
        ({None: 1}, "not NoneType"),
        ({(1, 2): 1}, "not tuple"),
        (Point(1, float("nan")), "Out of range float"),  # type: ignore[arg-type]  # an int by its hint
        ({1: [None, float("inf")]}, "Out of range float"),
        (Unset(1), "'Unset' object has no attribute 'b'"),
        (2**64, "64-bit"),
        ({1: -(2**63) - 1}, "64-bit"),
        ("\ud800", "surrogates"),
        ({1: {"\ud800": 1}}, "surrogates"),
        (endless(), "nested too deeply, or circular"),
        ({1: endless()}, "nested too deeply, or circular"),
        (object(), "JSON can't represent 'object'"),
        (Point, "JSON can't represent 'type'"),
        ((n for n in range(3)), "JSON can't represent 'generator'"),
        ([1, [{"a": 5j}]], "JSON can't represent 'complex'"),
        (msgspec.UNSET, "JSON can't represent 'UnsetType'"),
        (dt.time(1, tzinfo=dt.timezone(dt.timedelta(seconds=1))), "not a whole number of minutes"),
        (dt.datetime.min.replace(tzinfo=dt.timezone(dt.timedelta(seconds=1))), "date value out of range"),
    ],
)
def test_an_unencodable_value_raises_an_error_with_the_reason(value: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        encode(value)
    with pytest.raises(BadResult, match=reason):
        encode_result(value, bytes_max=1000)
    with pytest.raises(ValueError, match=reason):
        encoded({"type": "it", "args": {"value": value}})


@virtual_time
async def test_an_unencodable_result_fails_the_job() -> None:
    queue = JobQueue()

    @queue.handler
    async def whole() -> Any:
        return Point(1, "x")

    @queue.handler
    async def less() -> Any:
        return {1: "a", "1": "b"}

    async with queue:
        assert await (await queue.submit("whole")).result() == {"x": 1, "_id": "x", "when": None}
        job = await (await queue.submit("less")).wait()
        assert job.error is not None
        assert (job.state, job.error.code) == (JobState.FAILED, ErrorCode.BAD_RESULT)
        assert "two keys of an object" in job.error.message


def test_the_client_encodes_durations_from_timedeltas() -> None:
    submission = {"type": "it", "delay_s": dt.timedelta(minutes=1), "timeout_s": 0.5, "run_at": dt.datetime(2026, 1, 1)}
    assert orjson.loads(encoded(submission)) == {  # type: ignore[arg-type]  # no TypedDict
        "type": "it",
        "delay_s": 60.0,
        "timeout_s": 0.5,
        "run_at": "2026-01-01T00:00:00",
    }
