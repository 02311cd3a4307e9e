"""Tests of recurrences: the instants of intervals and cron notations, beside a reference that looks at each minute."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.core.recurrence import BadRecurrence, Cron, Every

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_S = 86_400
BEGIN = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
YEARS = 3

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
"""An hour forward in spring, the same by night, half an hour, and 5:45 all year."""


def unix(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


def local(instant: float | None, zone: str) -> str:
    assert instant is not None
    return datetime.fromtimestamp(instant, ZoneInfo(zone)).isoformat(timespec="minutes")


def numbers(field: str, low: int, high: int) -> set[int]:
    """Return the values of a field of numbers, ranges, steps and lists; those of 7 are Sunday's, as 0."""
    found: set[int] = set()
    for term in field.split(","):
        span, _, step = term.partition("/")
        first, _, last = span.partition("-")
        bounds = (low, high) if span == "*" else (int(first), int(last or (high if step else first)))
        found |= set(range(bounds[0], bounds[1] + 1, int(step or 1)))
    return found


class Reference:
    """The instants of a notation, found by a look at each minute."""

    def __init__(self, notation: str) -> None:
        minute, hour, day, month, weekday = notation.split()
        self.minutes, self.hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
        self.days, self.months = numbers(day, 1, 31), numbers(month, 1, 12)
        self.weekdays = {number % 7 for number in numbers(weekday, 0, 7)}
        self.both_days = day.startswith("*") or weekday.startswith("*")
        self.is_fixed = not minute.startswith("*") and not hour.startswith("*")

    def matches(self, at: datetime) -> bool:
        of_month, of_week = at.day in self.days, at.isoweekday() % 7 in self.weekdays
        is_day = (of_month and of_week) if self.both_days else (of_month or of_week)
        return at.minute in self.minutes and at.hour in self.hours and at.month in self.months and is_day

    def comes(self, before: datetime, at: datetime) -> bool:
        """Whether an instant is at this minute. Args: before: The minute before it, on the same clock."""
        if not self.is_fixed:
            return self.matches(at)
        if at.hour == before.hour or (at.minute == 0 and at.hour == (before.hour + 1) % 24):
            return at.fold == 0 and self.matches(at)
        skipped = (at.replace(tzinfo=None) - before.replace(tzinfo=None)) // timedelta(minutes=1) - 1
        missed = (before.replace(tzinfo=None) + timedelta(minutes=1 + each) for each in range(max(0, skipped)))
        return (at.fold == 0 and self.matches(at)) or any(map(self.matches, missed))


def minutes(zone: ZoneInfo, begin: float, days: int) -> Iterator[tuple[float, datetime, datetime]]:
    """Yield each minute: its instant, the clock a minute before, and the clock."""
    before = datetime.fromtimestamp(begin, zone)
    for number in range(1, days * 1440):
        instant = begin + number * 60
        at = datetime.fromtimestamp(instant, zone)
        yield instant, before, at
        before = at


def drawn(rng: random.Random) -> str:
    """Return a notation that comes on most days, or only at some hours, often at those where clocks are changed."""

    def field(low: int, high: int, *usual: str) -> str:
        one, other = sorted(rng.sample(range(low, high + 1), 2))  # cronsim takes 5-5/2 for 5/2
        forms = ("*", f"*/{rng.randint(2, 9)}", f"{one}", f"{one}-{other}", f"{one},{other}", f"{one}-{other}/2")
        return rng.choice((*forms, *usual))

    minute, hour = field(0, 59, "0", "30", "0,30", "*/15"), field(0, 23, "0", "1", "2", "3", "1-3", "2,3")
    day, month = rng.choice(("*", "*", "*", field(1, 28))), rng.choice(("*", "*", "3,4,10,11", field(1, 12)))
    weekday = rng.choice(("*", "*", "0", "7", "1-5", "0,6", field(0, 6)))
    return f"{minute} {hour} {day} {month} {weekday}"


def found(cron: Cron, begin: float, end: float) -> list[float]:
    instants, instant = [], cron.after(begin)
    while instant is not None and instant < end:
        instants.append(instant)
        instant = cron.after(instant)
    return instants


def changes(zone: ZoneInfo) -> list[float]:
    """Return the beginning of the UTC day before each change of the zone's offset."""
    days = [BEGIN + number * DAY_S for number in range(YEARS * 365)]
    offsets = [datetime.fromtimestamp(day, zone).utcoffset() for day in days]
    return [days[number - 1] for number in range(1, len(days)) if offsets[number] != offsets[number - 1]]


