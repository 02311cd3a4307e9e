"""The in-flight budget: accounting, rejections, and the choice of the share to cut."""

from __future__ import annotations

import pytest

from jobqueue.http.in_flight import FREED_SHARE, RATE_BYTES_S_MIN, SMALL_BYTES, STALLED_S, InFlightBudget, Share

BUDGET = 32 * SMALL_BYTES


class BudgetHarness:
    """A budget on a manual clock, and the names of the shares that were cut."""

    def __init__(self) -> None:
        self.now = 100.0
        self.budget = InFlightBudget(lambda: BUDGET, lambda: self.now)
        self.cut: list[str] = []

    def share(self, name: str, held_bytes: int = 0) -> Share:
        def cut() -> bool:
            self.cut.append(name)
            return True

        share = self.budget.share(cut)
        assert share.hold(held_bytes)
        return share


@pytest.fixture
def budgeted() -> BudgetHarness:
    return BudgetHarness()


def test_released_bytes_can_be_taken_again(budgeted: BudgetHarness) -> None:
    share = budgeted.share("a")
    assert share.take(BUDGET // 2)
    assert not budgeted.share("b").take(BUDGET // 4)
    share.give(BUDGET // 4)
    assert budgeted.share("b").take(BUDGET // 4)
    share.close()
    share.close()
    assert budgeted.budget.used_bytes == BUDGET // 4


def test_give_releases_at_most_the_held_bytes(budgeted: BudgetHarness) -> None:
    share = budgeted.share("a", 100)
    share.give(1000)
    assert (share.held_bytes, budgeted.budget.used_bytes) == (0, 0)


def test_hold_counts_received_bytes_even_over_the_budget(budgeted: BudgetHarness) -> None:
    share = budgeted.budget.share(lambda: True)
    assert not share.hold(2 * BUDGET)
    assert budgeted.budget.used_bytes == 2 * BUDGET
    assert share.hold(0)
    assert budgeted.budget.used_bytes == 0


def test_a_full_budget_cuts_the_longest_stalled_share_first(budgeted: BudgetHarness) -> None:
    budgeted.share("first", BUDGET // 4)
    budgeted.now += 0.1
    budgeted.share("second", BUDGET // 4)
    budgeted.now += STALLED_S
    assert budgeted.share("new").take(BUDGET // 4)
    assert budgeted.cut == ["first"]


def test_a_share_with_progress_is_not_cut_for_a_newer_one(budgeted: BudgetHarness) -> None:
    arriving = budgeted.share("arriving", BUDGET // 2)
    for _ in range(20):
        budgeted.now += STALLED_S / 2
        assert arriving.take(int(RATE_BYTES_S_MIN * STALLED_S))
    assert not budgeted.share("new").take(BUDGET // 2)
    assert budgeted.cut == []


def test_a_large_first_part_does_not_protect_a_share_that_stalls_later(budgeted: BudgetHarness) -> None:
    trickling = budgeted.share("trickling", BUDGET // 2)
    for _ in range(20):
        budgeted.now += 0.1
        assert trickling.take(1)
    assert budgeted.share("new").take(BUDGET // 2)
    assert budgeted.cut == ["trickling"]


def test_a_share_that_declines_the_cut_keeps_its_bytes(budgeted: BudgetHarness) -> None:
    share = budgeted.budget.share(lambda: False)
    share.hold(BUDGET // 2)
    budgeted.now += 2 * STALLED_S
    assert not budgeted.share("new").take(BUDGET // 2)
    assert share.held_bytes == BUDGET // 2


def test_large_bodies_leave_a_reserve_for_small_ones(budgeted: BudgetHarness) -> None:
    large = [budgeted.share("large") for _ in range(100)]
    assert sum(share.take(2 * SMALL_BYTES) for share in large) == BUDGET * 5 // 8 // (2 * SMALL_BYTES)
    assert budgeted.share("small").take(SMALL_BYTES)
    assert not budgeted.share("large").take(SMALL_BYTES + 1)


def test_a_long_upload_may_take_bytes_while_newer_uploads_are_rejected(budgeted: BudgetHarness) -> None:
    upload = budgeted.share("upload", 2 * SMALL_BYTES)
    upload.give(2 * SMALL_BYTES)
    while budgeted.share("newer").take(2 * SMALL_BYTES):
        pass
    assert upload.take(2 * SMALL_BYTES)
    upload.close()
    assert not upload.take(2 * SMALL_BYTES)


def test_a_cut_frees_a_fixed_share_of_the_budget(budgeted: BudgetHarness) -> None:
    for number in range(BUDGET // SMALL_BYTES):
        budgeted.share(str(number), SMALL_BYTES)
    budgeted.now += 2 * STALLED_S
    assert budgeted.share("new").take(1)
    assert budgeted.budget.used_bytes <= BUDGET - BUDGET // FREED_SHARE + 1


def test_an_empty_share_is_never_cut(budgeted: BudgetHarness) -> None:
    budgeted.share("idle", 100).close()
    budgeted.share("full", BUDGET // 2)
    budgeted.now += 2 * STALLED_S
    assert budgeted.share("new").take(BUDGET // 2)
    assert budgeted.cut == ["full"]


def test_unsuccessful_searches_for_a_stalled_share_are_rate_limited(budgeted: BudgetHarness) -> None:
    budgeted.share("full", BUDGET // 2)
    searches = 0

    class Counting(set[Share]):
        def __iter__(self):  # type: ignore[no-untyped-def]  # as in the base class
            nonlocal searches
            searches += 1
            return super().__iter__()

    budgeted.budget._holding = Counting(budgeted.budget._holding)
    assert not any(budgeted.share("new").take(BUDGET) for _ in range(1000))
    assert searches == 1
