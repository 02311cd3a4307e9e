"""The limits of the attacked server: its memory and CPU, and the settings that fit in them."""

from __future__ import annotations

MIB = 2**20
MEMORY_BYTES = 256 * MIB
CPUS = 0.5

SETTINGS = (
    "statuses.bytes_max=32MiB",
    "statuses.jobs_max=40000",
    "limits.in_flight_bytes=24MiB",
    "server.connections_max=1536",
    "queues.default.capacity=20000",
)
"""Those of docs/how-to/small-machines.md, and room for 20,000 jobs."""

ENVIRONMENT = {"PYTHONMALLOC": "malloc"}
"""Of the same page: small objects are malloc's, which returns their memory by the page, not in arenas of 1 MiB."""

RETENTION = ("statuses.ttl_s=10s", "statuses.failed_ttl_s=10s", "statuses.ttl_s_max=20s")
"""Records go early, so that a minute after a load its memory must be free again."""
