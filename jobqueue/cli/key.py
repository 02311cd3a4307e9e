"""`jobqueue key new`: draws an API key, and says or writes what a server must know of it.

Rules:

1. Standard output has the key alone, once, and nothing keeps it; settings have the SHA-256 of its secret.
2. A file of keys is replaced as a whole, by a rename: a server that reloads meanwhile reads the old or the new one. A
   new file has mode 0600; one that exists keeps its owner and mode, since another user's server may read it.
3. A file that can't be read as keys is left as it is, and so is one that would not be readable afterwards.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from jobqueue.cli.command import Command
from jobqueue.config.auth import KEY_NAME
from jobqueue.config.load import Override, trace
from jobqueue.errors import ConfigError
from jobqueue.folder_lock import locked
from jobqueue.keys import SCOPES, Key, Scope, new_key
from jobqueue.paths import written_path

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.parser import Parser
    from jobqueue.config import KeySettings

MODE = 0o600

LOCK_S = 10.0
"""How long to wait for another process that adds a key."""


def scopes_in(text: str) -> tuple[Scope, ...]:
    """Read scopes, such as `submit,read`. Raises ConfigError for others, and for none."""
    named = [word.strip() for word in text.split(",")]
    for word in named:
        if word not in SCOPES:
            near = difflib.get_close_matches(word, SCOPES, n=1)
            hint = f", did you mean '{near[0]}'?" if near else f"; there are {', '.join(SCOPES)}"
            raise ConfigError(f"--scope: {f'{word!r} is no scope' if word else 'a scope is empty'}{hint}")
    return tuple(scope for scope in get_args(Scope) if scope in named)


def new(name: str, scopes: tuple[Scope, ...], keys_file: Path | None) -> tuple[Key, str]:
    """Draw a key; add it to the file, if there is one.

    Args:
        name: The name of its caller.

    Returns:
        The key, and its entry in the settings, as YAML.

    Raises:
        ConfigError: The name is invalid or taken, or the file can't be read or written.
    """
    if not re.fullmatch(KEY_NAME, name):
        raise ConfigError(f"{name!r:.70} is not a valid key name; use up to 64 of a-z, 0-9, - and _")
    key = new_key()
    if keys_file is None:
        return key, entry(name, key, scopes)
    try:
        path = written_path(keys_file).resolve()
        # Each process writes the keys that it has read, and one more.
        with locked(path.parent, wait_s=LOCK_S):
            known = _keys_in(path) if path.exists() else {}
            if name in known:
                raise ConfigError(f"{keys_file}: the name {name} is taken: choose another, or remove its entry first")
            while key.id in {each.id for each in known.values()}:
                key = new_key()
            _add(path, entry(name, key, scopes), names={*known, name})
    except (ValueError, RuntimeError) as error:  # no home folder; a circle of symbolic links
        raise ConfigError(f"--keys-file: {error}") from None
    except BlockingIOError:
        raise ConfigError(f"{keys_file}: another process holds the lock of its folder: try again later") from None
    except OSError as error:
        raise ConfigError(f"{keys_file}: can't be written: {error.strerror}") from None
    return key, entry(name, key, scopes)


def entry(name: str, key: Key, scopes: tuple[Scope, ...]) -> str:
    """Return a key's entry below `auth.keys`."""
    return f'{name}:\n  id: "{key.id}"\n  sha256: "{key.digest}"\n  scopes: [{", ".join(scopes)}]\n'


def _keys_in(path: Path) -> dict[str, KeySettings]:
    """Read a file of keys as a server does."""
    file = Override(flag="--keys-file", setting="auth.keys_file", text=str(path))
    return trace(None, environ={}, overrides=[file]).settings.auth.keys


def _add(path: Path, text: str, *, names: set[str]) -> None:
    """Replace the file by one that also has this entry."""
    before = path.read_bytes() if path.exists() else b""
    after = before + (b"\n" if before and not before.endswith(b"\n") else b"") + text.encode()
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        written = Path(file.name)
        try:
            _take_owner_and_mode(file.fileno(), path)
            file.write(after)
            file.flush()
            os.fsync(file.fileno())
            _check(written, path, names)
            written.replace(path)
        except BaseException:
            with suppress(OSError):
                written.unlink()
            raise
    _make_durable(path.parent)


def _take_owner_and_mode(descriptor: int, path: Path) -> None:
    if not path.exists():
        os.fchmod(descriptor, MODE)
        return
    old, new = path.stat(), os.fstat(descriptor)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))


def _check(written: Path, path: Path, names: set[str]) -> None:
    """Raise ConfigError unless the new file has exactly these keys."""
    try:
        found = set(_keys_in(written))
    except ConfigError as error:
        faults = (fault.replace(str(written), str(path)) for fault in error.faults)
        raise ConfigError(
            f"{path}: has a form to which nothing can be appended: add the entry by hand", *faults
        ) from None
    if found != names:
        raise ConfigError(f"{path}: has a form to which nothing can be appended: add the entry by hand")


def _make_durable(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _new(options: argparse.Namespace) -> int:
    """Print a new API key, and its entry in the settings."""
    made, text = new(options.name, scopes_in(options.scope), options.keys_file)
    print("The key; it is kept nowhere, and shown this once. Clients take it from JOBQUEUE_KEY:", file=sys.stderr)
    print(made.text, flush=True)
    if options.keys_file is not None:
        print(f"Added to {options.keys_file}: {options.name}. A running server reads it at a SIGHUP.", file=sys.stderr)
        return 0
    below = "".join(f"    {line}\n" for line in text.splitlines())
    print(f"In the settings, beside the keys that are there:\n\nauth:\n  keys:\n{below}", end="", file=sys.stderr)
    return 0


def _arguments(parser: Parser) -> None:
    parser.add_argument(
        "name", metavar="NAME", help="name of the caller in settings, logs and quotas; a-z, 0-9, - and _"
    )
    parser.add_argument(
        "--scope", required=True, metavar="SCOPES", help="what it may do: submit, read, operate, admin; `submit,read`"
    )
    parser.add_argument(
        "--keys-file",
        type=Path,
        metavar="PATH",
        help="add the entry to this file (auth.keys_file); without it there, it is made",
    )


NEW = "Draw an API key: print it, and, on standard error, its entry in the settings, which has the SHA-256 only."
COMMANDS = (Command("new", NEW, _new, _arguments),)
