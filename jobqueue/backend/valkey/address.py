"""The address of the store: makes its connections, by the client library, which knows TLS, passwords and sentinels."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from jobqueue.config.valkey import SCHEMES, shown_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.config.valkey import ValkeySettings

_SENTINEL: Any = Sentinel  # without types

READ_BYTES = 128 * 1024
"""Read from a socket at once."""


class Address:
    """Where the store is, and how one gets in.

    Attributes:
        shown: For logs and documents, without a password.
    """

    def __init__(self, settings: ValkeySettings) -> None:
        self._settings = settings
        scheme, _, rest = settings.url.partition("://")
        self._arguments: dict[str, Any] = {**parse_url(f"{SCHEMES[scheme]}://{rest}")}
        self._kind: type[AbstractConnection] = self._arguments.pop("connection_class", Connection)
        self._tls = self._arguments_of_tls() if SCHEMES[scheme] == "rediss" else {}
        self.shown = shown_url(settings.url)
        if settings.sentinels:
            self.shown = f"{settings.sentinel_name} by the sentinels {', '.join(settings.sentinels)}"

    @property
    def connect_s(self) -> float:
        """The maximum time for a connection and its first words: each sentinel may have to be asked."""
        return self._settings.call_timeout_s * (1 + len(self._settings.sentinels))

    def faults(self) -> Iterator[str]:
        """Yield the files that can't be read."""
        tls = self._settings.tls
        for name, path in (
            ("password_file", self._settings.password_file),
            ("sentinel_password_file", self._settings.sentinel_password_file),
            *((f"tls.{name}", getattr(tls, name)) for name in ("ca", "cert", "key")),
        ):
            if path is not None:
                try:
                    with Path(path).open("rb"):
                        pass
                except OSError as error:
                    yield f"valkey.{name}: {path}: {error.strerror}"

    async def connection(self) -> AbstractConnection:
        """Return a connection to the primary, not connected yet.

        Raises:
            RedisError, OSError: No sentinel knows the primary; the file of the password can't be read.
        """
        arguments = {**self._arguments, **self._tls}
        if self._settings.sentinels:
            arguments["host"], arguments["port"] = await self._primary()
        password = await _password(self._settings.password, self._settings.password_file)
        if password is not None:
            arguments["password"] = password
        return self._kind(
            **arguments,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=self._settings.call_timeout_s,
            socket_read_size=READ_BYTES,
            client_name=f"jobqueue:{self._settings.namespace}",
        )

    async def _primary(self) -> tuple[str, int]:
        """Ask the sentinels, one after the other. Raises as `connection`."""
        arguments: dict[str, Any] = {
            **self._tls,
            "ssl": bool(self._tls),
            "username": self._settings.sentinel_user,
            "password": await _password(self._settings.sentinel_password, self._settings.sentinel_password_file),
            "socket_timeout": self._settings.call_timeout_s / 2,
            "socket_connect_timeout": self._settings.call_timeout_s / 2,
            "retry": Retry(NoBackoff(), 0),
        }
        hosts = [
            (host.strip("[]"), int(port)) for host, _, port in (it.rpartition(":") for it in self._settings.sentinels)
        ]
        sentinel: Any = _SENTINEL(hosts, sentinel_kwargs=arguments)
        try:
            host, port = await sentinel.discover_master(self._settings.sentinel_name)
        finally:
            await sentinel.aclose()
        return str(host), int(port)

    def _arguments_of_tls(self) -> dict[str, Any]:
        tls = self._settings.tls
        return {
            "ssl_ca_certs": tls.ca,
            "ssl_certfile": tls.cert,
            "ssl_keyfile": tls.key,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": tls.check_hostname,
        }


async def _password(given: str | None, file: str | None) -> str | None:
    """Return a password, from its file where it is in one, which may be on a slow disk. Raises OSError."""
    return given if file is None else await asyncio.to_thread(_content_of, Path(file))


def _content_of(file: Path) -> str:
    return file.read_text().strip()
