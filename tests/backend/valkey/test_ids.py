"""Ids that several processes of one deployment issue."""

from __future__ import annotations

import pytest

from jobqueue.backend.valkey.ids import FleetIds
from jobqueue.core.ids import RUNS, Origin

SECRET, OTHER = b"0123456789abcdef" * 2, b"another secret!!" * 2


def test_each_process_knows_the_ids_of_all() -> None:
    first, second = FleetIds(SECRET, RUNS[0]), FleetIds(SECRET, RUNS[1])
    for ids in (first, second):
        for issuer in (first, second):
            assert ids.origin(issuer.issue()) is Origin.THIS_RUN
            assert ids.origin(issuer.issue("ann")) is Origin.THIS_RUN


def test_an_id_has_an_owner() -> None:
    first, second = FleetIds(SECRET, RUNS[0]), FleetIds(SECRET, RUNS[1])
    job_ids = [first.issue("ann") for _ in range(50)]
    assert all(second.origin(job_id, "ann") is Origin.THIS_RUN for job_id in job_ids)
    assert sum(second.origin(job_id, "bob") is not Origin.NEVER for job_id in job_ids) <= 2


def test_ids_of_one_process_do_not_tell_those_of_another() -> None:
    first, second = FleetIds(SECRET, RUNS[0]), FleetIds(SECRET, RUNS[1])
    for _ in range(70):
        known, secret = first.issue(), second.issue()
        assert known[3:10] == secret[3:10], "the same number"
        assert known[10:20] != secret[10:20]


def test_an_id_of_an_earlier_deployment_differs_from_noise() -> None:
    ids = FleetIds(SECRET, RUNS[0])
    job_id = FleetIds(OTHER, RUNS[0]).issue()
    assert ids.origin(job_id) is Origin.EARLIER_RUN
    changed = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")
    assert ids.origin(changed) is Origin.NEVER


@pytest.mark.parametrize("text", ["", "x", "z" * 22, "-" * 22, "0" * 23])
def test_other_texts_were_never_issued(text: str) -> None:
    assert FleetIds(SECRET, RUNS[0]).origin(text) is Origin.NEVER


def test_ids_that_may_exist_are_those_of_their_owner() -> None:
    ids = FleetIds(SECRET, RUNS[0])
    free, own = [ids.issue() for _ in range(20)], [ids.issue("ann") for _ in range(20)]
    assert all(ids.may_exist(job_id) for job_id in (*free, *own))
    assert all(ids.may_exist(job_id, "ann") for job_id in own)
    assert sum(ids.may_exist(job_id, "bob") for job_id in (*free, *own)) <= 1
    assert not any(ids.may_exist(text) for text in ("", "x", "z" * 22, "0" * 23))
