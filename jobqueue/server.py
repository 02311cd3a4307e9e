"""The server process: one queue behind its listening sockets, from the start to the exit.

It handles signals, the limit on open files, the log, the loop monitor, and the order in which
the parts start and stop.

The stop (aiohttp's own cleanup closes the listener first, so that no client can read a
status, and may spend its timeout twice):

1. SIGTERM or SIGINT: `/readyz` and POST answer 503 from now on; accepted jobs still run (`drain_mode: keep`: those that
   run already).
2. After `drain_s` the live jobs are ended, and counted in the event `drain.lost`, if there are any. With a journal they
   are kept for the next process, and counted in `drain.kept`.
3. For `linger_s` more, statuses are still readable, over new connections too; with a journal this is left out.
4. The listener closes, responses under way are sent, the queue stops: exit 0.

Without live jobs at the signal and without connections there is no linger.

A second signal, a second or more after the first (`signals.py`), ends the process at once, even while a handler blocks
the loop: exit 1, and `drain.lost` counts the jobs that were live. For a journal this is a crash: what was answered is
kept, and running attempts count.

SIGHUP makes it read its settings again (`reload.py`), unless it stops already. From a closed
terminal it is a stop: otherwise the server would run on in the background, and keep its port.
"""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from jobqueue import caches, terminal
from jobqueue.activation import Activation
from jobqueue.backend.store import figures_of
from jobqueue.build import build, interpreter
from jobqueue.config.auth import EXPOSED, is_exposed
from jobqueue.config.metrics import NEEDS_ACCESS
from jobqueue.config.reload import Reload
from jobqueue.errors import ConfigError, LifespanFailed
from jobqueue.event_loop import loop_factory
from jobqueue.findings.sight import ProcessCounts
from jobqueue.http.assembly import FAST_PATH, Api
from jobqueue.http.resources.server import Figures
from jobqueue.http.response.descriptors import DESCRIPTORS
from jobqueue.http.transport.access_log import access_log_of
from jobqueue.http.transport.job_server import JobServer
from jobqueue.listening import Listening, why_not
from jobqueue.log import configure, event_logger
from jobqueue.metrics_port import CONNECTIONS_MAX, MetricsPort
from jobqueue.process.guard import Guard, kill_children
from jobqueue.process.inherited_sockets import inherited_sockets
from jobqueue.process.signals import signals
from jobqueue.resources import fit_files, memory_bytes, return_freed_memory, warn_of_memory
from jobqueue.runtime.cgroup import memory_limit
from jobqueue.runtime.exits import run_to_end
from jobqueue.runtime.freed_memory import FreedMemory, heap_trim
from jobqueue.runtime.loop_monitor import LoopMonitor
from jobqueue.server_metrics import ServerMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from jobqueue.config import Settings
    from jobqueue.config.load import Loaded
    from jobqueue.config.reload import Reloaded
    from jobqueue.log import LogWriter
    from jobqueue.log_ring import Line
    from jobqueue.service import Service

COLLECTIONS = (5_000, 1, 50)
"""Thresholds of the garbage collector: new objects per young collection, young per middle, middle per full one.

A connection is some fourteen long-lived objects, and more than twice as many with aiohttp's task. At Python's own
thresholds thousands of new connections cause repeated full collections, each a pause of 3 to
20 ms per thousand connections. With these a young collection has 15,000 objects at most, and a full one comes
after some 750,000 new ones, more than 15,000 connections have; that much cyclic garbage may exist. Records,
and requests on the fast path, are not tracked by the collector.
"""

OPEN = (
    "there is no authentication, and other machines can reach this address: put an authenticating proxy before it, "
    "have a firewall decide which machines may, or set server.host to 127.0.0.1"
)

NO_CONSOLE = "other machines can reach this address, and there are no keys: configure keys (auth.keys), if it is wanted"

UNBOUNDED = (
    "one caller can use up a queue's capacity: set limits.caller_jobs_max or limits.caller_rate, or those of each key; "
    "behind a proxy they bound all clients together, unless server.proxies lists it"
)

CLOSE_S = 0.5
STOP_S = 2.0
"""Time of the exit beside `drain_s` and `linger_s`, in seconds."""

SNAPSHOT_S = 30.0
"""Further time of an exit with a journal, which writes all jobs to disk first."""

GIVE_BACK_S = 10.0
"""Further time of an exit with a store, which may be slow to take back what runs."""

log = event_logger(__name__)


