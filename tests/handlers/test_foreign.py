"""Types unknown to msgspec, and types with code that fails: pydantic models, paths, hostile constructors."""

from __future__ import annotations

import datetime as dt
import gc
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import annotated_types
import msgspec
import pydantic
import pydantic.dataclasses
import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.encoder import encode
from jobqueue.errors import InvalidSubmission, JobFailed
from jobqueue.handlers.foreign import ModelFaults
from jobqueue.runtime.pools.sendable import check_sendable
from jobqueue.testing import virtual_time
from tests.handlers.test_registry import faults_of, handler_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Line(pydantic.BaseModel):
    sku: str = pydantic.Field(min_length=2)
    count: int = pydantic.Field(ge=1, alias="n")


class Order(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)

    lines: list[Line]
    due: dt.date
    note: str | None = None
    share: float = 0.5


class Numbers(pydantic.RootModel[list[int]]):
    pass


@dataclass
class Holder:
    order: Order
    where: Path | None = None


@pydantic.dataclasses.dataclass
class Checked:
    a: Annotated[int, pydantic.Field(ge=1)]


class Counted(pydantic.BaseModel):
    """A model that records the values it validates."""

    asked: ClassVar[list[Any]] = []
    n: int

    @pydantic.model_validator(mode="before")
    @classmethod
    def keep(cls, value: Any) -> Any:
        cls.asked.append(value)
        return value


async def count(one: Counted, more: list[Counted]) -> None: ...


async def take(ctx: JobContext, order: Order, more: dict[str, list[Line]] | None = None) -> None: ...


ORDER = Order(lines=[Line(sku="ab", n=2)], due=dt.date(2026, 1, 1))


def test_models_are_decoded_from_json_and_encoded_again() -> None:
    async def many(order: Order, other: Order | None, lines: list[Line], holder: Holder, numbers: Numbers) -> None: ...

    handler = handler_of(many)
    given = {
        "order": ORDER,
        "other": None,
        "lines": [Line(sku="cd", n=1)],
        "holder": Holder(ORDER, Path("/a")),
        "numbers": Numbers([1, 2]),
    }
    assert handler.kwargs(handler.check(encode(given))) == given


def test_each_fault_of_a_model_has_a_pointer() -> None:
    faults = faults_of(
        handler_of(take),
        b'{"order":{"lines":[{"sku":"a","n":1},{"sku":"ab","n":0}],"due":"soon","share":"x"},"more":{"a":[{"sku":1}]}}',
    )
    assert set(faults) == {
        "/args/order/lines/0/sku",
        "/args/order/lines/1/n",
        "/args/order/due",
        "/args/order/share",
        "/args/more/*/0/sku",
        "/args/more/*/0/n",
    }
    assert faults["/args/order/lines/1/n"] == "Input should be greater than or equal to 1"


def test_many_faults_of_a_model_are_counted() -> None:
    lines = b",".join(b'{"sku":"ab","n":0}' for _ in range(400))
    faults = faults_of(handler_of(take), b'{"order":{"due":"2026-01-01","lines":[%b]}}' % lines)
    assert len(faults) == 33
    assert "368 more" in " ".join(faults.values())
    lines = b",".join(b"1" for _ in range(5000))
    faults = faults_of(handler_of(take), b'{"order":{"due":"2026-01-01","lines":[%b]}}' % lines)
    assert faults == {"/args/order": "5,000 faults"}


def test_each_invalid_value_of_a_model_is_validated_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(Counted, "asked", asked)
    handler = handler_of(count)
    faults = faults_of(handler, b'{"one":{"n":1},"more":[{"n":"x"},{"n":true}]}')
    assert set(faults) == {"/args/more/0/n"}
    assert asked == [{"n": 1}, {"n": "x"}, {"n": 1}]

    asked.clear()
    args = b'{"one":{"n":"x"},"one":{"n":1},"more":[]}'
    assert handler.check(args) == b'{"one":{"n":1},"more":[]}'
    assert asked == [{"n": "x"}, {"n": 1}, {"n": 1}]


def test_an_invalid_model_leaves_no_reference_cycles() -> None:
    handler = handler_of(take)

    def chained(error: BaseException | None) -> Iterator[BaseException]:
        while error is not None:
            yield error
            error = error.__cause__ or error.__context__

    gc.collect()
    gc.disable()
    try:
        held: list[BaseException] = []
        with suppress(InvalidSubmission):
            try:
                handler.check(b'{"order":{"lines":[{"sku":"a","n":0}]}}')
            except InvalidSubmission as refusal:
                held = [each for each in chained(refusal) if isinstance(each, pydantic.ValidationError)]
                raise
        # The error would hold far more than the input: each of its faults holds the value.
        assert not held
        assert not [each for each in gc.get_objects() if isinstance(each, ModelFaults)]
    finally:
        gc.enable()


