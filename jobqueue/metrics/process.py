"""The families of the process: CPU, memory, files and garbage collections, by the names of Prometheus' own clients."""

from __future__ import annotations

import gc
import resource
from typing import TYPE_CHECKING

import psutil

from jobqueue.metrics import catalogue as of
from jobqueue.metrics.family import labelled

if TYPE_CHECKING:
    from jobqueue.metrics.queues import QueueFamilies


def add_process(families: QueueFamilies) -> None:
    """Add the samples of this process. Reads /proc."""
    process = psutil.Process()
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
        families[of.CPU].add(cpu.user + cpu.system)
        families[of.RESIDENT].add(memory.rss)
        families[of.VIRTUAL].add(memory.vms)
        families[of.OPEN_FILES].add(process.num_fds())
        families[of.PROCESS_STARTED].add(process.create_time())
    families[of.OPEN_FILES_MAX].add(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    for generation, stats in enumerate(gc.get_stats()):
        labels = labelled(("generation", str(generation)))
        families[of.GC_COLLECTIONS].add(stats["collections"], labels)
        families[of.GC_COLLECTED].add(stats["collected"], labels)
        families[of.GC_UNCOLLECTABLE].add(stats["uncollectable"], labels)
