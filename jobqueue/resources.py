"""Resources: memory and open files that the settings allow, against the machine's limits. Rules:

1. The start warns of a bound that the machine can't keep, with settings that would fit.
2. Connections, files being sent, and all other open files stay together within the limit on open files, so
   a new connection can always be accepted, if only to be rejected.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import TYPE_CHECKING, NamedTuple

import psutil

from jobqueue.http.transport.rejected import REJECTED_MAX
from jobqueue.log import event_logger
from jobqueue.runtime.cgroup import cpu_count, memory_limit

if TYPE_CHECKING:
    from jobqueue.config import Settings

FILES_RESERVED = REJECTED_MAX + 512
"""Open files that are neither connections nor sent: the spool's, processes' pipes, libraries', handlers'."""

PROCESS_FILES = 4
"""Pipes of one process of handlers."""

SENT_MIN = 256
"""Files that may be sent at once, before there are more connections."""

BASE_BYTES = 72 * 2**20
"""Memory of the process that no setting bounds: the interpreter, libraries, handlers."""

CONNECTION_BYTES = 32 * 2**10
"""Memory of a connection with a waiting request, beside bytes in flight; an idle one takes a quarter."""

TLS_BYTES = 48 * 2**10
"""What TLS adds to a connection: OpenSSL's state, and buffers of one record in each direction."""

RECORD_BYTES = 350
"""Memory of a record beside its share of `statuses.bytes_max` (`make bench-memory`)."""

log = event_logger(__name__)


FRAGMENTED = 8
"""One part in this many of the memory is lost to fragmentation."""

MAPPED_BYTES = 64 * 2**10
"""Blocks from this size on are mapped each by itself, so that the system has them back when they are freed.

glibc raises this bound to the size of the largest freed block, up to 32 MiB. Then bodies lie in the heap, among small
blocks that live longer, and 1,200 stalled uploads leave 50 to 80 MiB behind permanently. M_TRIM_THRESHOLD concerns the
heap's end alone.
"""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


class Files(NamedTuple):
    """The numbers of connections, and of files being sent, that may be open."""

    connections: int
    sent: int


def return_freed_memory() -> None:
    """Let large blocks be returned to the system, unless its own variables say otherwise (mallopt(3)); glibc only."""
    if "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, MAPPED_BYTES)
        mallopt(_M_TRIM_THRESHOLD, 2 * MAPPED_BYTES)


def fit_files(settings: Settings) -> Files:
    """Raise the limit on open files as far as connections and files being sent need, and divide it.

    Each connection may be sent one file at a time.
    """
    connections_max = settings.server.connections_max
    reserved = FILES_RESERVED + PROCESS_FILES * (settings.runtime.processes or cpu_count())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections_max + reserved
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= 2 * connections_max + reserved:
        return Files(connections_max, connections_max)
    possible = max(soft - reserved, soft // 2)
    connections = min(connections_max, possible - min(SENT_MIN, possible // 4))
    files = Files(connections, possible - connections)
    if files.connections < connections_max:
        log.warning(
            "server.connections_capped",
            connections_max=connections_max,
            possible=files.connections,
            files_sent_max=files.sent,
            open_files_max=soft,
        )
    return files


def memory_bytes() -> int:
    """Return the memory that this process may use: its control group's limit, or the machine's memory."""
    limit, machine = memory_limit(), int(psutil.virtual_memory().total)
    return machine if limit is None else min(limit, machine)


def warn_of_memory(settings: Settings) -> None:
    """Warn if the settings allow more memory than the machine or this process's control group has."""
    memory = memory_bytes()
    connection_bytes = CONNECTION_BYTES + (TLS_BYTES if settings.server.tls.cert is not None else 0)
    others_bytes = BASE_BYTES + settings.limits.in_flight_bytes + connection_bytes * settings.server.connections_max
    records_bytes = RECORD_BYTES * settings.statuses.jobs_max
    bounds_bytes = settings.statuses.bytes_max + records_bytes + others_bytes
    usable_bytes = memory - memory // FRAGMENTED
    if bounds_bytes > usable_bytes:
        change = _fitting(usable_bytes - others_bytes, records_bytes)
        log.warning(
            "server.memory_overcommitted",
            bounds_bytes=bounds_bytes,
            memory_bytes=memory,
            hint="statuses.bytes_max, statuses.jobs_max, limits.in_flight_bytes, server.connections_max allow more "
            f"memory than there is: under load the process may be killed; {change}",
        )


def _fitting(statuses_bytes: int, records_bytes: int) -> str:
    """Return the settings of `statuses` that fit into this memory: at most a quarter of it for bare records."""
    if statuses_bytes < 2**20:
        return "lower server.connections_max, too"
    quarter_bytes = statuses_bytes // 4
    change = f"set statuses.bytes_max to {(statuses_bytes - min(records_bytes, quarter_bytes)) >> 20}MiB"
    if records_bytes > quarter_bytes:
        change += f" and statuses.jobs_max to {quarter_bytes // RECORD_BYTES}"
    return change
