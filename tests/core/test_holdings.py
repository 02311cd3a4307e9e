"""Holdings of callers: which is the largest, and what is left of them once they hold nothing."""

from __future__ import annotations

from jobqueue.core.holdings import Holdings


def holds(holdings: Holdings, caller: str, records: int) -> None:
    """Give a caller terminal records, one by one, of 100 bytes each."""
    for _ in range(records):
        holdings.add(caller, 1, 100)
        holding = holdings.by_caller[caller]
        holding.terminal += 1
        holding.terminal_bytes += 100


def releases(holdings: Holdings, caller: str) -> None:
    holding = holdings.by_caller[caller]
    holdings.remove(holding, holding.records, holding.size_bytes)


def test_the_largest_holding_is_found_by_records_and_by_bytes() -> None:
    holdings = Holdings(jobs_max=100, bytes_max=10_000, failed_max=100)
    holds(holdings, "small", 20)
    holds(holdings, "large", 50)
    assert (largest := holdings.by_records.first()) is not None
    assert largest.caller == "large"
    assert holdings.by_bytes.first() is largest


def test_no_entry_outlives_the_last_record_of_all_callers() -> None:
    holdings = Holdings(jobs_max=100, bytes_max=10_000, failed_max=100)
    for caller in ("one", "other"):
        holds(holdings, caller, 40)
    releases(holdings, "one")
    assert holdings.by_records.ranked() == ["other"]
    releases(holdings, "other")
    assert holdings.by_records._heap == []
    assert holdings.by_bytes._heap == []
    holds(holdings, "one", 40)
    assert (largest := holdings.by_records.first()) is not None
    assert largest.caller == "one"
