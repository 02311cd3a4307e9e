"""Keys of tests, the settings with them, and requests that carry one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.keys import Key, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.http.serving import Serving

# Fixed, since some are in the names of tests, which all test processes must agree on.
ANN = Key("annannaa", "a2b3c4d5" * 6 + "e6f7")
BOB = Key("bobbobbb", "x7y6z5w4" * 6 + "v3u2")
OPS = Key("opsopsss", "m2n3o4p5" * 6 + "q6r7")
SUB = Key("subsubbb", "g2h3i4j5" * 6 + "k6l7")
READER = Key("readread", "b2c3d4e5" * 6 + "f6g7")
STRANGER = Key("stranger", "s2t3u4v5" * 6 + "w6x7")

ALL: dict[str, tuple[Key, tuple[Scope, ...]]] = {
    "ann": (ANN, ("submit", "operate")),
    "bob": (BOB, ("submit", "operate")),
    "ops": (OPS, ("admin",)),
    "sub": (SUB, ("submit",)),
    "reader": (READER, ("read",)),
}


def auth(*names: str, shared: bool = False, **changed: Sequence[str]) -> dict[str, Any]:
    """Return the section `auth` with some of these keys, by default with all; `changed` has other scopes of some."""
    keys = {name: of for name, of in ALL.items() if not names or name in names}
    return {
        "shared": shared,
        "keys": {
            name: {"id": key.id, "sha256": key.digest, "scopes": list(changed.get(name, scopes))}
            for name, (key, scopes) in keys.items()
        },
    }


def bearer(key: Key | None) -> dict[str, str]:
    return {} if key is None else {"Authorization": f"Bearer {key.text}"}


def request(method: str, path: str, key: Key | None, *lines: str, body: bytes = b"") -> bytes:
    """Return the bytes of a request."""
    head = [f"{method} {path} HTTP/1.1", "Host: h", *lines]
    if key is not None:
        head.append(f"Authorization: Bearer {key.text}")
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "".join(f"{line}\r\n" for line in head).encode() + b"\r\n" + body


async def reload(serving: Serving, section: dict[str, Any]) -> None:
    """Reload the server's settings, with another section `auth`."""
    import msgspec

    from jobqueue.config import AuthSettings

    settings = msgspec.structs.replace(serving.service.settings, auth=msgspec.convert(section, AuthSettings))
    assert await serving.queue.reload(settings) == []
