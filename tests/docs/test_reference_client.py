"""The reference page of the clients: methods, options, exceptions and documents."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import client, errors
from jobqueue.client import (
    Answer,
    BulkCount,
    Client,
    ErrorAnswer,
    FailureFilter,
    FateUnknown,
    JobDocument,
    JobEvent,
    JobFilter,
    JobPage,
    JobStatus,
    ListFilter,
    NoAnswer,
    Publication,
    PublishedJob,
    QueueChanges,
    Request,
    ScheduleOptions,
    SubmitOptions,
    SyncClient,
    Unreachable,
)
from jobqueue.client.protocol import REFUSALS
from jobqueue.http.response import job_document
from tests.docs.tables import codes, page, rows, section

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = page("client.md")


def table(heading: str, head: str) -> list[list[str]]:
    below = section(PAGE, heading)
    return rows(below[below.index(f"\n| {head}") + 1 :].partition("\n\n")[0])


def signature_of(function: Callable[..., Any]) -> str:
    """Return the signature of a method as on the page: names and defaults."""
    on_page, after_star = [], False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY and not after_star:
            on_page.append("*")
            after_star = True
        prefix = "**" if parameter.kind is parameter.VAR_KEYWORD else ""
        default = "" if parameter.default is parameter.empty else f"={parameter.default!r}".replace("'", '"')
        on_page.append(f"{prefix}{parameter.name}{default}")
    return ", ".join(on_page)


def methods(of: type) -> dict[str, str]:
    found = {name: value for name, value in inspect.getmembers(of, inspect.isfunction) if not name.startswith("_")}
    return {name: signature_of(function) for name, function in found.items()}


@pytest.mark.parametrize("of", [Client, SyncClient])
def test_both_clients_have_the_methods_and_signatures_on_the_page(of: type) -> None:
    on_page = dict(
        re.fullmatch(r"(\w+)\((.*)\)", codes(cells[0])[0]).groups() for cells in table("## Methods", "Method")
    )
    assert on_page == methods(of)
    assert f"`Client({signature_of(of.__init__)})`" in PAGE


def test_the_page_has_the_options_of_a_client_with_their_defaults() -> None:
    on_page = {codes(cells[0])[0]: cells[1].strip("`") for cells in table("## Making one", "Option")}
    given = list(inspect.signature(Client.__init__).parameters.values())[1:]
    assert on_page == {p.name: "required" if p.default is p.empty else repr(p.default) for p in given}


def test_the_page_has_the_options_of_a_submission() -> None:
    on_page = [codes(cells[0])[0] for cells in table("## Methods", "Option of")]
    own = {"self", "type", "args", "options"}
    for function in (Client.submit, Client.run):
        assert on_page == [name for name in inspect.signature(function).parameters if name not in own]


def test_the_page_has_the_names_of_options_filters_and_changes() -> None:
    on_page = {codes(cells[0])[0]: codes(cells[1]) for cells in table("## Methods", "Names")}
    assert on_page["**options"][: len(SubmitOptions.__annotations__)] == list(SubmitOptions.__annotations__)
    assert on_page["**filters"] == list(ListFilter.__annotations__)
    assert on_page["**failure_filter"] == list(FailureFilter.__annotations__)
    assert on_page["**job_filter"] == list(JobFilter.__annotations__)
    assert on_page["**changes"] == list(QueueChanges.__annotations__)
    assert on_page["**schedule_options"] == list(ScheduleOptions.__annotations__)


def test_the_page_has_every_exception_of_the_clients() -> None:
    on_page = {codes(cells[0])[0]: cells for cells in table("## Exceptions", "Exception")}
    of_the_client = {ErrorAnswer, NoAnswer, Unreachable, FateUnknown}
    from_answers = {*REFUSALS.values(), errors.Refused, errors.RateLimited, errors.JobFailed}
    from_answers |= {
        errors.InvalidSubmission,
        errors.UnknownType,
        errors.KeyReused,
        errors.Duplicate,
        errors.NotInStore,
        errors.ScheduleFixed,
        errors.ScheduleNotFound,
    }
    from_answers |= {errors.WrongState, errors.JobNotFound, errors.JobGone}
    from_answers |= {errors.Unauthorized, errors.Forbidden, errors.ConfigError}
    assert set(on_page) == {kind.__name__ for kind in (*from_answers, *of_the_client)}
    for slug, kind in REFUSALS.items():
        assert codes(on_page[kind.__name__][1]) == [slug]
    named = {code for cells in table("## Methods", "Method") for code in codes(cells[2]) if code[0].isupper()}
    assert named - set(on_page) == {"TypeError", "ValueError", "OSError", "TimeoutError"}


def test_the_page_has_the_members_of_the_documents() -> None:
    on_page = {codes(cells[0])[0]: cells[1] for cells in table("## Documents", "Class")}

    def public(of: Any) -> set[str]:
        made = {name for name, value in vars(of).items() if isinstance(value, property) or inspect.isfunction(value)}
        return {name for name in {*of.__struct_fields__, *made} if not name.startswith("_")}

    for of in (JobStatus, JobPage, BulkCount, JobEvent, Publication, PublishedJob):
        assert set(codes(on_page[of.__name__])) == public(of), of
    more = public(JobDocument) - set(job_document.JobDocument.__struct_fields__)
    assert more == {"args", "spec", "files", "result_file", "events", "deduplicated", "over", "unwrap"}
    assert {"deduplicated", "over", "unwrap()"} <= set(codes(on_page["JobDocument"]))
    assert set(job_document.JobDocument.__struct_fields__) <= public(JobDocument)


def test_the_page_has_the_members_of_requests_and_answers() -> None:
    on_page = {codes(cells[0])[0]: codes(cells[1]) for cells in table("## Hooks", "Class")}
    for of in (Request, Answer):
        made = {name for name, value in vars(of).items() if isinstance(value, property) or inspect.isroutine(value)}
        public = {name for name in {*of.__struct_fields__, *made} if not name.startswith("_")}
        assert {name.partition("(")[0] for name in on_page[of.__name__]} == public
        assert of.__name__ in client.__all__


def test_every_document_class_on_the_page_is_exported() -> None:
    for cells in table("## Documents", "Class"):
        assert codes(cells[0])[0] in client.__all__
