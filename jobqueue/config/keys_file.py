"""The file of keys (`auth.keys_file`): the same mapping as `auth.keys`, in a file of its own.

So the keys may have another owner and other permissions than the settings, and a script may write them.

Rules:

1. It must be a regular file: a pipe would be empty at the next reload.
2. A file that all users may write to is a fault: each could add a key.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from msgspec.structs import replace

from jobqueue.config.yaml_file import Reading, dotted, read_file
from jobqueue.paths import written_path

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_keys(text: str, named_at: str) -> Reading:
    """Read a file of keys; the paths of its settings are those below `auth.keys`.

    Args:
        text: The file's path, as the settings have it.
        named_at: The position of that setting, for faults that concern the whole file.
    """
    try:
        path = written_path(text)
        mode = path.stat().st_mode
    except ValueError as error:
        return Reading([], [f"{named_at}: {error}"])
    except OSError as failure:
        return Reading([], [f"{named_at}: {text} can't be read: {failure.strerror}"])
    if not stat.S_ISREG(mode):
        return Reading([], [f"{named_at}: {text} is not a regular file"])
    if mode & stat.S_IWOTH:
        return Reading([], [f"{named_at}: all users may write to {text}, and so add keys: run `chmod o-w {text}`"])
    given, faults = read_file(path, holds="keys by name, such as `ci:`")
    return Reading([replace(each, path=("auth", "keys", *each.path), spell=_spell) for each in given], faults)


def _spell(path: Sequence[str]) -> str:
    return dotted(path[2:] if path[:2] == ("auth", "keys") else path)
