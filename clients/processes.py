"""The processes of a fleet, and the parent that starts, reads and stops them.

Each child runs one `Fleet` on its own loop; the parent only shows, adds up and passes
signals on, so the display takes no time of the clients. Children ignore SIGINT
and take orders from the pipe: `finish`, `now`. A child ends at once when its parent dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import multiprocessing
import resource
import signal
import time
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

import msgspec

from clients.counters import Counters, Counts
from clients.fleet import Fleet
from clients.report import Report, report_of
from clients.timeline import Timeline
from jobqueue.event_loop import loop_factory

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from clients.display import Display
    from clients.options import Options

COUNTS_S = 0.2  # between two messages of a child to the parent
SAME_STOP_S = 1.0  # a second signal within this is the same stop, forwarded twice
FILES_SPARE = 64  # open files that a process needs beside its clients' connections


def run(options: Options, display: Display) -> Report:
    """Run the whole fleet and return its figures. For the main thread: it takes SIGINT and SIGTERM."""
    spawn = multiprocessing.get_context("spawn")  # a fork would share the parent's state
    pipes: list[Pipe] = []
    children: list[BaseProcess] = []
    # Children inherit this, and so never see a Ctrl-C of their own, not even while they start.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for part in range(options.processes):
        ours, theirs = spawn.Pipe()
        child: BaseProcess = spawn.Process(target=_child, args=(theirs, options, part), name=f"clients-{part}")
        child.start()
        theirs.close()
        pipes.append(ours)
        children.append(child)
    signal.signal(signal.SIGINT, before)
    try:
        return _Parent(options, display, pipes).run()
    finally:
        for pipe in pipes:
            pipe.close()
        for child in children:
            child.join()


class _Parent:
    def __init__(self, options: Options, display: Display, pipes: list[Pipe]) -> None:
        self._options = options
        self._display = display
        self._pipes = pipes
        self._open = list(pipes)
        self._last: dict[Pipe, Counts] = {pipe: Counts() for pipe in pipes}
        self._counters = Counters()
        self._cpu_s = 0.0
        self._died = 0
        self._phase = "creating"
        self._signalled_at = -math.inf
        self._timeline = Timeline()

    def run(self) -> Report:
        for pipe in self._pipes:
            with contextlib.suppress(EOFError):
                pipe.recv()  # it is ready
        starts_at = time.monotonic()
        self._send(("start", starts_at))
        handlers = {number: signal.signal(number, self._signalled) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self._listen(starts_at)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        elapsed_s = time.monotonic() - starts_at
        self._timeline.add(elapsed_s, self._counters.counts)
        return report_of(
            self._options,
            self._counters,
            elapsed_s=elapsed_s,
            cpu_s=self._cpu_s,
            processes_died=self._died,
            timeline=self._timeline.moments,
        )

    def _listen(self, starts_at: float) -> None:
        show_at = starts_at + 1.0
        while self._open:
            for pipe in wait(self._open, timeout=max(0.0, show_at - time.monotonic())):
                assert isinstance(pipe, Pipe)
                self._receive(pipe)
            now = time.monotonic()
            if now >= show_at:
                show_at += 1.0
                if self._phase == "creating" and now - starts_at > self._options.duration_s:
                    self._phase = "finishing"
                counts = self._sum()
                self._timeline.add(now - starts_at, counts)
                self._display.show(now - starts_at, counts, self._phase)

    def _receive(self, pipe: Pipe) -> None:
        try:
            kind, *told = pipe.recv()
        except (EOFError, OSError):
            self._died += 1
            self._open.remove(pipe)
            counts = self._last[pipe]
            self._counters.counts.add(counts)
            self._counters.unseen["unknown"] += counts.accepted - counts.ended
            return
        if kind == "counts":
            self._last[pipe] = told[0]
        else:
            dump, cpu_s = told
            self._counters.add(dump)
            self._cpu_s += cpu_s
            self._last[pipe] = Counts(**dump["counts"])
            self._open.remove(pipe)

    def _sum(self) -> Counts:
        total = Counts()
        for counts in self._last.values():
            total.add(counts)
        return total

    def _signalled(self, number: int, frame: object) -> None:
        now, before = time.monotonic(), self._signalled_at
        if now < before + SAME_STOP_S:  # a terminal and a wrapper may both pass one stop on
            return
        self._signalled_at = now
        if self._phase == "stopping":
            self._phase = "now"
            self._send(("now",))
        elif self._phase != "now":
            self._phase = "stopping"
            self._display.say("No new jobs; waiting for the accepted ones to end. Ctrl-C again to stop now.")
            self._send(("finish",))

    def _send(self, message: tuple[Any, ...]) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):  # it has ended already
                pipe.send(message)


def files_of(options: Options) -> int:
    """Return how many files one process may have open at once."""
    return options.clients // options.processes * options.connections + FILES_SPARE


def raise_open_files(needed: int) -> None:
    """Let this process open as many files as it may. Raises OSError if those are fewer than `needed`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(f"{needed} open files are needed in a process, but {hard} allowed: use more --processes")


def _child(pipe: Pipe, options: Options, part: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise_open_files(files_of(options))
    pipe.send(("ready",))
    try:
        _, starts_at = pipe.recv()
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_run_fleet(pipe, options, part, starts_at))
    except (EOFError, BrokenPipeError):
        return  # the parent has exited


async def _run_fleet(pipe: Pipe, options: Options, part: int, starts_at: float) -> None:
    counters = Counters()
    fleet = Fleet(options, counters, part=part, starts_at=starts_at)
    whole = asyncio.create_task(fleet.run())
    await asyncio.sleep(0)  # the tasks of its clients are made
    # Otherwise the collector would walk thousands of live clients, and pause the fleet.
    gc.collect()
    gc.freeze()

    def follow_order() -> None:
        try:
            (order,) = pipe.recv()
        except EOFError:
            order = "now"
        if order == "finish":
            fleet.finish()
        else:
            asyncio.get_running_loop().remove_reader(pipe.fileno())
            whole.cancel()

    asyncio.get_running_loop().add_reader(pipe.fileno(), follow_order)
    counting = asyncio.create_task(_send_counts(pipe, counters))
    with contextlib.suppress(asyncio.CancelledError):
        await whole
    counting.cancel()
    counters.check()
    pipe.send(("end", counters.dump(), time.process_time()))


async def _send_counts(pipe: Pipe, counters: Counters) -> None:
    while True:
        pipe.send(("counts", msgspec.structs.replace(counters.counts)))
        await asyncio.sleep(COUNTS_S)
