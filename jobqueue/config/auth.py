"""The section `auth` of the settings: API keys and their scopes; and which addresses need them."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec
from msgspec import Meta

from jobqueue.config.key_limits import KeyLimits
from jobqueue.config.section import Section
from jobqueue.keys import DIGEST_PATTERN, ID_PATTERN, Scope

KEY_NAME = r"[a-z0-9][a-z0-9_-]{0,63}"

EXPOSED = (
    "other machines can reach this address, and without keys everything that reaches it may do everything: configure "
    "keys (auth.keys, auth.keys_file), set server.host to 127.0.0.1, or, where a proxy or a firewall decides which "
    "clients come in, set auth.none to true"
)


class KeySettings(Section, frozen=True):
    """Settings of one API key; its name is the name of its caller."""

    id: Annotated[
        str,
        Meta(
            pattern=f"^{ID_PATTERN}$",
            max_length=8,
            examples=["k3v7tq2m"],
            description="Id of the key: the part after `jq_`.",
        ),
    ]
    sha256: Annotated[
        str,
        Meta(
            pattern=f"^{DIGEST_PATTERN}$",
            max_length=64,
            examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"],
            description="SHA-256 of the key's secret, in hexadecimal digits.",
        ),
    ]
    scopes: Annotated[
        tuple[Scope, ...],
        Meta(
            min_length=1,
            max_length=4,
            examples=["submit", "read"],
            description="What the key may do: submit, read, operate (cancel, retry, run, delete, pause, change; "
            "includes read) and admin (everything, with the jobs of all callers).",
        ),
    ]
    limits: Annotated[
        KeyLimits, Meta(description="Limits of the key, where they differ from those of all callers.")
    ] = KeyLimits()


class AuthSettings(Section, frozen=True):
    """API keys: if there are any, each request needs one, but for `/livez`, `/readyz`, `/` and `/problems`."""

    keys: Annotated[
        dict[Annotated[str, Meta(pattern=f"^{KEY_NAME}$")], KeySettings], Meta(description="The keys, by name.")
    ] = msgspec.field(default_factory=dict)
    keys_file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=4096,
                description="File with further keys, in the form of `auth.keys`; null: there is none.",
            ),
        ]
        | None
    ) = None
    none: Annotated[
        bool,
        Meta(
            description="Allows a server without keys to listen on other addresses than loopback ones: everything that "
            "reaches it may do everything."
        ),
    ] = False
    shared: Annotated[
        bool, Meta(description="Lets each key see and change the jobs of all keys, within its scopes.")
    ] = False

    @property
    def required(self) -> bool:
        """Whether a request needs a key; also where the file has none left, so that its last line opens nothing."""
        return bool(self.keys) or self.keys_file is not None


def is_loopback(address: str) -> bool:
    """Whether an address reaches this machine only. Raises ValueError if it is no address."""
    known = ipaddress.ip_address(address.partition("%")[0])
    mapped = known.ipv4_mapped if isinstance(known, ipaddress.IPv6Address) else None
    return (mapped or known).is_loopback


def is_exposed(host: str, auth: AuthSettings) -> bool:
    """Whether a server on this host is open to other machines without a key. Of a name that is not known: False."""
    try:
        return not (auth.required or auth.none or is_loopback(host))
    except ValueError:
        return False
