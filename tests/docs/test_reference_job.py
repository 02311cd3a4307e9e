"""The reference page of documents: exactly the members of the structs and responses."""

from __future__ import annotations

import re
import typing

import msgspec
import pytest

from jobqueue.config.effective import EffectiveSetting
from jobqueue.core.job import LIVE, TERMINAL
from jobqueue.core.limits.limiter_stats import LimiterStats
from jobqueue.core.report import ErrorCode, Progress
from jobqueue.core.scheduling.eta import WaitReason
from jobqueue.http.request.include import INCLUDABLE
from jobqueue.http.resources.bulk import BulkDocument
from jobqueue.http.resources.console_actions import ActionDocument
from jobqueue.http.resources.console_session import SessionDocument
from jobqueue.http.resources.findings import FindingDocument, FindingsDocument
from jobqueue.http.resources.health import ReadyDocument
from jobqueue.http.resources.included_document import (
    FileDocument,
    IncludedDocument,
    RecordedEventDocument,
    ResultFileDocument,
    SpecDocument,
    UniqueDocument,
    WorkerDocument,
)
from jobqueue.http.resources.index import IndexDocument
from jobqueue.http.resources.job_list import ListDocument
from jobqueue.http.resources.job_types import TypeDocument
from jobqueue.http.resources.problem_types import ProblemTypeDocument
from jobqueue.http.resources.queues import QueuesDocument
from jobqueue.http.resources.server import (
    DrainDocument,
    ProcessDocument,
    ReloadDocument,
    ServerDocument,
    StoreDocument,
)
from jobqueue.http.resources.server_log import ServerLogDocument
from jobqueue.http.resources.server_settings import ServerSettingsDocument
from jobqueue.http.resources.stats import SeriesDocument, StatsDocument
from jobqueue.http.resources.submissions import BatchItemDocument
from jobqueue.http.resources.topics import (
    ListenersDocument,
    PublicationDocument,
    PublishedJobDocument,
    SubscriberDocument,
    TopicsDocument,
)
from jobqueue.http.resources.webhooks import DeliveryAttemptDocument, WebhookDocument, WebhooksDocument
from jobqueue.http.response.job_document import AttemptDocument, JobDocument, UnknownJobDocument, WaitingDocument
from jobqueue.http.response.limiter_document import LimiterDocument
from jobqueue.http.response.queue_document import PauseDocument, QuarantinedDocument, QueueDocument
from jobqueue.http.response.schedule_document import (
    LastTickDocument,
    ScheduleDocument,
    SchedulePauseDocument,
    SchedulesDocument,
)
from jobqueue.what_if.documents import (
    AlternativeDocument,
    ComparedSettingsDocument,
    ForecastCellDocument,
    ForecastDocument,
    ForecastFigureDocument,
    MeasuredQueueDocument,
    MeasuredTypeDocument,
    RunTimesDocument,
    SimulatedClientsDocument,
    SimulatedTimeDocument,
    WaitsDocument,
)
from tests.docs.tables import codes, members, page, rows, section
from tests.http.declared import members_of

PAGE = page("job.md")


def own_section(heading: str) -> str:
    """Return the part of the page below a heading, without the smaller headings in it."""
    return re.split(r"^#", section(PAGE, heading), maxsplit=1, flags=re.MULTILINE)[0]


def nullable(heading: str) -> set[str]:
    return {codes(cells[0])[0] for cells in rows(own_section(heading), columns=4) if cells[3] != "never"}


def optional_fields(of: type[msgspec.Struct]) -> set[str]:
    hints = typing.get_type_hints(of)
    return {name for name in of.__struct_fields__ if type(None) in typing.get_args(hints[name])}


def check_struct(heading: str, of: type[msgspec.Struct]) -> None:
    assert members(own_section(heading)) == list(of.__struct_fields__)
    assert nullable(heading) == optional_fields(of)


def test_the_page_has_the_members_and_nullability_of_a_job_document() -> None:
    check_struct("## Job", JobDocument)
    check_struct("### Waiting for", WaitingDocument)
    check_struct("### Failed attempt", AttemptDocument)
    check_struct("### Setting", EffectiveSetting)


