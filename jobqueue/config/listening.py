"""Settings of listening that are valid alone, but not together: TLS, ports and sockets, proxies."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.config.settings import ServerSettings

TOGETHER = (
    "`server.tls.cert` and `server.tls.key` belong together, and `server.tls.client_ca` needs both",
    "`server.port` or `server.socket` must be set",
    "`server.tls` needs a `server.port`: a Unix socket has no TLS",
    "`metrics.path` is no other resource's path",
    "`console.path` is no other resource's path, and neither above nor below `metrics.path`",
    "`metrics.listen` on an address that other machines can reach needs keys, or `metrics.access: open`",
    "`spool.dir` must not be set beside `journal.dir`",
    "`server.drain_mode: keep` needs a `journal.dir`, or `backend: valkey`",
    "`valkey.tls` needs a `valkey.url` of `rediss://` or `valkeys://`, and its `cert` and `key` belong together",
    "`valkey.password` must not be set beside `valkey.password_file`",
    "`valkey.ttl_s` must be at least three times `valkey.call_timeout_s`",
    "`backend: valkey` fits neither `discipline: adaptive`, nor `runtime.shares: weighted` with several queues, nor "
    "`journal.dir`, nor `spool.dir`",
)
"""The rules, for the page of reference."""


def faults_of_listening(server: ServerSettings, places: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Yield the faults.

    Args:
        places: The positions of the given values, by the path of their settings.
    """

    def at(name: str) -> str:
        return places.get(("server", *name.split(".")), f"server.{name}")

    tls = server.tls
    if tls.cert is not None and tls.key is None:
        yield f"{at('tls.cert')}: needs server.tls.key, the file of its private key"
    if tls.key is not None and tls.cert is None:
        yield f"{at('tls.key')}: needs server.tls.cert, the file of its certificate"
    if tls.client_ca is not None and (tls.cert is None or tls.key is None):
        yield f"{at('tls.client_ca')}: needs server.tls.cert and server.tls.key: clients show certificates within TLS"
    if server.port is None and server.socket is None:
        yield f"{at('port')}: is null, and so is server.socket: set one of them, or nothing can connect"
    if server.port is None and tls.cert is not None:
        yield f"{at('tls.cert')}: needs a server.port: a Unix socket has no TLS"
    for proxy in server.proxies:
        if proxy != "unix":
            try:
                ipaddress.ip_network(proxy)
            except ValueError as error:
                yield f"{at('proxies')}: {error}; expected an address, a network or unix"
    if "unix" in server.proxies and server.socket is None:
        yield f"{at('proxies')}: unix is listed, and server.socket is not set"
