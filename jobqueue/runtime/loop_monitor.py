"""Loop monitor: detects a blocked event loop, measures its lag, memory and open files of the process.

A heartbeat on the loop, and a daemon thread that notices an overdue beat. The thread
sleeps until a beat is overdue, so an idle server wakes about twelve times a second.
The stack that it logs names the blocking handler.
"""

from __future__ import annotations

import asyncio
import math
import os
import sys
import sysconfig
import threading
import time
import traceback
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

import msgspec
import psutil

from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

log = event_logger(__name__)

BLOCKED_S = 0.5
BEAT_S = 0.1
SUSPENDED_S = 1.0
"""Least gap without CPU time, in which the monitor thread did not run either, that counts as a suspension."""

THREAD_LATE_S = 0.5
MEMORY_S = 0.5
SMALL_S = 0.01
LAG_WINDOW_S = 60.0
FRAMES_MAX = 20


class Block(msgspec.Struct, frozen=True):
    """A time in which one call held the event loop, and where: `tasks.py:41 in resize`; empty: not known."""

    seconds: float
    where: str


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health of this process at this instant.

    The lag is the lateness of the loop's heartbeat, over the last minute.
    """

    lag_s_p50: float
    lag_s_max: float
    rss_bytes: int
    open_files: int


class Lag:
    """The present lag of the loop, in seconds, as `read` tells it.

    It is measured as the lateness of a timer that is set again every `beat_s`: it waits for its turn
    like all callbacks of the loop, so its lateness is a request's wait before it is handled.
    An iteration that still runs counts, too, from when a beat became overdue.

    The lag is a mean in which a lateness weighs as long as it lasted, and decays with a
    time constant of `MEMORY_S`. Not the latest lateness: after a pause of the garbage collector the next request
    would be rejected, although the loop is on time again. Nor the least of the last few, which a
    pause can't raise: a single short iteration would end the rejections.
    With the mean, one pause of 600 ms gives 0.46 s at most, the second of two in a row is over
    0.5 s, and after any lag it takes MEMORY_S * ln(lag / bound) to be under a bound again.

    Each submission reads it. So a mean of `SMALL_S` at most, as usual, decays only with the beats: that takes half as
    long.

    Args:
        beat_s: Also the resolution: a smaller lag may not be seen.
        clock: Seconds that go on while a callback runs; uvloop's own clock doesn't.
    """

    def __init__(self, beat_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.due_at = math.inf
        self._beat_s = beat_s
        self._clock = clock
        self._beat_at = clock()
        self._mean_s = 0.0

    def read(self) -> float:
        now, mean_s = self._clock(), self._mean_s
        return mean_s if mean_s <= SMALL_S and now <= self.due_at else self._mean_at(now)

    def beat(self) -> float:
        """Note that the timer ran, and is due again in `beat_s`; return its lateness."""
        now = self._clock()
        late_s = max(0.0, now - self.due_at)
        self._mean_s = self._mean_at(now)
        self._beat_at = now
        self.due_at = now + self._beat_s
        return late_s

    def _mean_at(self, now: float) -> float:
        late_s = max(0.0, now - self.due_at)
        kept = math.exp((self._beat_at - now) / MEMORY_S)
        return late_s + (self._mean_s - late_s) * kept


class LoopMonitor:
    """Reports a blocked loop once a block: `loop.blocked` with the stack while it lasts, `loop.unblocked` after it.

    A block that keeps the GIL as well (one long call into C) keeps the thread out, too: then
    the stack comes late, or only `loop.unblocked` does.

    A gap in which neither the loop nor the thread ran, and no CPU was used, is no block: the process was suspended
    (SIGSTOP, a frozen container). It is logged as `process.suspended`, and passed to `on_suspended`.

    Args:
        on_suspended: Called with the length of a suspension in seconds, before timers that came due meanwhile.

    Attributes:
        lag: Call it for the present lag; 0.0 before the start, undefined after the stop.
        late_counts, late_sum_s: The lateness of each beat, by `histogram.BOUNDS_S`, and the sum.
        blocked_total: Number of beats that were over `blocked_s` late.
        last_block: The last of these times; None: there was none.
    """

    def __init__(
        self,
        *,
        blocked_s: float = BLOCKED_S,
        beat_s: float = BEAT_S,
        on_suspended: Callable[[float], None] | None = None,
    ) -> None:
        self._blocked_s = blocked_s
        self._beat_s = beat_s
        self._on_suspended = on_suspended
        self._thread_ran_at = self._cpu_s = 0.0
        self._lag = Lag(beat_s)
        self.lag = self._lag.read  # a method of its own: to call an object takes longer
        # Not as objects: each would live for a minute, among those of a load.
        self._lags = array("d")
        self._lags_max = round(LAG_WINDOW_S / beat_s)
        self.late_counts = [0] * BUCKETS
        self.late_sum_s = 0.0
        self.blocked_total = 0
        self.last_block: Block | None = None
        self._where = ""
        self._process = psutil.Process()
        self._changed = threading.Condition()
        self._reported = False
        self._stopping = False
        self._timer: asyncio.TimerHandle | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Monitor the running loop. Once only: a stopped monitor stays stopped."""
        loop = asyncio.get_running_loop()
        self._beat_later(loop)
        self._thread = threading.Thread(
            target=self._watch, args=(threading.get_ident(),), name="jobqueue-watch", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the heartbeat and the thread; returns when it is gone."""
        if self._timer is not None:
            self._timer.cancel()
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def health(self) -> Health:
        """Measure now. Reads /proc: not for each request."""
        lags = sorted(self._lags) or [0.0]
        return Health(
            lag_s_p50=lags[len(lags) // 2],
            lag_s_max=lags[-1],
            rss_bytes=self.rss_bytes(),
            open_files=self._process.num_fds(),
        )

    def rss_bytes(self) -> int:
        """Measure the memory of the process. Reads /proc: not for each request."""
        return int(self._process.memory_info().rss)

    def _beat_later(self, loop: asyncio.AbstractEventLoop) -> float:
        late_s = self._lag.beat()
        self._timer = loop.call_later(self._beat_s, self._beat, loop)
        return late_s

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        with self._changed:
            suspended = self._suspended()
            self._cpu_s = time.process_time()
            late_s = self._beat_later(loop)
            where, self._where = self._where, ""
            if self._reported:
                self._reported = False
                self._changed.notify()
        if suspended:
            log.warning("process.suspended", seconds=round(late_s, 3))
            if self._on_suspended is not None:
                self._on_suspended(late_s)
            return
        if len(self._lags) == self._lags_max:
            del self._lags[0]
        self._lags.append(late_s)
        self.late_counts[bisect_left(BOUNDS_S, late_s)] += 1
        self.late_sum_s += late_s
        if late_s >= self._blocked_s:
            self.blocked_total += 1
            self.last_block = Block(late_s, where)
            log.warning("loop.unblocked", seconds=round(late_s, 3))

    def _suspended(self) -> bool:
        """Whether the loop is late because the process was suspended. Call it with the lock held."""
        due_at = self._lag.due_at
        late_s = time.monotonic() - due_at
        if late_s < SUSPENDED_S or time.process_time() - self._cpu_s > late_s / 2:
            return False
        # While only the loop is blocked, the thread wakes `blocked_s` after the beat was due.
        return not due_at <= self._thread_ran_at <= due_at + self._blocked_s + THREAD_LATE_S

    def _watch(self, loop_thread: int) -> None:
        with self._changed:
            while not self._stopping:
                self._thread_ran_at = now = time.monotonic()
                left_s = self._lag.due_at + self._blocked_s - now
                if left_s > 0:
                    self._changed.wait(left_s)
                elif self._suspended():
                    self._changed.wait(self._beat_s)  # the loop is about to beat
                else:
                    self._report(loop_thread)
                    self._changed.wait_for(lambda: self._stopping or not self._reported)

    def _report(self, loop_thread: int) -> None:
        self._reported = True
        frame = sys._current_frames().get(loop_thread)
        self._where = _where(frame)
        seconds = round(time.monotonic() - self._lag.due_at, 3)
        log.warning("loop.blocked", seconds=seconds, stack=_stack(frame))


def _where(frame: FrameType | None) -> str:
    """Return the line that blocks: the innermost one of neither a library nor this package, if there is one."""
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_LIBRARIES):
        frame = frame.f_back
    found = frame or innermost
    if found is None:
        return ""
    return f"{os.path.basename(found.f_code.co_filename)}:{found.f_lineno} in {found.f_code.co_name}"


_LIBRARIES = (
    *dict.fromkeys(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
    "<frozen ",
)


def _stack(frame: FrameType | None) -> str:
    """Render the innermost frames, the blocking one last."""
    return "".join(traceback.format_stack(frame)[-FRAMES_MAX:]) if frame is not None else ""
