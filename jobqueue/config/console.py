"""The section `console` of the settings: whether the web console is there, where, and whether it changes anything."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from jobqueue.config.metrics import PATH
from jobqueue.config.section import Section

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.config.metrics import MetricsSettings

TAKEN = ("v1", "problems", "livez", "readyz", "openapi.json")
"""Beginnings of other paths."""


class ConsoleSettings(Section, frozen=True):
    """The web console, on the same port: there on loopback addresses and Unix sockets, elsewhere only with keys."""

    enabled: Annotated[bool, Meta(description="Whether the console is there.")] = True
    path: Annotated[
        str,
        Meta(
            pattern=f"^{PATH}$",
            max_length=200,
            examples=["/console", "/internal/console"],
            description="Path of the console, below which all its files are.",
        ),
    ] = "/console"
    readonly: Annotated[
        bool,
        Meta(
            description="Whether the console only reads: a session has the scope `read` alone; without keys, changes "
            "that a web page of the server's own origin asks for are refused."
        ),
    ] = False


def faults_of_console(
    console: ConsoleSettings, metrics: MetricsSettings, places: Mapping[tuple[str, ...], str]
) -> Iterator[str]:
    """Yield what is wrong with settings that are valid alone. Args: places: As in `listening`."""
    at = places.get(("console", "path"), "console.path")
    names = console.path.split("/")[1:]
    if names[0] in TAKEN or any(re.fullmatch(r"\.+", name) for name in names):
        yield f"{at}: {console.path} is another resource's: choose a path of its own, such as /console"
    elif f"{metrics.path}/".startswith(f"{console.path}/") or f"{console.path}/".startswith(f"{metrics.path}/"):
        yield f"{at}: {console.path} and metrics.path, {metrics.path}, are one below the other: choose another"
