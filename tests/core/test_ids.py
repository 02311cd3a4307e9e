from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.ids import ALPHABET, ID_LENGTH, RUNS, SKIPPED, IdIssuer, Origin, _check, _number

SECRET = b"0123456789abcdef"


def issuer(run: int = RUNS[7], secret: bytes = SECRET) -> IdIssuer:
    return IdIssuer(secret=secret, run=run)


def test_ids_have_22_url_safe_characters() -> None:
    ids = issuer()
    for _ in range(200):
        job_id = ids.issue()
        assert len(job_id) == ID_LENGTH == 22
        assert set(job_id) <= set(ALPHABET)


def test_ids_are_unique_and_sort_in_the_order_of_issue() -> None:
    ids = issuer()
    issued = [ids.issue() for _ in range(10_000)]
    assert issued == sorted(set(issued))


def test_ids_number_jobs_without_gaps() -> None:
    ids = issuer()
    numbers = [_number(ids.issue()[3:10]) for _ in range(200)]
    assert numbers == list(range(numbers[0], numbers[0] + 200))


def test_an_issued_id_belongs_to_this_run() -> None:
    ids = issuer()
    assert all(ids.origin(ids.issue()) is Origin.THIS_RUN for _ in range(300))


def test_an_id_of_the_future_was_never_issued() -> None:
    ahead, ids = issuer(), issuer()
    to_come = [ahead.issue() for _ in range(200)]
    assert all(ids.origin(job_id) is Origin.NEVER for job_id in to_come)
    for job_id in to_come:
        assert ids.origin(job_id) is Origin.NEVER
        ids.issue()
        assert ids.origin(job_id) is Origin.THIS_RUN


def test_an_owned_id_is_of_this_run_for_its_owner_and_for_all_owners_alone() -> None:
    ids = issuer()
    owned = [ids.issue("ann") for _ in range(300)]
    assert owned == sorted(set(owned))
    assert all(ids.origin(job_id, "ann") is ids.origin(job_id) is Origin.THIS_RUN for job_id in owned)
    assert sum(ids.origin(job_id, "bob") is Origin.THIS_RUN for job_id in owned) <= 2  # 12 bits
    free = [ids.issue() for _ in range(300)]
    assert all(ids.origin(job_id) is Origin.THIS_RUN for job_id in free)
    assert sum(ids.origin(job_id, "ann") is Origin.THIS_RUN for job_id in free) <= 2


def test_an_owned_id_with_another_tag_was_never_issued() -> None:
    ids, other = issuer(), issuer(secret=b"another secret!!")
    own, forged = ids.issue("ann"), other.issue("ann")
    assert own[:10] == forged[:10]
    assert ids.origin(forged, "ann") is ids.origin(forged) is Origin.NEVER


def test_an_owned_id_of_an_earlier_run_is_recognised_for_its_owner() -> None:
    later = issuer(run=RUNS[8])
    owned = [issuer().issue("ann") for _ in range(1)] + [issuer(secret=bytes([n]) * 16).issue("ann") for n in range(50)]
    assert all(later.origin(job_id, "ann") is Origin.EARLIER_RUN for job_id in owned)
    assert sum(later.origin(job_id, "bob") is Origin.EARLIER_RUN for job_id in owned) <= 2


def test_an_id_with_a_wrong_check_is_of_no_run_while_no_id_has_an_owner() -> None:
    ids = issuer()
    job_id = ids.issue()
    changed = job_id[:-1] + ("0" if job_id[-1] != "0" else "1")
    assert ids.origin(changed) is Origin.NEVER


def test_an_id_of_an_earlier_run_is_recognised() -> None:
    assert issuer(run=RUNS[8], secret=b"another secret!!").origin(issuer().issue()) is Origin.EARLIER_RUN


@given(st.integers(0, 300), st.integers(0, ID_LENGTH - 1), st.sampled_from(ALPHABET))
def test_an_id_with_a_changed_character_is_not_of_this_run(skip: int, place: int, character: str) -> None:
    ids = issuer()
    for _ in range(skip):
        ids.issue()
    job_id = ids.issue()
    forged = job_id[:place] + character + job_id[place + 1 :]
    if forged != job_id:
        assert ids.origin(forged) is not Origin.THIS_RUN