def test_the_page_has_the_members_that_a_request_includes() -> None:
    found = members_of(IncludedDocument)
    assert found is not None
    included = {name: kind for name, (kind, always) in found.items() if not always}
    assert members(own_section("### Included members")) == list(included)
    assert nullable("### Included members") == {
        name for name, kind in included.items() if type(None) in typing.get_args(kind)
    }
    with_names = {codes(cells[2])[0] for cells in rows(own_section("### Included members"))}
    assert with_names == set(INCLUDABLE)
    check_struct("### Spec", SpecDocument)
    check_struct("### File", FileDocument)
    check_dict("### Recorded event", RecordedEventDocument)
    for heading, row, of in (
        ("### Included members", "result_file", ResultFileDocument),
        ("### Spec", "unique", UniqueDocument),
        ("### Spec", "worker", WorkerDocument),
    ):
        (meaning,) = (cells[2] for cells in rows(own_section(heading)) if codes(cells[0]) == [row])
        assert set(of.__struct_fields__) <= set(codes(meaning))


def test_the_page_has_every_value_of_each_enumeration() -> None:
    assert members(own_section("### Error codes")) == list(ErrorCode)
    table = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("## Job"))}
    assert set(codes(table["state"])) == {*LIVE, *TERMINAL}
    assert set(Progress.__struct_fields__) <= set(codes(table["progress"]))
    reasons = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("### Waiting for"))}["reason"]
    assert set(codes(reasons)) == set(WaitReason)
    kinds = {codes(cells[0])[0]: cells[2] for cells in rows(own_section("### Limiter"))}["kind"]
    assert set(codes(kinds)) == set(typing.get_args(typing.get_type_hints(LimiterStats)["kind"]))


def check_dict(heading: str, of: type) -> None:
    found = members_of(of)
    assert found is not None
    assert members(own_section(heading)) == list(found)
    optional = {
        codes(cells[0])[0]
        for cells in rows(own_section(heading))
        if re.search("[Tt]here (if|with|otherwise)", cells[2])
    }
    assert optional == {name for name, (_, always) in found.items() if not always}
    nulls = {name for name, (kind, _) in found.items() if type(None) in typing.get_args(kind)}
    assert nulls == nullable(heading)


@pytest.mark.parametrize(
    ("heading", "of"),
    [
        ("## List", ListDocument),
        ("### Unknown job", UnknownJobDocument),
        ("## Batch", BatchItemDocument),
        ("## Publication", PublicationDocument),
        ("### Published job", PublishedJobDocument),
        ("## Topics", TopicsDocument),
        ("### Subscriber", SubscriberDocument),
        ("### Listeners", ListenersDocument),
        ("## Schedule", ScheduleDocument),
        ("### Pause of a schedule", SchedulePauseDocument),
        ("### Latest tick", LastTickDocument),
        ("## Schedules", SchedulesDocument),
        ("## Bulk action", BulkDocument),
        ("## Queue", QueueDocument),
        ("### Pause", PauseDocument),
        ("### Quarantined type", QuarantinedDocument),
        ("## Queues", QueuesDocument),
        ("## Statistics", StatsDocument),
        ("### Series", SeriesDocument),
        ("## Forecast", ForecastDocument),
        ("### Measured", MeasuredQueueDocument),
        ("### Measured type", MeasuredTypeDocument),
        ("### Run times", RunTimesDocument),
        ("### Waits", WaitsDocument),
        ("### Simulated clients", SimulatedClientsDocument),
        ("### Simulated time", SimulatedTimeDocument),
        ("### Alternative", AlternativeDocument),
        ("### Compared settings", ComparedSettingsDocument),
        ("### Cell", ForecastCellDocument),
        ("### Figure", ForecastFigureDocument),
        ("### Limiter", LimiterDocument),
        ("## Type", TypeDocument),
        ("## Findings", FindingsDocument),
        ("### Finding", FindingDocument),
        ("## Webhooks", WebhooksDocument),
        ("### Webhook", WebhookDocument),
        ("### Delivery attempt", DeliveryAttemptDocument),
        ("## Server", ServerDocument),
        ("### Process", ProcessDocument),
        ("### Store", StoreDocument),
        ("## Log", ServerLogDocument),
        ("## Settings", ServerSettingsDocument),
        ("## Reload", ReloadDocument),
        ("## Drain", DrainDocument),
        ("## Health", ReadyDocument),
        ("## Type of problems", ProblemTypeDocument),
        ("## Session", SessionDocument),
        ("## Console action", ActionDocument),
        ("## Links", IndexDocument),
    ],
)
def test_the_page_has_the_members_and_nullability_of_each_document(heading: str, of: type) -> None:
    check_dict(heading, of)
