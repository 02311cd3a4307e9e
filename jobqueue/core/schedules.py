"""Schedules: which of them are due, and what follows from the outcome of their ticks. Synchronous and pure.

Rules:

1. Each instant has one tick at most. A tick is handed out by `take`, once, and its schedule gives no further one until
   its outcomes are told (`settle`).
2. A tick whose submission was rejected stays due: it is tried again after the time that the rejection names, as an
   instant that has passed, so that `catch_up` decides what becomes of it when the next one has come.
3. An instant counts as passed if another one has come since, or with `catch_up: none` after `LATE_S`.
4. The wall clock may be set. Forward, its instants have passed. Back, intervals begin anew; a cron notation waits until
   the clock is where it was, unless it was set back by more than `SET_BACK_S_MAX`. The same holds over a restart.
5. `take` does a bounded portion of work, however many are due.
"""

from __future__ import annotations

import heapq
from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from jobqueue.core.job import JobId
from jobqueue.core.recurrence import Every
from jobqueue.core.schedule import LastTick, Plan, Schedule, SchedulePause
from jobqueue.core.schedule_counts import ScheduleCounts, ScheduleFigures
from jobqueue.core.schedule_troubles import ScheduleTroubles, Trouble, TroubleKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from random import Random

    from jobqueue.core.schedule import ScheduleId

LATE_S: Final = 60.0
"""How late a tick may be for `catch_up: none`, and without being a trouble: more than a busy loop takes, less than a
restart."""

CATCH_UP_MAX: Final = 100
"""Ticks of one schedule at once with `catch_up: all`; the instants after them are missed. Also those that are counted
as missed at once."""

RETRY_S_MIN: Final = 1.0
RETRY_S_MAX: Final = 60.0
"""Bounds of the wait before a rejected tick is tried again."""

SET_BACK_S_MIN: Final = 1.0
"""Least seconds by which a wall clock that is set back concerns schedules."""

SET_BACK_S_MAX: Final = 3 * 3600.0
"""What Debian's cron takes for a correction of the clock, as at a change to winter time."""

LISTED_MAX: Final = 50
"""Troubles that are listed one by one; all are counted."""

LISTED_OF_OWNER_MAX: Final = 10
"""Those of the schedules of one owner."""

WORK: Final = 64
"""Instants that one `take` looks for, some 30 µs each."""