def serve(service: Service, loaded: Loaded, *, load: Callable[[], Loaded]) -> int:
    """Serve a queue over HTTP until a signal ends it; return the exit code.

    Args:
        loaded: The settings, with their sources.
        load: Reads them again, at SIGHUP; called in a thread. May raise ConfigError.
    """
    signals.install()
    service.configure(loaded.settings)
    writer = configure(loaded.settings.log)
    factory = loop_factory()
    if factory is None:
        log.info("server.uvloop_missing", reason="requests take more CPU on asyncio's own event loop")
    runner = asyncio.Runner(loop_factory=factory)
    try:
        if signals.stopped:  # during an import that swallowed it
            return 0
        code = run_to_end(runner.get_loop(), _run(service, writer, loaded, load))
        left = len(asyncio.all_tasks(runner.get_loop()))
        if left:
            # Handlers that swallow their cancellation: closing the loop would wait for them for ever.
            log.warning("server.tasks_leaked", tasks=left)
            writer.close()
            os._exit(code)
        runner.close()
        return code
    finally:
        writer.close()


async def _run(service: Service, writer: LogWriter, loaded: Loaded, load: Callable[[], Loaded]) -> int:
    return await _Process(service, writer, loaded, load).run()


class _Process:
    def __init__(self, service: Service, writer: LogWriter, loaded: Loaded, load: Callable[[], Loaded]) -> None:
        self._service = service
        self._sources = loaded.sources
        self._settings = service.settings.server
        self._writer = writer
        # Looked up late: the backend is made when the queue starts.
        self._loop_monitor = LoopMonitor(on_suspended=lambda gap_s: service.backend.excuse(gap_s))
        self._memory_bytes_max = memory_limit()
        self._freed_memory = FreedMemory(memory_bytes(), trim=heap_trim())
        self._reload = Reload(service, loaded, load, set_level=writer.set_level)
        self._metrics_port: MetricsPort | None = None
        self._server: JobServer | None = None
        self._has_terminal = os.isatty(0)
        self._loop = asyncio.get_running_loop()
        self._told_to_stop = asyncio.Event()
        stop_s = self._settings.drain_s + self._settings.linger_s + STOP_S
        if service.settings.journal.dir is not None:
            stop_s += SNAPSHOT_S
        if service.settings.backend == "valkey":
            stop_s += GIVE_BACK_S
        self._guard = Guard(stop_s, self._end_by_force)

    async def run(self) -> int:
        self._guard.start()
        signals.hand_over(on_stop=self._on_stop, on_force=self._on_force, on_hangup=self._on_hangup)
        try:
            return await self._serve()
        finally:
            signals.release()
            self._guard.tell("over")

    async def _serve(self) -> int:
        if inherited_sockets.ignored is not None:
            log.warning("server.sockets_ignored", reason=inherited_sockets.ignored)
        try:
            activation = Activation(inherited_sockets, self._service.settings)
            app, api = web.Application(), Api(self._service, self._loop_monitor.lag)
            api.add_to(app)
            self._server = server = self._make_server(app, api)
            if not await self._until_stopped(self._open_queue()):
                return 0
            fast_path = server.fast_path
            if self._service.why_not_ready is not None:
                server.fast_path = None  # it takes the jobs that there are for all
            listening = await self._listen(server, api, activation)
            self._reload.prepare, api.process = listening.renew, self
            await self._listen_for_metrics(api, server, activation)
        except (ConfigError, LifespanFailed, ValueError, OSError) as error:
            self._tell_failure(error)
            await self._service.stop()
            return 1
        reloading = asyncio.create_task(self._reload.run())
        try:
            if self._service.why_not_ready is not None and not await self._until_stopped(self._service.recover()):
                await self._close(server, listening)
                return 0
            server.fast_path = fast_path
            await self._told_to_stop.wait()
            await self._drain(server, listening)
        except ConfigError as error:  # of the recovery: the files can't be read
            self._tell_failure(error)
            await self._close(server, listening)
            return 1
        finally:
            self._freed_memory.stop()
            self._loop_monitor.stop()
            reloading.cancel()
            with suppress(asyncio.CancelledError):
                await reloading
        return 0

    async def _open_queue(self) -> None:
        """Start the queue, as far as it starts before the server listens: whole, unless it has jobs to recover."""
        await self._service.open()
        if self._service.why_not_ready is None:
            await self._service.recover()

    def _tell_failure(self, error: Exception) -> None:
        cause = error.__cause__ if isinstance(error, LifespanFailed) else None
        log.error("server.failed", reason=why_not(error, self._settings), exc=cause)

    async def _until_stopped(self, start: Coroutine[None, None, None]) -> bool:
        """Start something, which may take as long as its lifespan does; False if a stop came meanwhile."""
        starting = asyncio.ensure_future(start)
        told = asyncio.ensure_future(self._told_to_stop.wait())
        await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
        told.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait([starting])
            if starting.cancelled():
                return False
        starting.result()
        if signals.stopped:
            await self._service.stop()
            return False
        return True

    def _make_server(self, app: web.Application, api: Api) -> JobServer:
        files = fit_files(self._service.settings)
        app[DESCRIPTORS].files_max = files.sent
        fast_path = app[FAST_PATH] if self._settings.fast_path else None
        return JobServer(
            app,
            self._service.settings.limits,
            connections_max=files.connections,
            proxies=self._settings.proxies,
            fast_path=fast_path,
            access_log=access_log_of(self._service.settings.log, api.access),
        )

    async def _listen(self, server: JobServer, api: Api, activation: Activation) -> Listening:
        listening = Listening(server, self._settings, activation)
        await listening.open()
        self._refuse_exposed(listening)
        # Nothing was awaited since the first socket listens, so no request was answered before this.
        is_open = api.listens_on(listening.addresses)
        self._tell_of_start(listening, api, is_open=is_open, inherited=bool(activation))
        self._loop_monitor.start()
        self._freed_memory.start(caches.make_clearer(), self._writer.compact_ring, *api.compactions)
        api.recorder.start()
        # Present objects live to the end: the collector need not traverse them.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*COLLECTIONS)
        return listening

    async def _listen_for_metrics(self, api: Api, server: JobServer, activation: Activation) -> None:
        """Have the metrics tell what this process counts; open their own port, if they have one. Raises ConfigError."""
        api.answered.fast = lambda: server.fast_answers
        parts = ServerMetrics(server=server, loop_monitor=self._loop_monitor, writer=self._writer, reload=self._reload)
        api.add_metrics_source(parts.add)
        settings = self._service.settings
        address = settings.metrics.address
        if address is not None and settings.metrics.enabled:
            app = web.Application()
            policy = api.add_metrics_to(app)
            self._metrics_port = MetricsPort(JobServer(app, settings.limits, connections_max=CONNECTIONS_MAX))
            addresses = await self._metrics_port.open(*address, activation.metrics)
            policy.listens_on(addresses)
            for host, _ in addresses:  # a name may be that of any address
                if settings.metrics.access != "open" and is_exposed(host, settings.auth):
                    raise ConfigError(f"metrics.listen: {host}: {NEEDS_ACCESS}")

    def _refuse_exposed(self, listening: Listening) -> None:
        """Refuse other addresses than loopback ones without keys, now and with each reload. Raises ConfigError.

        The settings were checked when they were read, but a host may be a name.
        """
        addresses = [host for host, _ in listening.addresses]

        def check(settings: Settings) -> None:
            if any(is_exposed(address, settings.auth) for address in addresses):
                raise ConfigError(f"server.host: {', '.join(addresses)}: {EXPOSED}")

        try:
            check(self._service.settings)
        except ConfigError:
            listening.close()
            raise
        self._service.checks.append(check)

    def _tell_of_start(self, listening: Listening, api: Api, *, is_open: bool, inherited: bool) -> None:
        """Log the addresses, and then warnings. Args: inherited: The process was started with its sockets."""
        if self._writer.on_terminal:
            self._writer.say(
                terminal.banner(
                    [place.url for place in listening.places],
                    [each.name for each in self._service.registry],
                    self._sources,
                    api.console_at(listening.places[0].url),
                    figures_of(self._service.backend) if self._service.running else None,
                )
            )
        else:
            for url, host, port in listening.places:
                where = {"host": host, "port": port, "url": url, "inherited": inherited}
                backend = self._service.settings.backend
                log.info(
                    "server.listening",
                    **where,
                    backend=backend,
                    pid=os.getpid(),
                    build=build(),
                    python=interpreter(),
                )
        warn_of_memory(self._service.settings)
        return_freed_memory()
        if not any(self._service.registry):
            log.warning(
                "server.no_handlers", hint="every submission is rejected: register handlers with @queue.handler"
            )
        if is_open and not self._service.settings.auth.required:
            log.warning("server.exposed", host=self._settings.host, reason=OPEN)
            if self._service.settings.console.enabled:
                log.warning("console.off", reason=NO_CONSOLE)
        if is_open and self._service.callers.unbounded:
            log.warning("server.callers_unbounded", hint=UNBOUNDED)

    # -- by request (`http/resources/server.py`)

    def figures(self) -> Figures:
        health, reload, server = self._loop_monitor.health(), self._reload, self._server
        return Figures(
            connections=0 if server is None else server.open,
            connections_max=0 if server is None else server.connections_max,
            lag_s_p50=health.lag_s_p50,
            lag_s_max=health.lag_s_max,
            rss_bytes=health.rss_bytes,
            open_files=health.open_files,
            log_level=self.log_level,
            log_dropped=self._writer.dropped,
            config=self._sources,
            config_at=reload.succeeded_at,
            config_ok=reload.succeeded,
        )

    def counts(self) -> ProcessCounts:
        monitor, reload, server = self._loop_monitor, self._reload, self._server
        return ProcessCounts(
            connections=0 if server is None else server.open,
            connections_max=0 if server is None else server.connections_max,
            late_counts=tuple(monitor.late_counts),
            blocked_total=monitor.blocked_total,
            block=monitor.last_block,
            log_dropped=self._writer.dropped,
            config_faults=reload.faults,
            restart_required=tuple(reload.restart_required),
            memory_bytes=monitor.rss_bytes(),
            memory_bytes_max=self._memory_bytes_max,
            metrics_listens=self._metrics_port is not None and self._metrics_port.is_open,
        )

    @property
    def log_level(self) -> str:
        return self._writer.level_name

    def latest_lines(self) -> tuple[list[Line], int]:
        return self._writer.ring.lines(), self._writer.dropped

    @property
    def readings(self) -> Sequence[Loaded]:
        return self._reload.readings

    @property
    def restart_required(self) -> dict[str, str]:
        return self._reload.restart_required

    async def reload(self) -> Reloaded:
        return await self._reload.now()

    def drain(self) -> None:
        if not signals.stopped:
            signals.stop()

    def set_log_level(self, level: str) -> None:
        self._writer.set_level(level)

    def _on_stop(self) -> None:
        self._guard.tell("stop")
        self._loop.call_soon_threadsafe(self._stop_admitting)

    def _on_force(self) -> None:
        self._guard.tell("force")
        self._loop.call_soon_threadsafe(self._end_by_force)

    def _on_hangup(self) -> None:
        if not self._has_terminal or os.isatty(0):
            self._loop.call_soon_threadsafe(self._reload.ask)
        elif not signals.stopped:  # the shell and the kernel may both signal the same end
            signals.stop()

    def _stop_admitting(self) -> None:
        self._reload.stop()
        if self._service.running:
            self._service.stop_admitting()
        self._told_to_stop.set()

    async def _drain(self, server: JobServer, listening: Listening) -> None:
        live, drain_s = sum(self._service.live_counts().values()), self._settings.drain_s
        self._tell("server.draining", terminal.draining(live, drain_s), live=live, drain_s=drain_s)
        lost = await self._service.drain(drain_s)
        # Without live jobs and connections there is no client that could read a status. Kept ones are read in the next
        # process, and the sooner it begins, the better.
        linger_s = self._settings.linger_s if (live or server.open) and not self._service.keeps else 0.0
        self._tell("server.drained", terminal.lingering(linger_s), lost=sum(lost.values()), linger_s=linger_s)
        await asyncio.sleep(linger_s)
        await self._close(server, listening)

    async def _close(self, server: JobServer, listening: Listening) -> None:
        listening.close()
        await server.close(CLOSE_S)
        if self._metrics_port is not None:
            await self._metrics_port.close()
        await self._service.stop()
        self._tell("server.stopped", "stopped", **msgspec.structs.asdict(self._loop_monitor.health()))

    def _tell(self, event: str, sentence: str, **fields: object) -> None:
        """Log an event; on a terminal, print a sentence instead, if there is one."""
        if not self._writer.on_terminal:
            log.info(event, **fields)
        elif sentence:
            self._writer.say(sentence)

    def _end_by_force(self, stuck: bool = False) -> None:
        """End the process now, and log the lost jobs. On the loop; or in a thread, if the loop is blocked."""
        if not self._guard.claim():
            return
        if stuck:
            log.error("server.stuck", reason="the server could not stop in time, so it is ended by force")
        with suppress(Exception):  # no error may keep the process from ending
            self._service.tell_lost()
        kill_children()
        self._writer.close(0.2)
        os._exit(1)