def test_a_missing_and_a_wrong_model_have_one_fault() -> None:
    assert set(faults_of(handler_of(take), b"{}")) == {"/args/order"}
    assert set(faults_of(handler_of(take), b'{"order":[]}')) == {"/args/order"}


@virtual_time
async def test_a_model_can_be_a_result() -> None:
    queue = JobQueue()

    @queue.handler
    async def turn(order: Order, share: float) -> Order:
        assert order == ORDER
        return order.model_copy(update={"share": share if share < 1 else float("nan")})

    async with queue:
        result = await (await queue.submit("turn", {"order": ORDER, "share": 0.25})).result()
        assert result == {"lines": [{"sku": "ab", "n": 2}], "due": "2026-01-01", "note": None, "share": 0.25}
        with pytest.raises(JobFailed, match="Out of range float"):
            await (await queue.submit("turn", {"order": ORDER, "share": 1})).result()


def test_a_model_of_a_local_class_cannot_be_sent_to_a_process() -> None:
    def plain(order: Order, lines: list[Line]) -> None: ...

    class Local(pydantic.BaseModel):
        a: int

    def locally(value: Any) -> None: ...

    locally.__annotations__["value"] = list[Local]
    plain.__qualname__, plain.__module__ = "take", take.__module__
    with pytest.raises(ValueError, match="another object"):
        check_sendable(handler_of(plain, run_in="process"))
    handler = handler_of(locally, run_in="process")
    handler.func = handler_of
    with pytest.raises(ValueError, match=r"with its argument type '.*Local': it is defined inside another function"):
        check_sendable(handler)


def field_beside(a: Annotated[int, pydantic.Field(ge=1)]) -> None: ...


def field_inside(a: list[Annotated[int, annotated_types.Ge(1)]]) -> None: ...


def field_as_default(a: int = pydantic.Field(ge=1)) -> None: ...


def checked(a: dict[str, Checked | None]) -> None: ...


def in_a_union(a: Order | int) -> None: ...


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (field_beside, "FieldInfo is not checked beside a parameter: use msgspec.Meta, or a model"),
        (field_inside, "Ge is not checked beside a parameter"),
        (field_as_default, "FieldInfo is not checked beside a parameter"),
        (checked, "Checked is a pydantic dataclass, and its checks would not run: use a model"),
        (in_a_union, "custom type may not contain any additional types"),
    ],
)
def test_constraints_that_would_not_be_checked_raise_an_error(func: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        handler_of(func)


def test_a_path_is_decoded_from_a_string() -> None:
    async def paths(path: Path, many: list[PurePosixPath] | None = None) -> None: ...

    handler = handler_of(paths)
    given = {"path": Path("/a/b"), "many": [PurePosixPath("c")]}
    assert handler.kwargs(handler.check(encode(given))) == given
    assert faults_of(handler, b'{"path":5}') == {"/args/path": "Expected `str`, got `int`"}


# -- types with code that fails


@dataclass
class Failing:
    how: str

    def __post_init__(self) -> None:
        if self.how:
            raise {"key": KeyError, "exit": SystemExit, "value": ValueError, "runtime": RuntimeError}[self.how](
                self.how
            )


class FailingStruct(msgspec.Struct):
    how: str

    def __post_init__(self) -> None:
        Failing(self.how)


class FailingModel(pydantic.BaseModel):
    how: str

    @pydantic.field_validator("how")
    @classmethod
    def _check(cls, how: str) -> str:
        Failing(how)
        return how


@pytest.mark.parametrize("how", ["key", "exit", "value", "runtime"])
@pytest.mark.parametrize("kind", [Failing, FailingStruct, FailingModel])
def test_any_exception_of_a_type_rejects_the_submission(kind: type, how: str) -> None:
    async def func(value: Any, other: int) -> None: ...

    func.__annotations__["value"] = kind
    handler = handler_of(func)
    assert handler.check(b'{"value":{"how":""},"other":1}')
    faults = faults_of(handler, b'{"value":{"how":"%b"},"other":"x"}' % how.encode())
    assert "/args/other" in faults
    (fault,) = (fault for pointer, fault in faults.items() if pointer.startswith("/args/value"))
    assert how in fault.lower()


def test_a_fault_beside_integer_keys_is_reported_alone() -> None:
    async def func(table: dict[int, int], other: int) -> None: ...

    assert set(faults_of(handler_of(func), b'{"table":{"1":2},"other":"x"}')) == {"/args/other"}
