"""The reference page of documents: exactly the members of the structs and responses."""

from __future__ import annotations

import re
import types
import typing
from typing import Any

import msgspec
import orjson

from jobqueue import JobQueue
from jobqueue.core.job import LIVE, TERMINAL, ErrorCode, Progress
from jobqueue.core.limits.circuit_breaker import QuarantinedType
from jobqueue.core.limits.limiters import LimiterStats
from jobqueue.core.scheduling.eta import WaitReason
from jobqueue.errors import JobGone
from jobqueue.http.response.documents import (
    AttemptDocument,
    JobDocument,
    WaitingDocument,
    limiter_document,
    missing_document,
    queue_document,
)
from tests.docs.tables import codes, members, page, rows, section

PAGE = page("job.md")


def own_section(heading: str) -> str:
    """Return the part of the page below a heading, without the smaller headings in it."""
    return re.split(r"^#", section(PAGE, heading), maxsplit=1, flags=re.MULTILINE)[0]


def nullable(heading: str) -> set[str]:
    return {codes(cells[0])[0] for cells in rows(own_section(heading), columns=4) if cells[3] != "never"}


def optional_fields(of: type[msgspec.Struct]) -> set[str]:
    hints = typing.get_type_hints(of)
    return {
        name
        for name in of.__struct_fields__
        if isinstance(hints[name], types.UnionType) and type(None) in hints[name].__args__
    }


def check_struct(heading: str, of: type[msgspec.Struct]) -> None:
    assert members(own_section(heading)) == list(of.__struct_fields__)
    assert nullable(heading) == optional_fields(of)


def test_the_page_has_the_members_and_nullability_of_a_job_document() -> None:
    check_struct("## Job", JobDocument)
    check_struct("### Waiting for", WaitingDocument)
    check_struct("### Failed attempt", AttemptDocument)


def test_the_page_has_every_value_of_each_enumeration() -> None:
    assert members(own_section("### Error codes")) == list(ErrorCode)
    table = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("## Job"))}
    assert set(codes(table["state"])) == {*LIVE, *TERMINAL}
    assert set(Progress.__struct_fields__) <= set(codes(table["progress"]))
    reasons = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("### Waiting for"))}["reason"]
    assert set(codes(reasons)) == set(WaitReason)
    kinds = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("### Limiter"))}["kind"]
    assert set(codes(kinds)) == set(typing.get_args(typing.get_type_hints(LimiterStats)["kind"]))


async def test_the_page_has_the_members_and_nullability_of_queues_and_limiters() -> None:
    async with JobQueue() as queue:
        (stats,) = queue.service.backend.stats()[1]
        quarantined = QuarantinedType(type="t", since=0.0, until=1.0, reason="no")
        document: dict[str, Any] = orjson.loads(
            queue_document(msgspec.structs.replace(stats, quarantined=[quarantined]), queue.service)
        )
        limiter = orjson.loads(limiter_document(LimiterStats(kind="type", name="t", held=0, waiting=0), queue.service))
    assert members(own_section("## Queue")) == list(document)
    assert members(own_section("### Quarantined type")) == list(document["quarantined"][0])
    assert {name for name, value in document.items() if value is None} == nullable("## Queue")
    assert members(own_section("### Limiter")) == list(limiter)
    assert {name for name, value in limiter.items() if value is None} == nullable("### Limiter")


def test_the_page_has_the_members_of_an_unknown_job_in_a_list() -> None:
    assert members(own_section("### Unknown job")) == list(orjson.loads(missing_document("x", JobGone("evicted"))))
