"""Arguments and results of rich types over HTTP, raw and by the client."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from decimal import Decimal

import pydantic
import pytest

from jobqueue.client import Client
from tests.http.serving import CLOSE, Answer, Serving, post


class Item(pydantic.BaseModel):
    sku: str = pydantic.Field(min_length=2)
    price: Decimal


@dataclass
class Receipt:
    total: Decimal
    _id: bytes
    taken: dt.timedelta


@pytest.fixture
def selling(serving: Serving) -> Serving:
    @serving.queue.handler
    async def sell(items: list[Item], at: dt.datetime, tags: set[str]) -> Receipt:
        assert tags == {"a", "b"}
        return Receipt(
            sum((item.price for item in items), Decimal()), b"hi", dt.datetime(2026, 1, 2, tzinfo=dt.UTC) - at
        )

    @serving.queue.handler
    async def tell(values: dict[str, float]) -> dict[float, str]:
        return {1.0: "a", float("nan"): "b"}

    return serving


async def test_the_client_submits_typed_arguments(selling: Serving) -> None:
    args = {
        "items": [Item(sku="ab", price=Decimal("1.10")), Item(sku="cd", price=Decimal("2.20"))],
        "at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "tags": {"a", "b"},
    }
    async with Client(selling.url) as client:
        job = await client.submit("sell", args, wait_s=30, timeout_s=dt.timedelta(seconds=20))
        assert job.result == {"total": "3.30", "_id": "aGk=", "taken": "P1D"}
        bad = await client.submit("tell", {"values": {}}, wait_s=30)
        assert bad.error is not None
        assert (bad.error.code, "the key nan" in bad.error.message) == ("bad_result", True)


async def test_errors_of_a_pydantic_model_have_pointers(selling: Serving) -> None:
    body = b'{"type":"sell","args":{"items":[{"sku":"a","price":"x"}],"at":"2026-01-01T00:00:00Z","tags":[1]}}'
    answer = Answer(await selling.talk(post(body, CLOSE)))
    errors = {error["pointer"]: error["detail"] for error in answer.problem["errors"]}
    assert answer.status == 422
    assert set(errors) == {"/args/items/0/sku", "/args/items/0/price", "/args/tags/0"}
    assert errors["/args/items/0/sku"] == "String should have at least 2 characters"
