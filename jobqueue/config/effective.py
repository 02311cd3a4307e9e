"""The settings in effect, one by one: value, default, source, and when a change of it applies.

`GET /v1/server/settings` tells them, and `jobqueue config diff` compares them with those of its own sources.

Rules:

1. A value is the text that a settings file would have, so that equal values are equal texts.
2. Ids and digests of keys, passwords and URLs of webhooks are `hidden`; of a key in `auth.keys_file` nothing is told.
3. The source is where the value was read: the newest reading that has this value, or the one before. `request`: a
   request has changed it since (`PATCH`). `application`: the program that embeds the queue has set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from jobqueue.config.load import KEYS, is_secret, texts
from jobqueue.config.settings import QueueSettings, Settings, reloads_live

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jobqueue.config.load import Loaded, Origin, Path
    from jobqueue.core.policy import QueuePolicy

HIDDEN = "hidden"
REQUIRED = "required"

From = Literal["default", "file", "environment", "flag", "request", "application"]


class EffectiveSetting(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in effect.

    Attributes:
        path: Its name: `queues.default.workers`.
        value: As a settings file has it; `hidden`: it identifies a key, is a password, or may have one.
        default: Likewise; `required`: there is none.
        source: Where the value comes from: the default, the file, the environment, a flag, a request since (`PATCH`),
            or the application that embeds the queue.
        origin: The line of the file, the variable, or the flag; null: it has none.
        applies: Whether a changed value takes effect with a reload, or with a restart.
    """

    path: str
    value: str
    default: str
    source: From
    origin: str | None
    applies: Literal["live", "restart"]


def changed_by_requests(settings: Settings, policies: Mapping[str, QueuePolicy], level: str | None) -> Settings:
    """Return settings with what requests have changed since they were read: policies of queues, the log's level.

    Args:
        level: None: there is no log of ours.
    """
    queues = {
        name: QueueSettings(**{field: getattr(policies[name], field) for field in QueueSettings.__struct_fields__})
        if name in policies
        else queue
        for name, queue in settings.queues.items()
    }
    log = settings.log if level is None else msgspec.structs.replace(settings.log, level=level)
    return msgspec.structs.replace(settings, queues=queues, log=log)


def effective(now: Settings, read: Settings, readings: Sequence[Loaded]) -> Iterator[EffectiveSetting]:
    """Yield each setting in effect; there may be thousands, so that a loop takes them in slices.

    Args:
        now: The settings in effect.
        read: The same without what requests have changed.
        readings: The sources as they were read, the newest first; none in an embedded queue.
    """
    defaults = dict(texts(Settings()))
    hidden_keys = frozenset[str]().union(*(reading.keys_of_file for reading in readings))
    source: From
    for path, text in texts(now, without_keys=hidden_keys):
        if text is None:
            continue
        value, default = _value(now, path), _default(path, defaults)
        changed = value != _value(read, path)
        source, origin = ("request", None) if changed else _source(path, value, text == default, readings)
        yield EffectiveSetting(
            path=".".join(path),
            value=HIDDEN if is_secret(path) and value is not None else text,
            default=default,
            source=source,
            origin=origin,
            applies="live" if reloads_live(path) else "restart",
        )


def _value(settings: Settings, path: Path) -> object:
    """Return the value of a setting; `...`: its queue or key is not there."""
    value: Any = settings
    for name in path:
        value = value.get(name, ...) if isinstance(value, dict) else getattr(value, name, ...)
    return value


def _default(path: Path, defaults: Mapping[Path, str | None]) -> str:
    if path[0] == "queues":
        path = ("queues", "default", *path[2:])
    default = defaults.get(path)
    if default is None:
        return REQUIRED if path[:2] == KEYS and path[-1] in ("id", "sha256", "scopes") else "null"
    return default


def _source(path: Path, value: object, is_default: bool, readings: Sequence[Loaded]) -> tuple[From, str | None]:
    for reading in readings:
        if _value(reading.settings, path) == value:
            origin: Origin | None = reading.origins.get(path)
            return ("default", None) if origin is None else (origin.source, origin.at)
    return ("default" if is_default else "application"), None
