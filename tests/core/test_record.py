"""Records: the same in both forms of the package."""

from __future__ import annotations

import msgspec
import pytest

from jobqueue.build import build
from jobqueue.core.job import Job, JobSpec, Lease
from jobqueue.core.job_extras import Extras
from jobqueue.core.record import changed
from jobqueue.core.submit import SubmitResult

SPEC = JobSpec(type="t", priority=3)


def test_a_changed_copy_has_the_other_fields_of_its_record() -> None:
    assert changed(SPEC, own=True, ttl_s=2.0) == JobSpec(type="t", priority=3, own=True, ttl_s=2.0)
    assert JobSpec(type="t", priority=3) == SPEC, "the record itself is never changed"


def test_a_copy_of_a_mutable_record_is_a_record_of_its_own() -> None:
    extras = Extras(held_bytes=3)
    copy = changed(extras)
    extras.held_bytes = 4
    assert (copy, extras) == (Extras(held_bytes=3), Extras(held_bytes=4))


@pytest.mark.skipif(build() == "compiled", reason="a native object can be changed")
@pytest.mark.parametrize(("record", "field"), [(SPEC, "own"), (SubmitResult(SPEC, True), "job")])
def test_a_record_in_pure_python_is_never_changed(record: object, field: str) -> None:
    with pytest.raises(AttributeError, match="immutable type"):
        setattr(record, field, None)


@pytest.mark.skipif(build() == "compiled", reason="a native class is called in C")
@pytest.mark.parametrize("of", [Extras, Job, JobSpec, Lease, SubmitResult])
def test_a_record_in_pure_python_is_called_as_quickly_as_any_struct(of: type) -> None:
    assert type(of) is type(msgspec.Struct)


def test_records_of_different_types_are_never_equal() -> None:
    assert Lease("j", 1, SPEC, b"{}", None) != SPEC