def test_an_id_forged_without_the_secret_was_never_issued() -> None:
    ids, forger = issuer(), issuer(secret=b"a guessed secret")
    for _ in range(100):
        ids.issue()
        assert ids.origin(forger.issue()) is Origin.NEVER


@given(st.text(max_size=40))
def test_arbitrary_text_was_never_issued(text: str) -> None:
    assert issuer().origin(text) is Origin.NEVER


def test_random_text_rarely_passes_for_an_earlier_run() -> None:
    import random

    rng = random.Random(1)
    ids = issuer()
    noise = ["".join(rng.choices(ALPHABET, k=ID_LENGTH)) for _ in range(40_000)]
    mistaken = sum(ids.origin(text) is Origin.EARLIER_RUN for text in noise)
    assert mistaken < 40  # one in 4,096 is about 10


def test_a_short_secret_raises_an_error() -> None:
    with pytest.raises(ValueError, match="at least 16 bytes"):
        issuer(secret=b"short")


def test_a_run_number_out_of_range_raises_an_error() -> None:
    for run in (-1, 0, RUNS[0] - 1, RUNS[-1] + 1):
        with pytest.raises(ValueError, match="the run of job ids is in"):
            issuer(run=run)


def test_the_first_id_of_a_run_starts_without_a_dash() -> None:
    for run in (RUNS[0], RUNS[-1]):
        job_id = issuer(run=run).issue()
        assert not job_id.startswith("-")
        assert job_id[3:9] == "000000"


def test_an_id_numbered_before_the_first_was_never_issued() -> None:
    ids = issuer()
    ids.issue()
    forged = ids._run + "------5" + "0" * 10
    assert ids.origin(forged + _check(forged)) is Origin.NEVER


# A run that goes on in the next process


def gone_on(ids: IdIssuer, position: str = "") -> IdIssuer:
    later = issuer()
    later.go_on(position or ids.position, has_owners=ids.has_owners)
    return later


@pytest.mark.parametrize("issued", [0, 1, 63, 64, 65, 1000])
def test_a_run_that_goes_on_issues_new_ids_in_order(issued: int) -> None:
    ids = issuer()
    before = [ids.issue() for _ in range(issued)]
    later = gone_on(ids)
    after = [later.issue() for _ in range(200)]
    assert before + after == sorted({*before, *after})
    assert all(later.origin(job_id) is Origin.THIS_RUN for job_id in before + after)


def test_ids_that_were_issued_without_a_surviving_record_are_never_issued_again() -> None:
    ids = issuer()
    position = ids.position
    lost = [ids.issue() for _ in range(SKIPPED * 64)]
    later = gone_on(ids, position)
    assert later.issue() > lost[-1]
    assert all(later.origin(job_id) is Origin.THIS_RUN for job_id in lost[:: 64 * 100])


def test_an_id_of_the_future_is_unknown_to_a_run_that_goes_on() -> None:
    ids = issuer()
    ids.issue()
    later, ahead = gone_on(ids), gone_on(ids)
    assert all(later.origin(ahead.issue()) is Origin.NEVER for _ in range(100))


def test_a_position_lies_between_the_issued_ids_and_the_next_one() -> None:
    ids = issuer()
    last = ""
    for _ in range(200):
        position = ids.position
        job_id = ids.issue()
        assert last < position <= job_id
        last = job_id


def test_owned_ids_of_the_earlier_process_are_known_by_all_owners_alone() -> None:
    ids = issuer()
    owned = ids.issue("ann")
    later = gone_on(ids)
    assert later.has_owners
    assert later.origin(owned, "ann") is later.origin(owned) is Origin.THIS_RUN
    assert later.origin(owned, "bob") is Origin.NEVER


@pytest.mark.parametrize("position", ["abc0000000", "x", "0"])
def test_a_position_of_another_run_is_refused(position: str) -> None:
    with pytest.raises(ValueError, match="begins with it"):
        gone_on(issuer(), position)
