"""Records: the same in both forms of the package."""

from __future__ import annotations

from jobqueue.core.job import Extras, JobSpec, Lease
from jobqueue.core.record import changed

SPEC = JobSpec(type="t", priority=3)


def test_a_changed_copy_has_the_other_fields_of_its_record() -> None:
    assert changed(SPEC, own=True, ttl_s=2.0) == JobSpec(type="t", priority=3, own=True, ttl_s=2.0)
    assert JobSpec(type="t", priority=3) == SPEC, "the record itself is never changed"


def test_a_copy_of_a_mutable_record_is_a_record_of_its_own() -> None:
    extras = Extras(held_bytes=3)
    copy = changed(extras)
    extras.held_bytes = 4
    assert (copy, extras) == (Extras(held_bytes=3), Extras(held_bytes=4))


def test_records_of_different_types_are_never_equal() -> None:
    assert Lease("j", 1, SPEC, b"{}", None) != SPEC
