"""The metrics of a server process: its event loop, connections, log, and reloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.config.reload import Reload
    from jobqueue.http.transport.job_server import JobServer
    from jobqueue.log import LogWriter
    from jobqueue.metrics.queues import QueueFamilies
    from jobqueue.runtime.loop_monitor import LoopMonitor


class ServerMetrics:
    """What the parts of a server count."""

    def __init__(self, *, server: JobServer, loop_monitor: LoopMonitor, writer: LogWriter, reload: Reload) -> None:
        self._server = server
        self._loop_monitor = loop_monitor
        self._writer = writer
        self._reload = reload

    def add(self, families: QueueFamilies) -> None:
        """Add the samples."""
        monitor, writer, reload = self._loop_monitor, self._writer, self._reload
        families[of.HTTP_CONNECTIONS].add(self._server.open)
        families[of.HTTP_CONNECTIONS_MAX].add(self._server.connections_max)
        families[of.LOOP_LAG].add_histogram(monitor.late_counts, monitor.late_sum_s)
        families[of.LOOP_BLOCKED].add(monitor.blocked_total)
        for level, count in writer.lines_by_level.items():
            families[of.LOG_LINES].add(count, labelled(("level", level)))
        families[of.LOG_DROPPED].add(writer.dropped)
        families[of.RELOAD_OK].add(int(reload.succeeded))
        families[of.RELOAD_AT].add(reload.succeeded_at)
