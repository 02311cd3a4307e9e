"""Waits for what is kept: their order, their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.backend.journal.kept_waits import KeptWaits
from jobqueue.backend.journal.trouble import failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.errors import JournalFailed


def made(report: Callable[[dict[str, Any]], None] = lambda context: None) -> KeptWaits:
    """Return waits in which a list is begun whenever that is possible."""

    def begin(tell: Callable[[list[Any], JournalFailed | None], None]) -> list[Any]:
        begun = waits.begin_together(tell)
        assert begun is not None
        return begun

    waits = KeptWaits(report, begin)
    return waits


def test_waits_end_in_their_order_up_to_the_number_that_is_kept() -> None:
    ended: list[int] = []
    waits = made()
    for count in (1, 2, 2, 5):
        waits.add((count, lambda error, count=count: ended.append(count)))  # type: ignore[misc]  # mypy infers no type for such a default
    waits.end_up_to(2)
    assert (ended, len(waits)) == ([1, 2, 2], 1)
    waits.end_up_to(4)
    assert (ended, len(waits)) == ([1, 2, 2], 1)


def test_an_error_of_one_wait_does_not_reach_the_others() -> None:
    reported: list[dict[str, Any]] = []
    ended: list[object] = []
    waits = made(reported.append)
    waits.add((1, lambda error: 1 / 0))  # type: ignore[arg-type]  # it raises, and returns nothing
    waits.add((1, ended.append))
    waits.end_up_to(1)
    assert ended == [None]
    assert [type(each["exception"]) for each in reported] == [ZeroDivisionError]


def test_waits_that_fail_get_an_error_each() -> None:
    errors: list[object] = []
    waits = made()
    waits.add((1, errors.append))
    waits.add((2, errors.append))
    waits.fail(lambda: failure("the disk is gone"))
    assert [str(error) for error in errors] == ["the disk is gone"] * 2
    assert errors[0] is not errors[1], "a traceback would grow with every raise"
    assert not waits


def test_a_wait_that_begins_while_all_fail_stays() -> None:
    waits = made()
    waits.add((1, lambda error: waits.add((2, lambda error: None))))
    waits.fail(lambda: failure("the disk is gone"))
    assert len(waits) == 1


def test_waits_of_one_list_end_together_with_its_last_record() -> None:
    told: list[tuple[list[str], object]] = []
    waits = made()

    def tell(waiting: list[str], error: object) -> None:
        told.append((waiting, error))

    first = waits.together(tell)
    first.append("one")
    assert waits.together(tell) is first
    first.append("two")
    waits.end_together(7)
    second = waits.together(tell)
    assert second is not first, "what comes now waits for what gathers next"
    second.append("three")
    assert len(waits) == 3
    waits.end_up_to(6)
    assert told == []
    waits.end_up_to(7)
    assert (told, len(waits)) == ([(["one", "two"], None)], 1)
    waits.fail(lambda: failure("the disk is gone"))
    assert (told[1][0], str(told[1][1]), len(waits)) == (["three"], "the disk is gone", 0)


def test_a_second_list_begins_once_the_first_has_ended() -> None:
    waits = made()
    tells = [lambda waiting, error: None for _ in range(2)]
    assert waits.begin_together(tells[0]) is not None
    assert waits.begin_together(tells[1]) is None
    waits.end_together(1)
    assert waits.begin_together(tells[1]) is not None
