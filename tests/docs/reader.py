"""A reader that follows one page from top to bottom: a folder, a shell, servers on free ports."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from bench.store import executable
from tests.docs import syntax
from tests.docs.expected import are_among, is_shown, wrong_statuses
from tests.docs.page import ROOT, STORE, BadPage, Block, Page

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

FOLDER = "/srv/jobs"
BLOCK_S = 60.0
START_S = 30.0
DEMO = "jobqueue serve"
LISTENS = re.compile(r"server\.listening|[Rr]unning on http")
"""The log line of a listening server: of this project, aiohttp or uvicorn."""

CURL = r"""
curl() {
  command curl -w '%{stderr}\nstatus=%{http_code}\n' "$@" 2>>"$DOCS_STATE/curl"
}
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Ports:
    """The ports on a page, and the free ports that replace them."""

    HOST = r"(?:127\.0\.0\.1|localhost|example\.com|\]):"
    NAMED = re.compile(
        rf"({HOST}|--port[= ]|\bport: ?|\b(?:port|PORT)=|\blisten |^:)(80\d\d|9\d\d\d|6379)\b", re.MULTILINE
    )

    def __init__(self) -> None:
        self._given: dict[str, str] = {}

    def of(self, named: str) -> str:
        return self._given.setdefault(named, str(free_port()))

    def replace(self, text: str) -> str:
        return self.NAMED.sub(lambda found: found[1] + self.of(found[2]), text)

    def restore(self, text: str) -> str:
        for named, given in self._given.items():
            text = re.sub(rf"\b{given}\b", named, text)
        return text


