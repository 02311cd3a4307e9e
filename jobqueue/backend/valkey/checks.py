"""Checks of a store at the start: what would lose jobs, or not work, is told before anything depends on it.

Every fault is a line of its own, with what would be right. What can't be found out, since a managed service bars
`CONFIG`, is a warning.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError, ResponseError

from jobqueue.backend.valkey.connection import Lost, close
from jobqueue.backend.valkey.line import connect, reason_of
from jobqueue.backend.valkey.loading import ask, load
from jobqueue.backend.valkey.pauses import PAUSE_MAX_S, Pauses
from jobqueue.backend.valkey.replies import meaning_of, text_of
from jobqueue.backend.valkey.server_info import SECTIONS, read_info
from jobqueue.errors import ConfigError
from jobqueue.log import event_logger

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator

    from redis.asyncio.connection import AbstractConnection

    from jobqueue.backend.valkey.address import Address
    from jobqueue.backend.valkey.server_info import ServerInfo
    from jobqueue.config.valkey import ValkeySettings

VERSION_MIN: Final = (7, 0)
VERSION_OF_WAITAOF: Final = (7, 2)
CLOCK_MAX_S: Final = 3600.0
CLOCK_WARN_S: Final = 2.0
FORMAT: Final = 1
"""The layout of the keys in the store."""

log = event_logger(__name__)


async def check(address: Address, settings: ValkeySettings, start_s: float, rng: random.Random) -> bool:
    """Wait until the store can be reached, for `start_s`, check it, and load the library.

    Returns whether the library is there as functions, else as scripts.

    Raises:
        ConfigError: It can't be reached, or doesn't fit: every fault.
    """
    if faults := [*address.faults()]:
        raise ConfigError(*faults)
    line = await _reach(address, start_s, rng)
    try:
        async with asyncio.timeout(start_s):
            info = await read_info(line, *SECTIONS)
            faults = [
                *_faults_of_server(info, settings),
                *[fault async for fault in _faults_inside(line, info, settings)],
            ]
            if not faults:
                return await load(line, f"{{{settings.namespace}}}:")
    except TimeoutError:
        raise ConfigError(f"valkey.url: {address.shown} does not answer within {start_s:g} s") from None
    except (RedisError, Lost, OSError) as error:
        reason = meaning_of(error) if isinstance(error, RedisError) else reason_of(error)
        raise ConfigError(f"valkey.url: {address.shown}: {reason}") from None
    finally:
        await close(line)
    raise ConfigError(*(f"valkey.{fault}" for fault in faults))


async def _reach(address: Address, start_s: float, rng: random.Random) -> AbstractConnection:
    """Try to connect for a while; what time can't mend is told at once. Raises ConfigError."""
    give_up_at = time.monotonic() + start_s
    pauses = Pauses(rng)
    while True:
        try:
            line, _ = await connect(address)
            return line
        except (AuthenticationError, NoPermissionError) as error:
            told = "set the user and the password"
            if "without any password configured" in str(error):
                told = "the store has no password: remove it from the settings, or set requirepass there"
            raise ConfigError(f"valkey.url: {address.shown}: {text_of(error)}: {told}") from None
        except (Lost, RedisError, OSError) as error:
            reason, hint = reason_of(error), _hint(error)
            if hint or time.monotonic() + PAUSE_MAX_S > give_up_at:
                told = hint or f"start the store, or correct the address (tried for {start_s:g} s)"
                raise ConfigError(f"valkey.url: {address.shown}: {reason}: {told}") from None
        await pauses.wait()


def _hint(error: Exception) -> str:
    """Return what to do about an error that stays as it is; empty: time may mend it."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return "set valkey.tls.ca to the certificate of its issuer, and the host to a name in its certificate"
    if "SSL" in text or "record layer" in text:
        return "does it have TLS? An address without it begins with redis://, one with it with rediss://"
    if "DB index" in text or "Invalid Database" in text:
        return "the number at the end of the address is no database of it"
    if isinstance(error, Lost) and error.kind == "readonly":
        return "give the address of the primary, or set valkey.sentinels"
    return ""


def _faults_of_server(info: ServerInfo, settings: ValkeySettings) -> Iterator[str]:
    """Yield what the server's own words tell."""
    fields = info.fields
    if info.version < VERSION_MIN:
        yield f"url: it is {info.product}; {_version(VERSION_MIN)} or later is needed, of Valkey or Redis"
    if info.is_cluster:
        yield "url: it is a cluster; use a server that is none, with replicas and sentinels for availability"
    policy = fields.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        yield (
            f"url: its maxmemory-policy is {policy}, so it would throw jobs away when its memory is full: set "
            "maxmemory-policy noeviction there"
        )
    if settings.durability == "replica" and fields.get("connected_slaves", "0") == "0":
        yield (
            "durability: replica needs a replica of the store, and none is connected: connect one (after a failover "
            "the old primary), or set async until there is one"
        )
    if settings.durability == "aof":
        if info.version < VERSION_OF_WAITAOF:
            yield f"durability: aof needs {_version(VERSION_OF_WAITAOF)} or later, and it is {info.product}"
        if fields.get("aof_enabled") != "1":
            yield "durability: aof needs appendonly yes in the store's configuration, and it is no"


def _version(version: tuple[int, ...]) -> str:
    return f"version {'.'.join(map(str, version))}"


async def _faults_inside(line: AbstractConnection, info: ServerInfo, settings: ValkeySettings) -> AsyncIterator[str]:
    """Yield what takes a question of its own. Raises RedisError."""
    if info.version < VERSION_MIN or info.is_cluster:
        return
    if settings.durability == "aof" and info.fields.get("aof_enabled") == "1":
        try:
            _, fsync = await ask(line, "CONFIG", "GET", "appendfsync")
        except (ResponseError, ValueError) as error:
            log.warning("store.unchecked", setting="appendfsync", reason=str(error), needed="always")
        else:
            if fsync != b"always":
                yield f"durability: aof needs appendfsync always in the store's configuration, not {fsync.decode()}"
    seconds, micros = await ask(line, "TIME")
    off_s = int(seconds) + int(micros) / 1e6 - time.time()
    if abs(off_s) > CLOCK_MAX_S:
        side = "ahead of" if off_s > 0 else "behind"
        yield f"url: its clock is {abs(off_s):,.0f} s {side} this machine's: set both, by NTP"
    elif abs(off_s) > CLOCK_WARN_S:
        log.warning("store.clock_differs", store_ahead_s=round(off_s, 1))
    kept = await ask(line, "HGET", f"{{{settings.namespace}}}:meta", "format")
    if kept is not None and kept != str(FORMAT).encode():
        yield (
            f"namespace: {settings.namespace} has jobs in format {kept.decode('utf-8', 'replace')}, and this version "
            f"knows {FORMAT}: run the version that made them, or take another namespace"
        )
