"""Submissions of children: the jobs that a handler submits while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from jobqueue.api_limits import KEY_LENGTH_MAX
from jobqueue.errors import InvalidField, InvalidSubmission
from jobqueue.handlers.options import refuse_unknown
from jobqueue.handlers.submission import Name, Submission, check_texts
from jobqueue.handlers.validation import field_of

if TYPE_CHECKING:
    from collections.abc import Mapping

ChildKey = Annotated[str, msgspec.Meta(pattern=rf"^[ -~]{{1,{KEY_LENGTH_MAX}}}$")]


class ChildSubmission(Submission, forbid_unknown_fields=True, kw_only=True):
    """A submission from within an attempt.

    Attributes:
        name: Its name in the flow of the job that submits it.
        key: Repeated attempts of that job submit one job under it.
    """

    name: Name | None = None
    key: ChildKey | None = None


def child_of(fields: Mapping[str, Any]) -> ChildSubmission:
    """Make a child's submission of Python values, with its arguments as JSON.

    Raises:
        InvalidSubmission: A value is none that the field has.
        TypeError: There is no such option.
    """
    given = dict(fields)
    args = given.pop("args")
    refuse_unknown("submit", given, ChildSubmission.__struct_fields__)
    try:
        child = msgspec.convert(given, ChildSubmission)
    except msgspec.ValidationError as fault:
        raise InvalidSubmission(field_of(fault)) from None
    check_texts(child)
    child.args = msgspec.Raw(args)
    if child.key is not None and child.unique is not None:
        raise InvalidSubmission(InvalidField(pointer="/unique", detail="give a key or a unique value, not both"))
    return child
