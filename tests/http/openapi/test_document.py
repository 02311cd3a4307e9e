"""The description of the API: valid, whole, and made of nothing but what the rows and the structs say."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
import orjson
import pytest
from openapi_spec_validator import validate

from jobqueue.config import Settings
from jobqueue.demo import queue
from jobqueue.http.openapi import describe
from jobqueue.http.openapi.headers import HEADERS
from jobqueue.http.response.problems import INTERNAL, TABLE
from jobqueue.http.routes import ROUTES, answers_of
from tests.http.keyed import auth
from tests.http.openapi.described import resolved

if TYPE_CHECKING:
    from collections.abc import Iterator


@cache
def description(*, types: bool = False) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(describe(Settings(), queue.service.registry if types else None))
    return document


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in description()["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


@pytest.mark.parametrize("types", [False, True], ids=["for any server", "with the types of one"])
def test_the_description_is_valid_openapi(types: bool) -> None:
    validate(description(types=types))


def test_every_route_is_described_and_every_described_route_is_there() -> None:
    described = {(method.upper(), path) for method, path, _ in operations()}
    assert described == {(method, row.path) for row in ROUTES for method in row.methods}


def test_every_answer_of_a_row_is_described_with_its_problem_and_headers() -> None:
    for row in ROUTES:
        for method in row.methods:
            responses = description()["paths"][row.path][method.lower()]["responses"]
            for answer in answers_of(row):
                if answer.status < 200:
                    continue
                response = resolved(responses[str(answer.status)], description())
                assert set(answer.headers) <= set(response["headers"]), (row.name, answer)
                assert bool(response.get("content")) == (bool(answer.media_type) and method != "HEAD")
                if answer.problem is not None:
                    assert f"`{answer.problem.slug}`" in response["description"]


def test_operations_have_names_of_their_own_in_camel_case() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z]+(?:[A-Z][a-z]+)*", name)] == []
    assert {"submitJob", "submitJobs", "getJob", "headJob", "listJobs", "cancelJob", "streamJobEvents"} <= set(names)


def test_problems_have_all_slugs() -> None:
    kinds = description()["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
    assert set(kinds) == {f"/problems/{row.slug}" for row in (*TABLE.values(), INTERNAL)}


def test_every_header_and_parameter_of_the_rows_is_described() -> None:
    named = {name for row in ROUTES for answer in answers_of(row) for name in answer.headers}
    assert named <= set(HEADERS)
    for method, path, operation in operations():
        for ref in operation.get("parameters", []):
            parameter = resolved(ref, description())
            assert parameter["description"], (method, path, parameter["name"])
            assert parameter["schema"], (method, path, parameter["name"])


def test_an_operation_names_the_scope_that_it_needs() -> None:
    paths = description()["paths"]
    assert paths["/v1/jobs/{id}:cancel"]["post"]["security"] == [{"key": ["operate"]}, {}]
    assert paths["/v1/schedules/{name}"]["put"]["security"] == [{"key": ["operate", "submit"]}, {}]
    assert paths["/livez"]["get"]["security"] == []


def test_a_server_with_keys_needs_one() -> None:
    settings = msgspec.convert({"auth": auth("reader")}, Settings)
    operation = orjson.loads(describe(settings))["paths"]["/v1/jobs"]["post"]
    assert operation["security"] == [{"key": ["submit"]}]


def test_every_component_is_referred_to() -> None:
    for types in (False, True):
        document = description(types=types)
        text = orjson.dumps(document).decode()
        for kind in ("schemas", "responses", "parameters", "headers", "links"):
            unused = [name for name in document["components"][kind] if f'"#/components/{kind}/{name}"' not in text]
            assert unused == []


def test_every_document_and_every_member_is_described_in_words() -> None:
    schemas = description()["components"]["schemas"]
    without = [name for name, schema in schemas.items() if not schema.get("description")]
    without += [
        f"{name}.{member}"
        for name, schema in schemas.items()
        for member, of in schema.get("properties", {}).items()
        if not of.get("description")
    ]
    assert without == []
