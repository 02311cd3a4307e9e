"""The settings in effect after a reload: those that may change in a running queue, and the others as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.config.limits import LIMITS_FIXED

if TYPE_CHECKING:
    from jobqueue.config.settings import Settings


def live_settings(before: Settings, after: Settings) -> Settings:
    """Return the settings in effect once `after` was read in a queue that runs with `before`."""
    queues = {name: after.queues.get(name, queue) for name, queue in before.queues.items()}
    log_settings = msgspec.structs.replace(before.log, level=after.log.level)
    console = msgspec.structs.replace(after.console, path=before.console.path)
    # Settings of existing connections and workers stay, so that all have the same.
    fixed = {name: getattr(before.limits, name) for name in LIMITS_FIXED}
    limits = msgspec.structs.replace(after.limits, **fixed)
    # A port has TLS or has not, as it was opened.
    had, has = before.server.tls, after.server.tls
    tls = has if (has.cert is None) == (had.cert is None) else had
    server = msgspec.structs.replace(before.server, tls=tls)
    # The queue of deliveries is there, or is not, as it was at the start.
    webhooks = after.webhooks if after.webhooks.wanted == before.webhooks.wanted else before.webhooks
    return msgspec.structs.replace(
        before,
        server=server,
        queues=queues,
        limits=limits,
        log=log_settings,
        auth=after.auth,
        console=console,
        webhooks=webhooks,
        schedules=after.schedules,
    )
