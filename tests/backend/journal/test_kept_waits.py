"""Waits for what is kept: their order, their errors."""

from __future__ import annotations

from jobqueue.backend.journal.kept_waits import KeptWaits
from jobqueue.backend.journal.trouble import failure


def test_waits_end_in_their_order_up_to_the_number_that_is_kept() -> None:
    ended: list[int] = []
    waits = KeptWaits(lambda raised: None)
    for count in (1, 2, 2, 5):
        waits.add((count, lambda error, count=count: ended.append(count)))  # type: ignore[misc]  # mypy infers no type for such a default
    waits.end_up_to(2)
    assert (ended, len(waits)) == ([1, 2, 2], 1)
    waits.end_up_to(4)
    assert (ended, len(waits)) == ([1, 2, 2], 1)


def test_an_error_of_one_wait_does_not_reach_the_others() -> None:
    raised: list[Exception] = []
    ended: list[object] = []
    waits = KeptWaits(raised.append)
    waits.add((1, lambda error: 1 / 0))  # type: ignore[arg-type]  # it raises, and returns nothing
    waits.add((1, ended.append))
    waits.end_up_to(1)
    assert ended == [None]
    assert [type(each) for each in raised] == [ZeroDivisionError]


def test_waits_that_fail_get_an_error_each() -> None:
    errors: list[object] = []
    waits = KeptWaits(lambda raised: None)
    waits.add((1, errors.append))
    waits.add((2, errors.append))
    waits.fail(lambda: failure("the disk is gone"))
    assert [str(error) for error in errors] == ["the disk is gone"] * 2
    assert errors[0] is not errors[1], "a traceback would grow with every raise"
    assert not waits


def test_a_wait_that_begins_while_all_fail_stays() -> None:
    waits = KeptWaits(lambda raised: None)
    waits.add((1, lambda error: waits.add((2, lambda error: None))))
    waits.fail(lambda: failure("the disk is gone"))
    assert len(waits) == 1
