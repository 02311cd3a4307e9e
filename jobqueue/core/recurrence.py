"""Recurrences: the instants of a schedule, in Unix seconds.

Rules:

1. An instant depends on the notation alone, never on a start or on the process: servers that share a store, and the
   next process after a restart, find the same ones.
2. `Every`: the multiples of the interval since the Unix epoch. An interval of a day is midnight UTC.
3. `Cron`: cronsim reads the notation, on the face of a clock. Where a time zone changes its offset, the rules are those
   of Debian's cron: a time of day that is skipped comes when the gap ends, one that is doubled comes once, the first
   time. Where the field of the minute or of the hour begins with `*`, the instants are those of elapsed time: none in
   the skipped hour, twice as many in the doubled one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Protocol

from jobqueue.extras import extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import tzinfo

CHANGE_S_MAX: Final = 3 * 3600.0
"""The most by which a zone sets its clock back."""

MINUTE: Final = timedelta(minutes=1)

INTERVAL_S_MIN: Final = 1
INTERVAL_S_MAX: Final = 366 * 86_400

NOTATION_LENGTH_MAX: Final = 100
"""Characters of a cron notation: its terms are nested no deeper than that."""

ZONE_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_+/-]{0,63}$"
"""The name of a time zone, as a regular expression."""

CRON_EXPECTED: Final = "five fields, minute hour day month weekday, such as '0 3 * * *' or '*/15 8-18 * * MON-FRI'"


class BadRecurrence(ValueError):
    """A notation that has no meaning, or no instant."""


class _Unreadable(ValueError):
    """A notation that cronsim can't read, in its words."""


class Recurrence(Protocol):
    """The instants of a schedule."""

    def after(self, instant: float) -> float | None:
        """Return the first instant after this one; None: there is none within fifty years."""
        ...

    def latest(self, first: float, until: float) -> float:
        """Return the last instant up to `until`. Args: first: An instant up to it."""
        ...


class Every:
    """One instant an interval.

    Args:
        interval_s: Whole seconds, 1 to 366 days.

    Raises:
        BadRecurrence
    """

    def __init__(self, interval_s: float) -> None:
        if not INTERVAL_S_MIN <= interval_s <= INTERVAL_S_MAX or interval_s != int(interval_s):
            raise BadRecurrence(f"an interval is a whole number of seconds from 1 to 366 days, not {interval_s:g} s")
        self.interval_s = int(interval_s)

    def after(self, instant: float) -> float:
        return (instant // self.interval_s + 1) * self.interval_s

    def latest(self, first: float, until: float) -> float:
        return until // self.interval_s * self.interval_s


class Cron:
    """The instants of a cron notation in a time zone.

    Args:
        notation: Five fields: minute, hour, day of the month, month, day of the week.
        zone: The time zone of their clock.

    Raises:
        BadRecurrence: The notation can't be read, or has no instant.
    """

    def __init__(self, notation: str, zone: tzinfo) -> None:
        if len(notation) > NOTATION_LENGTH_MAX or len(notation.split()) != 5 or not notation.isascii():
            raise BadRecurrence(f"a cron notation is {CRON_EXPECTED}")
        minute, hour, *_ = notation.split()
        self.notation, self._zone = notation, zone
        self._follows_clock = not minute.startswith("*") and not hour.startswith("*")
        try:
            never = self.after(0.0) is None
        except _Unreadable as error:
            # cronsim finds that no month has a day, and calls the field bad.
            if str(error) == "Bad day-of-month" and _is_read_without_months(notation):
                never = True
            else:
                fault = str(error)[:1].lower() + str(error)[1:]
                raise BadRecurrence(f"{fault}: a cron notation is {CRON_EXPECTED}") from None
        if never:
            raise BadRecurrence("it never comes: no month that it names has such a day")

    def after(self, instant: float) -> float | None:
        face, set_back = self._face(instant), timedelta(0)
        if not self._follows_clock:  # else a face that is shown again has had its instant
            later_s = CHANGE_S_MAX - (self._face(instant + CHANGE_S_MAX) - face).total_seconds()
            set_back = timedelta(seconds=max(0.0, later_s))
        best: float | None = None
        for shown in _faces(self.notation, face - set_back):
            for found in self._instants(shown):
                if found > instant and (best is None or found < best):
                    best = found
            # Faces in order have their first instants in order.
            if best is not None and (not set_back or shown > face + set_back):
                return best
        return best

    def _face(self, instant: float) -> datetime:
        """Return what the clock shows at an instant."""
        return datetime.fromtimestamp(instant, self._zone).replace(tzinfo=None)

    def _instants(self, shown: datetime) -> tuple[float, ...]:
        """Return the instants of what the clock shows, in order."""
        first = shown.replace(tzinfo=self._zone, fold=0).timestamp()
        if self._face(first) == shown:
            again = shown.replace(tzinfo=self._zone, fold=1).timestamp()
            return (first,) if self._follows_clock or again == first else (first, again)
        if not self._follows_clock:
            return ()
        while self._face(first := shown.replace(tzinfo=self._zone, fold=0).timestamp()) != shown:
            shown += MINUTE
        return (first,)

    def latest(self, first: float, until: float) -> float:
        last, beyond = first, until
        while beyond - last > 60.0:  # instants are whole minutes
            middle = (last + beyond) / 2
            found = self.after(middle)
            if found is not None and found <= until:
                last = found
            else:
                beyond = middle
        found = self.after(last)
        return last if found is None or found > until else found


def _faces(notation: str, after: datetime) -> Iterator[datetime]:
    """Return what the clock shows whenever a notation comes. Raises _Unreadable."""
    with extra("server", "a cron notation"):
        from cronsim import CronSim, CronSimError  # here, since settings and clients need no extra
    try:
        return CronSim(notation, after)
    except CronSimError as error:
        raise _Unreadable(str(error)) from None


def _is_read_without_months(notation: str) -> bool:
    """Whether a notation can be read once it names every month."""
    minute, hour, day, _, weekday = notation.split()
    try:
        _faces(f"{minute} {hour} {day} * {weekday}", datetime(2000, 1, 1))
    except _Unreadable:
        return False
    return True
