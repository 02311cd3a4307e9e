from __future__ import annotations

from jobqueue.core.backoff import Backoff
from jobqueue.core.job import JobSpec
from jobqueue.core.policy import Limits
from jobqueue.core.record import changed
from jobqueue.handlers.restored_spec import restored_spec

DEFAULT = JobSpec(
    type="t", timeout_s=20.0, attempts_max=3, pool="thread", limits=Limits(concurrency=1), backoff=Backoff()
)


def test_a_job_of_default_options_shares_the_spec_of_its_handler() -> None:
    stored = JobSpec(type="t", timeout_s=10.0, attempts_max=3)
    assert restored_spec(stored, DEFAULT) is DEFAULT


def test_options_of_the_submission_stay_and_the_rest_is_of_the_handler() -> None:
    stored = JobSpec(type="t", queue="other", priority=3, timeout_s=5.0, own_timeout=True, own=True, ttl_s=7.0)
    assert restored_spec(stored, DEFAULT) == changed(
        stored, pool=DEFAULT.pool, limits=DEFAULT.limits, backoff=DEFAULT.backoff
    )


def test_a_shorter_timeout_of_the_handler_holds_for_jobs_without_one_of_their_own() -> None:
    stored = JobSpec(type="t", timeout_s=30.0, attempts_max=3, priority=1, own=True)
    assert restored_spec(stored, DEFAULT).timeout_s == 20.0


def test_a_spec_without_a_handler_stays_as_it_is() -> None:
    stored = JobSpec(type="gone", priority=3, own=True)
    assert restored_spec(stored, None) is stored
