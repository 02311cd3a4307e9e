"""Redaction of arguments: names hide members at any depth, paths hide one place; the rest stays."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import BaseModel

from jobqueue import JobQueue
from jobqueue.handlers.redaction import HIDDEN, REDACTED_BYTES_MAX, Redaction

X = HIDDEN


@pytest.mark.parametrize(
    ("names", "given", "shown"),
    [
        (("password",), {"password": "p", "user": "u"}, {"password": X, "user": "u"}),
        (("pw",), {"a": [{"pw": 1}, {"b": {"pw": None}}]}, {"a": [{"pw": X}, {"b": {"pw": X}}]}),
        (("password",), {"password": {"old": "a", "new": ["b"]}}, {"password": X}),
        (("password",), {"Password": "p", "passwords": ["q"]}, {"Password": "p", "passwords": ["q"]}),
        (("user.pw",), {"user": {"pw": "t", "id": 1}, "pw": "s"}, {"user": {"pw": X, "id": 1}, "pw": "s"}),
        (("user.token",), {"x": {"user": {"token": "t"}}}, {"x": {"user": {"token": "t"}}}),
        (("cards.no",), {"cards": [{"no": "1"}, [{"no": "2"}]]}, {"cards": [{"no": X}, [{"no": X}]]}),
        (("a.b", "a.b.c"), {"a": {"b": {"c": 1}}}, {"a": {"b": X}}),
        (("a.b.c", "a.b"), {"a": {"b": {"c": 1, "d": 2}}}, {"a": {"b": X}}),
        (("a.b.c",), {"a": {"b": 1}}, {"a": {"b": 1}}),
        (("a.b.c",), {"a": {"b": {"d": {"c": 1}}}}, {"a": {"b": {"d": {"c": 1}}}}),
        (("a", "b.c"), {"b": {"c": 1, "a": 2, "e": "é"}}, {"b": {"c": X, "a": X, "e": "é"}}),
        (("a",), [], []),
        (("a",), {}, {}),
    ],
)  # fmt: skip
def test_values_are_hidden_by_name_and_by_path(names: tuple[str, ...], given: Any, shown: Any) -> None:
    assert json.loads(Redaction(names).apply(json.dumps(given).encode())) == shown


def test_numbers_and_the_last_of_duplicate_keys_stay_as_they_are() -> None:
    args = b'{"n":-9223372036854775808,"m":18446744073709551615,"f":0.1,"s":"\\u00e9","p":"a","p":"b"}'
    shown = Redaction(("p",)).apply(args)
    assert json.loads(shown) == {"n": -(2**63), "m": 2**64 - 1, "f": 0.1, "s": "é", "p": X}


@pytest.mark.parametrize(
    "args",
    [
        b'{"password":"p","more":"%s"}' % (b"x" * REDACTED_BYTES_MAX),
        b"[" * 50_000 + b"]" * 50_000,
        b'{"password":"\\ud800"}',
        b"no json",
        b"",
    ],
)
def test_arguments_that_cannot_be_redacted_are_hidden_as_a_whole(args: bytes) -> None:
    assert json.loads(Redaction(("password",)).apply(args)) == X


def test_a_deep_argument_of_a_fitting_length_is_redacted_at_each_depth() -> None:
    given: Any = {"password": "p"}
    for _ in range(30):
        given = {"password": "q", "in": [given]}
    assert json.loads(Redaction(("password",)).apply(json.dumps(given).encode()))["in"][0]["password"] == X
    assert b'"p"' not in Redaction(("password",)).apply(json.dumps(given).encode())


# -- registration


@dataclass
class Card:
    number: str


class User(msgspec.Struct, rename={"token": "Token"}):
    token: str
    cards: list[Card]


class Model(BaseModel):
    secret: str


def register(func: Any, redact: Any) -> None:
    JobQueue().handler(name="t", redact=redact)(func)


async def typed(user: User, password: str, more: Annotated[int, msgspec.Meta(ge=1)] = 1) -> None: ...
async def loose(data: dict[str, Any]) -> None: ...
async def more(password: str, **rest: Any) -> None: ...
async def model(model: Model) -> None: ...


@pytest.mark.parametrize(
    ("func", "redact"),
    [
        (typed, ("password",)),
        (typed, ("number", "Token", "user")),
        (typed, ("user.Token", "user.cards.number")),
        (loose, ("password", "data.password.x")),
        (more, ("anything", "rest.of.it")),
        (model, ("secret", "model.secret")),
    ],
)
def test_names_that_members_may_have_are_taken(func: Any, redact: tuple[str, ...]) -> None:
    register(func, redact)


@pytest.mark.parametrize(
    ("func", "redact", "fault"),
    [
        (typed, "password", "redact is a tuple of names"),
        (typed, (), "redact is a tuple of names"),
        (typed, ("",), "redact is a tuple of names"),
        (typed, (1,), "redact is a tuple of names"),
        (typed, ["password"], "redact is a tuple of names"),
        (typed, ("pasword",), "no argument has 'pasword'; did you mean 'password'?"),
        (typed, ("token",), "did you mean 'Token'?"),
        (typed, ("user.cards.nummer",), "no argument has 'nummer'; did you mean"),
        (typed, ("number.x",), "no argument has 'number'"),
        (typed, ("user..token",), "'user..token' has an empty step"),
        (typed, (".",), "has an empty step"),
        (loose, ("date.password",), "no argument has 'date'; did you mean 'data'?"),
    ],
)
def test_a_name_that_hides_nothing_is_a_fault_at_registration(func: Any, redact: Any, fault: str) -> None:
    with pytest.raises(ValueError, match=r"handler 't': ") as raised:
        register(func, redact)
    assert fault in str(raised.value)