@pytest.mark.parametrize("name", ZONES)
def test_cron_agrees_with_a_look_at_each_minute_around_changes_of_the_clock(name: str) -> None:
    zone, rng = ZoneInfo(name), random.Random(name)
    notations = [drawn(rng) for _ in range(60)]
    for begin in [*changes(zone)[:2], BEGIN + rng.randrange(1000) * DAY_S]:
        looked_at = list(minutes(zone, begin, 3))
        for notation in notations:
            reference = Reference(notation)
            expected = [instant for instant, before, at in looked_at if reference.comes(before, at)]
            assert found(Cron(notation, zone), begin, begin + 3 * DAY_S) == expected, notation


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ZONES)
def test_cron_agrees_with_a_look_at_each_minute_of_three_years(name: str) -> None:
    zone, rng = ZoneInfo(name), random.Random(name)
    notations = [drawn(rng) for _ in range(20)]
    days = 73  # of a part: 15 are three years
    for begin in range(int(BEGIN), int(BEGIN) + YEARS * 365 * DAY_S, days * DAY_S):
        looked_at = list(minutes(zone, begin, days))
        for notation in notations:
            reference = Reference(notation)
            expected = [instant for instant, before, at in looked_at if reference.comes(before, at)]
            assert found(Cron(notation, zone), begin, begin + days * DAY_S) == expected, notation


def test_a_time_that_the_clock_skips_comes_when_the_gap_ends() -> None:
    cron = Cron("30 2 * * *", ZoneInfo("Europe/Berlin"))
    first = cron.after(unix("2026-03-28T12:00"))
    assert local(first, "Europe/Berlin") == "2026-03-29T03:00+02:00"
    assert local(cron.after(first or 0.0), "Europe/Berlin") == "2026-03-30T02:30+02:00"


def test_a_time_that_the_clock_shows_twice_comes_the_first_time_only() -> None:
    cron = Cron("30 2 * * *", ZoneInfo("Europe/Berlin"))
    first = cron.after(unix("2026-10-24T12:00"))
    assert local(first, "Europe/Berlin") == "2026-10-25T02:30+02:00"
    assert local(cron.after(first or 0.0), "Europe/Berlin") == "2026-10-26T02:30+01:00"


def test_a_cron_of_each_hour_keeps_its_rate_through_changes_of_the_clock() -> None:
    cron = Cron("0 * * * *", ZoneInfo("Europe/Berlin"))
    for begin in (unix("2026-03-28T22:30"), unix("2026-10-24T22:30")):
        instants = found(cron, begin, begin + 6 * 3600)
        assert [later - earlier for earlier, later in itertools.pairwise(instants)] == [3600.0] * 5


def test_elapsed_time_has_no_instant_in_the_skipped_hour_and_each_twice_in_the_doubled_one() -> None:
    cron, day = Cron("*/20 2 * * *", ZoneInfo("Europe/Berlin")), DAY_S
    assert found(cron, unix("2026-03-29T00:00"), unix("2026-03-29T00:00") + 6 * 3600) == []
    assert len(found(cron, unix("2026-10-24T22:00"), unix("2026-10-24T22:00") + day)) == 6


@pytest.mark.parametrize(
    ("notation", "told"),
    [
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6,9,11 *", "never comes"),
        ("* * * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("@daily", "five fields"),
        ("", "five fields"),
        ("61 * * * *", "bad minute"),
        ("* * 32 * *", "bad day-of-month"),
        ("* * 31 13 *", "bad month"),
        ("*/0 * * * *", "bad minute"),
        ("* * * * FRI-MON", "bad day-of-week"),
        (f"{'0,' * 60}0 * * * *", "five fields"),
        ("\u0661 * * * *", "five fields"),
    ],
)
def test_a_notation_without_a_meaning_or_an_instant_is_refused(notation: str, told: str) -> None:
    with pytest.raises(BadRecurrence, match=told):
        Cron(notation, UTC)


@given(st.text(alphabet="0123456789*/,-#LWSUN ", max_size=40))
def test_any_text_is_a_notation_or_is_refused(text: str) -> None:
    try:
        first = Cron(text, UTC).after(BEGIN)
    except BadRecurrence:
        return
    assert first is None or first > BEGIN


@pytest.mark.parametrize("interval_s", [0, -60, 0.5, 1.5, float("nan"), float("inf"), 366 * DAY_S + 1])
def test_an_interval_that_is_none_is_refused(interval_s: float) -> None:
    with pytest.raises(BadRecurrence, match="whole number of seconds"):
        Every(interval_s)


@given(st.integers(1, 366 * DAY_S), st.floats(0, 4e9))
def test_the_instants_of_an_interval_are_its_multiples(interval_s: int, instant: float) -> None:
    after = Every(interval_s).after(instant)
    assert after > instant >= after - interval_s
    assert after % interval_s == 0
    assert Every(interval_s).latest(after, after + 10.5 * interval_s) == after + 10 * interval_s


@pytest.mark.parametrize("notation", ["* * * 1 *", "0 3 * * *", "*/7 * * * *", "0 0 29 2 *", "30 2 * * SUN"])
def test_the_latest_instant_is_that_after_which_none_has_come(notation: str) -> None:
    cron = Cron(notation, ZoneInfo("Europe/Berlin"))
    first = cron.after(BEGIN - 5 * 365 * DAY_S) or 0.0
    for until in (BEGIN + 0.5, BEGIN + 123_456.0, unix("2026-10-25T00:45")):
        latest = cron.latest(first, until)
        assert latest <= until < (cron.after(latest) or 0.0)
