"""The section `metrics` of the settings: where the metrics are read, and with what scope."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from jobqueue.config.auth import is_exposed
from jobqueue.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.config.auth import AuthSettings

PATH = r"/[A-Za-z0-9._~-]+(?:/[A-Za-z0-9._~-]+)*"
LISTEN = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
TAKEN = ("v1", "problems", "console", "livez", "readyz", "openapi.json")
"""Beginnings of other paths."""

NEEDS_ACCESS = (
    "other machines can reach this address, and there are no keys: configure keys (auth.keys), listen on 127.0.0.1, or "
    "set metrics.access to open"
)


class MetricsSettings(Section, frozen=True):
    """Metrics for Prometheus."""

    enabled: Annotated[bool, Meta(description="Whether the metrics can be read.")] = True
    path: Annotated[
        str,
        Meta(
            pattern=f"^{PATH}$",
            max_length=200,
            examples=["/metrics", "/internal/metrics"],
            description="Path of the metrics.",
        ),
    ] = "/metrics"
    access: Annotated[
        Literal["read", "open"],
        Meta(
            description="Where keys are configured: read: a scrape needs one with this scope; open: it needs none. "
            "Job ids (exemplars) are for keys that see all jobs only."
        ),
    ] = "read"
    listen: (
        Annotated[
            str,
            Meta(
                pattern=f"^{LISTEN}$",
                max_length=300,
                examples=["127.0.0.1:9091", "[::1]:9091"],
                description="Address and port of their own, without TLS; then not on `server.port`. null: there.",
            ),
        ]
        | None
    ) = None

    @property
    def address(self) -> tuple[str, int] | None:
        """The host and the port of `listen`."""
        if self.listen is None:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


def faults_of_metrics(
    metrics: MetricsSettings, auth: AuthSettings, places: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    """Yield what is wrong with settings that are valid alone. Args: places: As in `listening`."""

    def at(name: str) -> str:
        return places.get(("metrics", name), f"metrics.{name}")

    first = metrics.path.split("/")[1]
    if first in TAKEN or re.fullmatch(r"\.+", first):
        yield f"{at('path')}: /{first} is another resource's: choose a path of its own, such as /metrics"
    address = metrics.address
    if address is None:
        return
    host, port = address
    if port > 65535:
        yield f"{at('listen')}: port {port} is over 65535: write an address and a port, such as 127.0.0.1:9091"
    elif metrics.enabled and metrics.access != "open" and is_exposed(host, auth):
        yield f"{at('listen')}: {NEEDS_ACCESS}"