class Server:
    """A server started by a page; tests can wait for its log lines."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.logged = ""
        self._ended = False
        self._changed = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        if not self.wait_for(lambda logged: LISTENS.search(logged) is not None):
            self.kill()
            raise AssertionError(f"the server didn't start:\n{self.logged}")

    def wait_for(self, found: Callable[[str], bool]) -> bool:
        """Wait until the log satisfies a condition, or has ended; return whether it does."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or found(self.logged), START_S)
            return found(self.logged)

    def stop(self) -> None:
        """Send SIGTERM, and expect the exit code 0; uvicorn sends itself the signal again at its very end."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(BLOCK_S)
        self._reading.join()
        in_order = code == 0 or (code == -signal.SIGTERM and "Finished server process" in self.logged)
        assert in_order, f"the server ended with {code}:\n{self.logged}"

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.logged += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Reader:
    """Follows a page's blocks in their order. Use it as a context manager: leaving ends the servers.

    Args:
        folder: An empty folder for the files of the page.
    """

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder / "jobs"
        self._state = folder / "state"
        for each in (self._folder, self._state, folder / "bin", folder / "tmp"):
            each.mkdir()
        for name, module in (("python", ""), ("python3", ""), ("jobqueue", "-m jobqueue "), ("pytest", "-m pytest ")):
            program = folder / "bin" / name
            program.write_text(f'#!/bin/sh\nexec {sys.executable} {module}"$@"\n')
            program.chmod(0o755)
        if (store := executable()) is not None:
            (folder / "bin" / STORE).symlink_to(store)
        if page.in_checkout:
            self._link_checkout()
        self._ports = Ports()
        self._servers: list[Server] = []
        self._printed: str | None = None
        self._skipped = False
        self._setup = ""
        kept = {name: os.environ[name] for name in ("LANG", "LC_ALL") if name in os.environ}
        self._environment = kept | {
            "PATH": f"{folder / 'bin'}:{os.environ.get('PATH', os.defpath)}:/usr/sbin",
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "HOME": str(folder),
            "TMPDIR": str(folder / "tmp"),
            "DOCS_STATE": str(self._state),
            "PYTEST_ADDOPTS": "-p no:cacheprovider",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.kill()
        for file in self._folder.glob("*.pid"):  # of programs that run in the background
            with suppress(ValueError, ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGTERM)

    def follow(self) -> None:
        """Run, check and compare every block. Raises AssertionError with the block's page and line."""
        for block in self._page.blocks:
            try:
                self._take(block)
            except BadPage:
                raise
            except Exception as error:
                raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error

    def _take(self, block: Block) -> None:
        if block.verb == "stop":
            self._servers[-1].stop()
        elif block.verb == "make":
            self._make(block)
        elif block.verb in ("output", "response"):
            syntax.check(block, self._state)
            if self._skipped:
                return
            assert self._printed is not None, "nothing has been run before this output"
            same = is_shown(block.text, self._printed)
            if block.verb == "response":
                same = json.loads(block.text) == json.loads(self._printed.splitlines()[-1])
            assert same, f"printed was:\n{self._printed}"
        elif block.verb == "log":
            self._find_in_log(block)
        else:
            self._write_and_run(block)

    def _write_and_run(self, block: Block) -> None:
        syntax.check(block, self._state)
        if block.file:
            self._write(block)
        if block.verb or block.not_run:
            self._skipped = bool(block.not_run)
        if block.not_run:
            return
        if block.verb == "serve":
            self._serve(self._ports.replace(block.text))
        elif block.language == "sh" and block.verb == "run":
            self._run_sh(block)
        elif block.language == "python" and block.hidden:
            self._setup += block.text
        elif block.language == "python" and block.verb == "run":
            self._run_python(block)

    def _write(self, block: Block) -> None:
        path = self._folder / block.file
        path.parent.mkdir(parents=True, exist_ok=True)
        before = path.read_text() if block.appended else ""
        path.unlink(missing_ok=True)  # it may be a link into the checkout
        path.write_text(before + self._localized(block.text))

    def _run_sh(self, block: Block) -> None:
        script = self._localized(block.text)
        if "127.0.0.1:" in script:
            self._have_server()
        variables, statuses = self._state / "variables", self._state / "curl"
        statuses.write_text("")
        (self._state / "script").write_text(
            f'{CURL}\nset -a; [ ! -f {variables} ] || . {variables}; cd "${{DOCS_FOLDER:-.}}"\n{script}\n'
            f"DOCS_FOLDER=$PWD; export -p >{variables}\n"
        )
        printed = self._run(["bash", "-euo", "pipefail", str(self._state / "script")], lambda: statuses.read_text())
        answered = [int(status) for status in re.findall(r"^status=(\d+)$", statuses.read_text(), re.MULTILINE)]
        if not block.hidden:
            self._printed = printed
            assert not (wrong := wrong_statuses(script, answered)), f"{wrong}\nprinted was:\n{printed}"

    def _run_python(self, block: Block) -> None:
        script = self._localized(self._setup + block.text)
        self._setup = ""
        if "127.0.0.1:" in script:
            self._have_server()
        program = self._folder / (block.file or ".block.py")
        program.write_text(script)
        self._printed = self._run([sys.executable, str(program)], str)

    def _run(self, command: list[str], more: object) -> str:
        ran = subprocess.run(
            command,
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=BLOCK_S,
            check=False,
        )
        extra = more() if callable(more) else ""
        assert ran.returncode == 0, f"it ended with {ran.returncode}\n{ran.stdout}\n{ran.stderr}\n{extra}"
        return self._as_written(ran.stdout)

    def _localized(self, text: str) -> str:
        return self._ports.replace(text).replace(FOLDER, str(self._folder))

    def _as_written(self, text: str) -> str:
        return self._ports.restore(text).replace(str(self._folder), FOLDER)

    # -- servers

    def _have_server(self) -> None:
        if not any(server.process.poll() is None for server in self._servers):
            self._serve(DEMO)

    def _serve(self, command: str) -> None:
        settings = {"SERVER__PORT": self._ports.of("8080"), "SERVER__LINGER_S": "0.2", "LOG__FORMAT": "text"}
        environment = self._environment | {f"JOBQUEUE_{name}": value for name, value in settings.items()}
        self._servers.append(Server(command.strip(), self._folder, environment))

    def _find_in_log(self, block: Block) -> None:
        assert self._servers, "no server has been started before this log"
        server = self._servers[-1]
        found = server.wait_for(lambda logged: are_among(block.text, self._as_written(logged)))
        assert found, f"logged was:\n{self._as_written(server.logged)}"

    # -- the checkout

    def _link_checkout(self) -> None:
        for path in ROOT.iterdir():
            if path.name not in (".git", "config.yaml", "tmp"):
                (self._folder / path.name).symlink_to(path)

    def _make(self, block: Block) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        for line in filter(None, (line.split(" #")[0].strip() for line in block.text.splitlines())):
            assert line.startswith("make"), f"no command of make: {line}"
            if shutil.which("make") is None:
                continue
            ran = subprocess.run(
                ["bash", "-c", line.replace("make", "make --dry-run", 1)],
                cwd=ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stderr
