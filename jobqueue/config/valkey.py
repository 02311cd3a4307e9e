"""The section `valkey` of the settings: a store outside the process, which several servers share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Meta

from jobqueue.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMES = {"redis": "redis", "rediss": "rediss", "valkey": "redis", "valkeys": "rediss", "unix": "unix"}
"""The schemes of an address, by those that the client library knows."""

URL = r"(?:redis|rediss|valkey|valkeys)://\S+|unix://\S*/\S+"
URL_EXPECTED = (
    "an address that begins with redis:// or valkey://, with TLS rediss:// or valkeys://, or unix:// and the path of a "
    "socket, such as redis://127.0.0.1:6379/0"
)
SENTINEL = r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}"
NAMESPACE = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

HIDDEN = "***"
"""Shown in the place of a password."""

Durability = Literal["async", "replica", "aof"]


class ValkeyTlsSettings(Section, frozen=True):
    """TLS to the store and its sentinels, with an address that begins with `rediss://` or `valkeys://`."""

    ca: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of the certificates, in PEM form, that the store's certificate must be issued by; "
                "null: those of the system.",
            ),
        ]
        | None
    ) = None
    cert: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of the certificate that this server shows to the store; null: none.",
            ),
        ]
        | None
    ) = None
    key: (
        Annotated[
            str,
            Meta(min_length=1, max_length=4096, description="File of that certificate's private key, not encrypted."),
        ]
        | None
    ) = None
    check_hostname: Annotated[
        bool,
        Meta(description="Whether the store's certificate must have the name, or the address, that was connected to."),
    ] = True


class ValkeySettings(Section, frozen=True):
    """The store of `backend: valkey`: a Valkey or Redis server from 7.0 on, no cluster."""

    url: Annotated[
        str,
        Meta(
            pattern=f"^(?:{URL})$",
            max_length=2048,
            examples=["redis://127.0.0.1:6379/0", "rediss://user:password@store.example.com:6380/0"],
            description="Address of the store: `redis://` or `valkey://`, with TLS `rediss://` or `valkeys://`, or a "
            "Unix socket, `unix:///run/valkey.sock`. A user, a password and the number of a database may stand in it; "
            "a password in it is never shown.",
        ),
    ] = "redis://127.0.0.1:6379/0"
    password: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1024,
                description="Password of the store, in place of one in `url`; never shown.",
            ),
        ]
        | None
    ) = None
    password_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of that password alone, read at each connection, so that it may change.",
            ),
        ]
        | None
    ) = None
    sentinels: Annotated[
        tuple[
            Annotated[
                str,
                Meta(pattern=f"^{SENTINEL}$", max_length=300, examples=["sentinel-1:26379", "sentinel-2:26379"]),
            ],
            ...,
        ],
        Meta(
            max_length=32,
            description="Hosts and ports of sentinels, which tell the store's address: the host in `url` is then not "
            "used, the rest of it is.",
        ),
    ] = ()
    sentinel_name: Annotated[
        str, Meta(min_length=1, max_length=255, description="Name under which the sentinels know the store.")
    ] = "mymaster"
    sentinel_user: (
        Annotated[
            str, Meta(min_length=1, max_length=255, description="User of the sentinels; null: the one named default.")
        ]
        | None
    ) = None
    sentinel_password: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=1024,
                description="Password of the sentinels; never shown; null: they need none.",
            ),
        ]
        | None
    ) = None
    sentinel_password_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File of that password alone, read whenever they are asked, so that it may change.",
            ),
        ]
        | None
    ) = None
    namespace: Annotated[
        str,
        Meta(
            pattern=f"^{NAMESPACE}$",
            max_length=64,
            examples=["jobqueue", "shop-staging"],
            description="Begins each key in the store: servers that share queues have the same one, and no others.",
        ),
    ] = "jobqueue"
    durability: Annotated[
        Durability,
        Meta(
            description="What an accepted job survives: async (what the store's own persistence and replication keep), "
            "replica (the loss of the primary: a replica has it before the answer; needs one that is connected) or aof "
            "(a crash of the store: it is on disk before the answer; needs `appendonly yes` and `appendfsync always` "
            "there)."
        ),
    ] = "async"
    ttl_s: Annotated[
        float,
        Meta(
            ge=3.0,
            le=600.0,
            description="Time without a sign of life after which a server counts as gone, and its jobs run elsewhere.",
        ),
    ] = 15.0
    cache_s: Annotated[
        float,
        Meta(
            ge=0.0,
            le=60.0,
            description="How long the record of a job that is over may be answered from memory; 0: it never is.",
        ),
    ] = 1.0
    call_timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=60.0,
            description="Time for an answer of the store, after which the connection is given up and the call is sent "
            "again on the next one.",
        ),
    ] = 2.0
    tls: ValkeyTlsSettings = ValkeyTlsSettings()

    def __repr__(self) -> str:
        return f"ValkeySettings(url={shown_url(self.url)!r}, namespace={self.namespace!r})"


def shown_url(url: str) -> str:
    """Return an address without its password."""
    beginning, found, rest = url.partition("://")
    identity, at, where = rest.rpartition("@")
    if at and ":" in identity:
        rest = f"{identity.partition(':')[0]}:{HIDDEN}@{where}"
    return re.sub(r"([?&]password=)[^&]*", rf"\g<1>{HIDDEN}", f"{beginning}{found}{rest}")


def faults_of_valkey(valkey: ValkeySettings, places: Mapping[tuple[str, ...], str]) -> Iterator[str]:
    """Yield what is wrong with settings of the store that are valid alone. Args: places: As in `listening`."""

    def at(name: str) -> str:
        return places.get(("valkey", *name.split(".")), f"valkey.{name}")

    yield from (f"{at('url')}: {fault}" for fault in _faults_of_url(valkey.url))
    tls = valkey.tls
    if (tls.cert is None) != (tls.key is None):
        given, other = ("cert", "key") if tls.key is None else ("key", "cert")
        yield f"{at(f'tls.{given}')}: needs valkey.tls.{other}, too"
    if not valkey.url.startswith(("rediss://", "valkeys://")):
        for name in ("ca", "cert", "key"):
            if getattr(tls, name) is not None:
                yield f"{at(f'tls.{name}')}: needs a valkey.url that begins with rediss:// or valkeys://"
    if valkey.password is not None and valkey.password_file is not None:
        yield f"{at('password_file')}: must not be set beside valkey.password: the password has one place"
    if valkey.sentinel_password is not None and valkey.sentinel_password_file is not None:
        yield (
            f"{at('sentinel_password_file')}: must not be set beside valkey.sentinel_password: the password has one "
            "place"
        )
    if valkey.sentinel_user is not None and valkey.sentinel_password is valkey.sentinel_password_file is None:
        yield f"{at('sentinel_user')}: needs valkey.sentinel_password or valkey.sentinel_password_file, too"
    if valkey.sentinels and valkey.url.startswith("unix://"):
        yield f"{at('sentinels')}: tell the address of a host, and valkey.url is a Unix socket: set redis:// or rediss://"
    if valkey.ttl_s < 3 * valkey.call_timeout_s:
        yield (
            f"{at('ttl_s')}: must be at least three times valkey.call_timeout_s: one slow answer must not make a "
            "server count as gone"
        )


def _faults_of_url(url: str) -> Iterator[str]:
    """Yield what is wrong with an address that has a valid scheme. None of it shows the password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        yield "the port must be a number up to 65535 (write / in a password as %2F, # as %23, ? as %3F and @ as %40)"
        return
    unix = parts.scheme == "unix"
    if not unix and not parts.hostname:
        yield "has no host, such as redis://127.0.0.1:6379"
    if port == 0:
        yield "the port must not be 0"
    if not unix and not re.fullmatch(r"/?|/[0-9]{1,5}", parts.path):
        yield "what follows the host must be the number of a database, as in redis://127.0.0.1:6379/0"
    if parts.fragment:
        yield "must have no #: write it as %23 in a password"
    if others := sorted(parse_qs(parts.query, keep_blank_values=True).keys() - {"db"}):
        yield f"has unknown parameters ({', '.join(others)}): only ?db= is known; settings of the section say the rest"