class Due(msgspec.Struct, frozen=True, kw_only=True):
    """The ticks of a schedule that are due.

    Attributes:
        instants: In order; at least one.
        plan: That of the schedule when they were handed out.
        following: The next instant after all that have come; None: there is none.
    """

    schedule: Schedule
    plan: Plan
    instants: tuple[float, ...]
    following: float | None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a tick.

    Attributes:
        job_id: Its job; None: it has none.
        elsewhere: Another server, or the process before, has submitted that one.
        error: Why it was rejected; None: it was not.
        retry_after_s: Seconds after which it is tried again; None: it is not.
    """

    job_id: JobId | None = None
    elsewhere: bool = False
    error: str | None = None
    retry_after_s: float | None = None


class Schedules:
    """All schedules of a process, in the order of their next ticks.

    Args:
        rng: Draws the jitter.
        reach_back_s: Instants longer ago are missed, whatever `catch_up` says; None: they are not.

    Attributes:
        counts: Those of all schedules since the start.
    """

    def __init__(self, rng: Random, *, reach_back_s: float | None = None) -> None:
        self._rng = rng
        self._reach_back_s = reach_back_s
        self._all: dict[ScheduleId, Schedule] = {}
        self._waiting: list[tuple[float, int, Schedule]] = []
        self._orders = 0
        self.counts = ScheduleCounts()
        self._troubles = ScheduleTroubles()

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Schedule]:
        return iter(self._all.values())

    def figures(self, now: float) -> ScheduleFigures:
        """Return what is shown of all schedules together."""
        paused = sum(1 for schedule in self if schedule.pause is not None)
        troubled, listed, listed_of = Counter[TroubleKind](), list[Trouble](), Counter[str]()
        for trouble in self._troubles.current(now):
            troubled[trouble.kind] += 1
            owner = trouble.schedule[0]
            if len(listed) < LISTED_MAX and (owner is None or listed_of[owner] < LISTED_OF_OWNER_MAX):
                listed.append(msgspec.structs.replace(trouble))
                if owner is not None:
                    listed_of[owner] += 1
        return ScheduleFigures(
            schedules=len(self._all), paused=paused, counts=self.counts, troubled=troubled, troubles=listed
        )

    def get(self, id: ScheduleId) -> Schedule | None:
        return self._all.get(id)

    # -- changes

    def add(
        self, id: ScheduleId, plan: Plan, *, reached: float, now: float, pause: SchedulePause | None = None
    ) -> Schedule:
        """Add a schedule; one with this id goes on with the new plan.

        Args:
            reached: What comes after this instant is yet to come: `now`, for a new one. It is later if the wall clock
                was set back since.
            pause: It is paused.
        """
        schedule = self._all.get(id)
        if schedule is None:
            schedule = self._all[id] = Schedule(id, plan, reached=reached)
            schedule.pause = pause
        else:
            schedule.plan = plan
            schedule.reached = max(schedule.reached, reached)
        if not schedule.busy:
            least_s = SET_BACK_S_MIN if isinstance(plan.recurrence, Every) else SET_BACK_S_MAX
            self._plan_after(schedule, now if schedule.reached - now > least_s else schedule.reached)
        return schedule

    def remove(self, id: ScheduleId) -> None:
        schedule = self._all.pop(id)
        self._troubles.forget(id)
        schedule.removed = True
        schedule.order = 0

    def pause(self, schedule: Schedule, pause: SchedulePause) -> None:
        """Give no ticks until `resume`; a pause that is there already stays."""
        if schedule.pause is None:
            self._troubles.forget(schedule.id)
            schedule.pause = pause
            schedule.order = 0

    def resume(self, schedule: Schedule) -> None:
        """Give ticks again; of the instants since the pause those that `catch_up` says."""
        schedule.pause = None
        self._enter(schedule)

    def note_run(self, schedule: Schedule, last: LastTick) -> None:
        """Note a job that was submitted beside the ticks, on request."""
        schedule.last = last
        schedule.submitted_total += 1
        self.counts.submitted_total += 1

    def note_end(self, id: ScheduleId, at: float, failure: str | None) -> None:
        """Note the end of one of a schedule's jobs. Args: failure: In words; None: it has succeeded."""
        schedule = self._all.get(id)
        if schedule is not None and schedule.pause is None:
            self._troubles.note(id, "failed", at, bad=failure is not None, reason=failure)

    def clock_set_back(self, by_s: float, now: float) -> None:
        """Plan anew what waits for a time that the wall clock had been close to."""
        for schedule in self._all.values():
            if schedule.planned is None or schedule.busy:
                continue
            recurrence = schedule.plan.recurrence
            is_interval = isinstance(recurrence, Every) and schedule.planned - now > recurrence.interval_s
            if is_interval or by_s > SET_BACK_S_MAX:
                self._plan_after(schedule, now)

    # -- ticks

    def next_at(self) -> float | None:
        """Return the time of the next tick."""
        waiting = self._waiting
        while waiting and waiting[0][1] != waiting[0][2].order:
            heapq.heappop(waiting)
        return waiting[0][0] if waiting else None

    def take(self, now: float) -> list[Due]:
        """Hand out a portion of the ticks that are due; there may be more, as `next_at` tells."""
        taken: list[Due] = []
        work = WORK
        while work > 0 and (at := self.next_at()) is not None and at <= now:
            schedule = heapq.heappop(self._waiting)[2]
            schedule.order = 0
            due, looked_for = self._due(schedule, now)
            work -= looked_for
            if due.instants:
                schedule.busy = True
                taken.append(due)
            else:
                self._wait_for(schedule, due.following)
        return taken

    def settle(self, due: Due, outcomes: Sequence[Outcome], now: float) -> None:
        """Tell what came of the ticks of a schedule, in order; the first that is to be tried again ends them."""
        schedule = due.schedule
        schedule.busy = False
        for instant, outcome in zip(due.instants, outcomes, strict=False):
            schedule.error = outcome.error
            self._note_trouble(schedule, outcome, instant, now)
            if outcome.error is not None:
                schedule.rejected_total += 1
                self.counts.rejected_total += 1
                if outcome.retry_after_s is not None:
                    self._try_again(schedule, instant, now, outcome.retry_after_s)
                    return
            self._note(schedule, instant, outcome, now)
        if not schedule.removed:
            following = due.following if due.plan is schedule.plan else schedule.plan.recurrence.after(now)
            self._wait_for(schedule, following)

    def _note_trouble(self, schedule: Schedule, outcome: Outcome, instant: float, now: float) -> None:
        if schedule.removed or schedule.pause is not None:
            return
        note, id, error = self._troubles.note, schedule.id, outcome.error
        note(id, "rejected", now, bad=error is not None, reason=error)
        if error is None:
            note(id, "skipped", now, bad=outcome.job_id is None and not outcome.elsewhere)
            note(id, "late", now, bad=now - instant - schedule.jitter_s > LATE_S)

    def _note(self, schedule: Schedule, instant: float, outcome: Outcome, now: float) -> None:
        drift_s = max(0.0, now - instant - schedule.jitter_s)
        schedule.last = LastTick(instant=instant, at=now, drift_s=drift_s, job_id=outcome.job_id)
        self.counts.note_drift(drift_s)
        schedule.reached = max(schedule.reached, instant)
        if outcome.elsewhere:
            schedule.elsewhere_total += 1
            self.counts.elsewhere_total += 1
        elif outcome.job_id is not None:
            schedule.submitted_total += 1
            self.counts.submitted_total += 1
        elif outcome.error is None:
            schedule.skipped_total += 1
            self.counts.skipped_total += 1

    def _due(self, schedule: Schedule, now: float) -> tuple[Due, int]:
        """Return the ticks of a schedule that is due, and the number of instants that were looked for."""
        first = schedule.planned
        assert first is not None, "it waits for an instant"
        recurrence, until = schedule.plan.recurrence, now - schedule.jitter_s
        passed, following = [first], recurrence.after(first)
        while following is not None and following <= until and len(passed) <= CATCH_UP_MAX:
            passed.append(following)
            following = recurrence.after(following)
        looked_for = len(passed)
        if following is not None and following <= until:
            last = recurrence.latest(following, until)
            passed.append(last)
            following = recurrence.after(last)
            looked_for += CATCH_UP_MAX
        kept = self._kept(schedule.plan, passed, until)
        schedule.missed_total += len(passed) - len(kept)
        self.counts.missed_total += len(passed) - len(kept)
        if not kept:
            schedule.reached = max(schedule.reached, passed[-1])
        due = Due(schedule=schedule, plan=schedule.plan, instants=tuple(kept), following=following)
        return due, looked_for

    def _kept(self, plan: Plan, passed: list[float], until: float) -> list[float]:
        """Return those of the instants that have come that get a tick."""
        late_s = LATE_S if plan.catch_up == "none" else self._reach_back_s
        if late_s is not None:
            passed = [instant for instant in passed if until - instant <= late_s]
        return passed[:CATCH_UP_MAX] if plan.catch_up == "all" else passed[-1:]

    def _try_again(self, schedule: Schedule, instant: float, now: float, retry_after_s: float) -> None:
        if not schedule.removed:
            schedule.planned, schedule.jitter_s = instant, 0.0
            schedule.fires_at = now + min(max(retry_after_s, RETRY_S_MIN), RETRY_S_MAX)
            self._enter(schedule)

    def _plan_after(self, schedule: Schedule, instant: float) -> None:
        self._wait_for(schedule, schedule.plan.recurrence.after(instant))

    def _wait_for(self, schedule: Schedule, planned: float | None) -> None:
        jitter_s = schedule.plan.jitter_s
        schedule.planned, schedule.jitter_s = planned, self._rng.uniform(0.0, jitter_s) if jitter_s else 0.0
        schedule.fires_at = 0.0 if planned is None else planned + schedule.jitter_s
        self._enter(schedule)

    def _enter(self, schedule: Schedule) -> None:
        """Have it wait in its place, unless it is paused, or has no further instant."""
        schedule.order = 0
        if schedule.planned is None or schedule.pause is not None or schedule.busy:
            return
        self._orders += 1
        schedule.order = self._orders
        heapq.heappush(self._waiting, (schedule.fires_at, schedule.order, schedule))
        if len(self._waiting) > 2 * len(self._all) + 64:  # most are void
            self._waiting = [entry for entry in self._waiting if entry[1] == entry[2].order]
            heapq.heapify(self._waiting)
