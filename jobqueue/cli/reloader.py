"""`jobqueue serve --reload`: the server in a child process, started anew whenever its code or its settings change.

For development: the jobs of the process before are lost, after `STOP_S` for those that run.

Rules:

1. The folder of the target's file or package is watched, by `watchfiles` (the extra `reload`), and the settings file.
   Changes within `DEBOUNCE_MS` are one.
2. A file that is no Python leaves the server as it is: the error is told, and the next change awaited. So it is if the
   new server can't start.
3. Ctrl-C and SIGTERM end both; a second one ends them at once. SIGHUP is passed on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.cli.settings import CONFIG_FILE, FLAGS
from jobqueue.errors import ConfigError
from jobqueue.extras import extra
from jobqueue.process.signals import signals

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from watchfiles import Change

    from jobqueue.config import Settings

DEBOUNCE_MS = 300
LOOK_MS = 500
"""How often the settings file is compared."""

STOP_S = 2.0
"""How long a server may drain before a new one is started, in seconds."""

Stamp = tuple[int, int, int] | None


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Serve until Ctrl-C; return the exit code.

    Raises:
        MissingExtra: `watchfiles` is not installed.
        ConfigError: There is nothing to watch.
    """
    with extra("reload", "serve --reload"):
        import watchfiles
    folder = folder_of(options.target)
    if options.open:
        from jobqueue.cli import browser

        browser.open_when_ready(settings.server)
    process = _Process(command_of(options))
    stop = threading.Event()

    def on_stop() -> None:
        process.signal(signal.SIGTERM)
        stop.set()

    signals.hand_over(on_stop=on_stop, on_force=process.kill, on_hangup=lambda: process.signal(signal.SIGHUP))
    config = options.config or CONFIG_FILE
    _say(f"serving {options.target}; watching {folder} and {config}")
    process.start()
    watched = watchfiles.watch(
        folder,
        watch_filter=watchfiles.PythonFilter(),
        debounce=DEBOUNCE_MS,
        rust_timeout=LOOK_MS,
        yield_on_timeout=True,
        stop_event=stop,
        raise_interrupt=False,
    )
    _go_on(process, watched, stop, config)
    return process.wait()


def _go_on(process: _Process, watched: Iterable[set[tuple[Change, str]]], stop: threading.Event, config: Path) -> None:
    """Start the server anew after each change, until it is to stop, or has ended in order."""
    stamp, broken, told = _stamp(config), set[Path](), False
    for changes in watched:
        if stop.is_set() or process.code == 0:
            return
        if process.code is not None and not told:
            _say("the server has ended; waiting for a change")
            told = True
        changed = {Path(path) for _, path in changes}
        before, stamp = stamp, _stamp(config)
        if stamp != before:
            changed.add(config)
        if not changed:
            continue
        broken = {path for path in broken | changed if not _compiles(path)}
        if broken:
            _say("the server is left as it is; waiting for a change")
            continue
        _say(f"changed: {', '.join(sorted(_short(path) for path in changed))}")
        process.stop()
        if stop.is_set():
            return
        process.start()
        told = False


def folder_of(target: str) -> Path:
    """Return the folder of a target: that of its file, or of its package.

    Raises:
        ConfigError: There is none.
    """
    place = target.partition(":")[0]
    if place.endswith(".py"):
        folder = Path(place).expanduser().parent
        if folder.is_dir():
            return folder.resolve()
        raise ConfigError(f"serve --reload: there is no folder {folder}")
    name = place.partition(".")[0]
    for path in (Path(name), Path(f"{name}.py")):
        if path.exists():
            return path.resolve() if path.is_dir() else path.resolve().parent
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        raise ConfigError(f"serve --reload: no module {name!r}, neither here nor installed")
    return Path(spec.origin).parent


def command_of(options: argparse.Namespace) -> list[str]:
    """Return the command of the server without `--reload`."""
    flags = [f"--{name}={value}" for name in FLAGS if (value := getattr(options, name)) is not None]
    flags += [f"--set={override.setting}={override.text}" for override in options.set]
    if options.config is not None:
        flags.append(f"--config={options.config}")
    program = [sys.executable] if getattr(sys, "frozen", False) else [sys.executable, "-m", "jobqueue"]
    return [*program, "serve", *flags, "--", options.target]


class _Process:
    """The server of now."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return None if self._child is None else self._child.poll()

    def start(self) -> None:
        self._child = subprocess.Popen(self._command)  # noqa: S603  # this program itself

    def signal(self, number: signal.Signals) -> None:
        if self._child is not None:
            self._child.send_signal(number)

    def kill(self) -> None:
        """End it, and this process, at once."""
        self.signal(signal.SIGKILL)
        os._exit(1)

    def stop(self) -> None:
        """End it: in order, then by a second signal, then by force."""
        if self._child is None:
            return
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            self._child.send_signal(number)
            try:
                self._child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                continue
            return

    def wait(self) -> int:
        """Return its exit code, once it has ended."""
        return 0 if self._child is None else max(0, self._child.wait())


def _compiles(path: Path) -> bool:
    """Whether a file is Python, or none, or gone; tells its error."""
    if path.suffix not in (".py", ".pyw"):
        return True
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except OSError:
        return True
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        told = error.msg if isinstance(error, SyntaxError) else str(error)
        _say(f"{_short(path)}{line}: {told}")
        return False
    return True


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _short(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _say(text: str) -> None:
    print(f"reload: {text}", file=sys.stderr, flush=True)
