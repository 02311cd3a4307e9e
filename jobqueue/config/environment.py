"""The environment as a flat list of settings: `JOBQUEUE_SECTION__KEY`, or `JOBQUEUE_KEY` of one in no section.

Rules:

1. Every variable that begins with `JOBQUEUE_` is a setting, or a fault: a misspelt one is never passed over.
2. So is one with a beginning that is nearly that (`JOBQEUE_`, `jobqueue_`), if the rest is the name of a setting.
3. Exempt are the variables that Kubernetes sets by itself for services called `jobqueue` or `jobqueue-…`, and those
   that are for other programs: `JOBQUEUE_BUILD`, which the build of a wheel reads, and those that clients read. An
   image, or a shell, may set them for all.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from jobqueue.config.yaml_file import Given, Reading, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PREFIX = "JOBQUEUE_"
OF_OTHERS = frozenset(
    {
        *("JOBQUEUE_BUILD", "JOBQUEUE_KEY", "JOBQUEUE_URL"),
        *("JOBQUEUE_CA_FILE", "JOBQUEUE_CERT_FILE", "JOBQUEUE_CERT_KEY_FILE"),
    }
)

_OF_SERVICE = re.compile(
    r"JOBQUEUE_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_SERVICE_PORT = re.compile(r"JOBQUEUE_(\w+_)?PORT")
_SERVICE_URL = re.compile(r"(tcp|udp|sctp)://")


def variable(path: Sequence[str]) -> str:
    """Return the variable of a setting's path."""
    return PREFIX + "__".join(path).upper()


def read_environment(environ: Mapping[str, str], settings: Sequence[tuple[str, ...]]) -> Reading:
    """Read the variables; `settings` are the paths of all settings, with the queue `default`, for suggestions."""
    given: list[Given] = []
    faults: list[str] = []
    for name, text in sorted(environ.items()):
        if not name.startswith(PREFIX):
            if meant := _meant(name, settings):
                faults.append(f"{shown(name)}: unknown setting, did you mean '{meant}'?")
            continue
        if name in OF_OTHERS or _is_of_service(name, text):
            continue
        if "__" in name or (name.removeprefix(PREFIX).lower(),) in settings:
            path = tuple(name.removeprefix(PREFIX).lower().split("__"))
            given.append(
                Given(
                    path=path,
                    text=text,
                    name_at=name,
                    value_at=name,
                    origin=name,
                    source="environment",
                    spell=variable,
                )
            )
        else:
            faults.append(f"{shown(name)}: unknown setting{_hint(name, settings)}")
    return Reading(given, faults)


def _meant(name: str, settings: Sequence[tuple[str, ...]]) -> str | None:
    """Return the variable that differs only in its beginning, or in case; None if there is none."""
    beginning, _, section = name.upper().partition("__")[0].rpartition("_")
    path = (section, *name.upper().split("__")[1:])
    if not difflib.get_close_matches(f"{beginning}_", [PREFIX], cutoff=0.8) or len(path) < 2:
        return None
    known = (path[0], "DEFAULT", *path[2:]) if path[0] == "QUEUES" else path
    return variable(path) if variable(known) in {variable(setting) for setting in settings} else None


def _is_of_service(name: str, text: str) -> bool:
    if _OF_SERVICE.fullmatch(name):
        return True
    return bool(_SERVICE_PORT.fullmatch(name) and _SERVICE_URL.match(text))


def _hint(name: str, settings: Sequence[tuple[str, ...]]) -> str:
    """Suggest the setting with this name in single underscores, a similar one, or one with this ending."""
    spelt = name.removeprefix(PREFIX).lower()
    names = {"_".join(path): path for path in settings} | {path[-1]: path for path in reversed(settings)}
    near = difflib.get_close_matches(spelt, names, n=1, cutoff=0.8)
    if near:
        return f", did you mean '{variable(names[near[0]])}'?"
    for path in settings:
        of_queue = re.fullmatch(rf"queues_(\w+)_{path[-1]}", spelt) if path[0] == "queues" else None
        if of_queue:
            return f", did you mean '{variable(('queues', of_queue[1], path[-1]))}'?"
    return f"; a section and a name are divided by two underscores, as in {variable(('server', 'port'))}"
