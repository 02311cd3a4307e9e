"""Filters of jobs as clients write them: in the query of a list, and in the body of an action on many jobs.

Rules:

1. Both are made into a `JobFilter` here, so that a list shows the jobs that an action with the same filter changes.
2. A name that isn't known is rejected: without it the filter would match more than intended.
3. Each value is bounded: its cost is paid for each record that the search reads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.ids import ID_LENGTH
from jobqueue.core.job import JobState
from jobqueue.core.job_filter import ArgFilter, JobFilter, Scalar
from jobqueue.core.masking import ID_FORM as FAILURE_ID_FORM
from jobqueue.core.report import ErrorCode
from jobqueue.errors import shown
from jobqueue.http.request.instant import unix_s_of
from jobqueue.http.request.query import not_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from jobqueue.service import Service

TEXT_MAX = 200
"""Characters of a part of a message, of a path, or of a value in the arguments."""

ARGS_MAX = 8
"""Conditions on arguments in one filter."""

PATH_DEPTH_MAX = 8
"""Names in one path."""

ARG = "arg."
"""The beginning of the parameters that are conditions on arguments."""

MESSAGE = "message~"

ROUNDING_S = 0.0005
"""Documents have instants in milliseconds, rounded: a job is compared by what its document shows."""

JOB_ID = rf"^[-0-9A-Z_a-z]{{{ID_LENGTH}}}$"

ID_PREFIX = rf"^[-0-9A-Z_a-z]{{1,{ID_LENGTH}}}$"


class InvalidFilter(Exception):
    """A condition of a filter is invalid.

    Attributes:
        name: Its name, as in a query.
        detail: What it is to be.
    """

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(f"{name} {detail}")
        self.name = name
        self.detail = detail


def job_filter_of(given: Mapping[str, Any], service: Service, owner: str | None) -> JobFilter:
    """Make a filter of conditions by name; raises InvalidFilter.

    Args:
        given: `state`, `type`, `queue`, `group`, `id_prefix`, `parent`, `error`, `failure` and `message` are texts;
            `since` and `until` texts, instants or Unix seconds; `older_than_s` seconds; `args` the values that a value
            may have, by path.
        owner: Of the jobs that the request sees.
    """
    now = service.backend.now()
    since, until = (_instant(given.get(name), name, service) for name in ("since", "until"))
    if (older_than_s := given.get("older_than_s")) is not None:
        until = now - older_than_s if until is None else min(until, now - older_than_s)
    args = tuple(_arg_filter(path, values) for path, values in given.get("args", {}).items())
    if len(args) > ARGS_MAX:
        raise InvalidFilter(ARG, f"conditions: {len(args)}, and {ARGS_MAX} are allowed")
    return JobFilter(
        state=_one_of(given.get("state"), JobState, "state"),
        type=given.get("type"),
        queue=given.get("queue"),
        group=given.get("group"),
        id_prefix=_id_prefix(given.get("id_prefix")),
        parent=_parent(given.get("parent")),
        created_from=since,
        created_before=until,
        error=_one_of(given.get("error"), ErrorCode, "error"),
        failure=_failure(given.get("failure")),
        message=_part(given.get("message")),
        args=args,
        redacted=_redacted(service) if args else {},
        owner=owner,
    )


def _redacted(service: Service) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return what no filter finds, by type: else a value that is not shown could be guessed."""
    return {
        handler.name: tuple(tuple(name.split(".")) for name in handler.redaction.names)
        for handler in service.registry.every()
        if handler.redaction is not None
    }


def conditions_of(given: Mapping[str, str]) -> dict[str, Any]:
    """Return the conditions of a query, as `job_filter_of` takes them."""
    conditions: dict[str, Any] = {name: value for name, value in given.items() if not name.startswith(ARG)}
    conditions["args"] = {
        name.removeprefix(ARG): arg_values(value) for name, value in given.items() if name.startswith(ARG)
    }
    conditions["message"] = given.get(MESSAGE)
    return conditions


def arg_values(text: str) -> tuple[Scalar, ...]:
    """Return the values that the text of a query stands for: the JSON scalar that it is, and itself."""
    try:
        scalar = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return (text,)
    return (text,) if isinstance(scalar, dict | list) else (scalar, text)


def _one_of(text: str | None, known: type[Any], name: str) -> Any:
    if text is None:
        return None
    words = [str(each) for each in known]
    if text not in words:
        raise InvalidFilter(name, not_one_of(text, words))
    return known(text)


def _id_prefix(text: str | None) -> str | None:
    if text is not None and re.fullmatch(ID_PREFIX, text) is None:
        detail = f"is the beginning of an id: 1 to {ID_LENGTH} letters, digits, - and _, got {shown(text)!r}"
        raise InvalidFilter("id_prefix", detail)
    return text


def _parent(text: str | None) -> str | None:
    if text is not None and re.fullmatch(JOB_ID, text) is None:
        raise InvalidFilter("parent", f"is the id of a job: {ID_LENGTH} letters, digits, - and _, got {shown(text)!r}")
    return text


def _failure(text: str | None) -> str | None:
    if text is not None and re.fullmatch(FAILURE_ID_FORM, text) is None:
        raise InvalidFilter(
            "failure", f"is the id of a group of /v1/failures: 16 digits and a to f, got {shown(text)!r}"
        )
    return text


def _part(text: str | None) -> str | None:
    if text is None:
        return None
    if not 1 <= len(text) <= TEXT_MAX:
        raise InvalidFilter(MESSAGE, f"is a part of a message, 1 to {TEXT_MAX} characters, got {len(text)}")
    return text.casefold()


def _arg_filter(path: str, values: tuple[Scalar, ...]) -> ArgFilter:
    name, names = f"{ARG}{shown(path)}", tuple(path.split("."))
    if len(path) > TEXT_MAX or len(names) > PATH_DEPTH_MAX or not all(names):
        raise InvalidFilter(name, f"is no path: 1 to {PATH_DEPTH_MAX} names with dots, {TEXT_MAX} characters at most")
    if any(isinstance(value, str) and len(value) > TEXT_MAX for value in values):
        raise InvalidFilter(name, f"is compared with {TEXT_MAX} characters at most")
    return ArgFilter(names, values)


def _instant(given: str | float | datetime | None, name: str, service: Service) -> float | None:
    """Return an instant of the backend's clock."""
    if given is None:
        return None
    try:
        return unix_s_of(given) - ROUNDING_S - service.wall(0.0)
    except ValueError as fault:
        raise InvalidFilter(name, str(fault)) from None
