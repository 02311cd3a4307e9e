"""Errors of requests: one line, and an exit code for scripts; and the address of the server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue import errors
from jobqueue.cli.main import main
from jobqueue.cli.remote import address, failures
from jobqueue.client import ErrorAnswer, FateUnknown, NoAnswer, Unreachable
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tests.cli.conftest import Run
    from tests.http.serving import Serving

ROOT = Path(__file__).parents[2]
NOWHERE = "http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.JobFailed("failed", "handler_error", "no"), 1),
        (errors.JobNotFound("no"), 1),
        (errors.JobGone("evicted"), 1),
        (errors.WrongState("no", state="running"), 1),
        (TimeoutError("no"), 1),
        (ErrorAnswer(404, "no"), 1),
        (errors.InvalidSubmission(), 2),
        (errors.KeyReused("no"), 2),
        (ErrorAnswer(400, "no"), 2),
        (ValueError("no"), 2),
        (errors.QueueFull("no", 1.0), 3),
        (errors.RateLimited("no", 1.0), 3),
        (errors.Draining(), 3),
        (errors.Duplicate("id"), 3),
        (errors.Unauthorized("no"), 3),
        (errors.Forbidden("no", scope="admin"), 3),
        (ErrorAnswer(421, "no"), 3),
        (Unreachable("no"), 4),
        (NoAnswer("no"), 4),
        (FateUnknown("no"), 4),
        (ErrorAnswer(500, "no"), 4),
        (ErrorAnswer(200, "no"), 4),
    ],
)
def test_each_error_has_its_exit_code(error: Exception, code: int) -> None:
    assert failures.code_of(error) == code


def test_a_rejection_tells_when_to_come_back() -> None:
    assert (
        failures.line_of(errors.QueueFull("it is full", 1.2)) == "rejected: it is full; try again in 2 s (Retry-After)"
    )


def test_a_message_of_a_server_is_one_line_without_escapes() -> None:
    assert failures.line_of(errors.JobNotFound("a\x1b[2J\nb")) == "a\\x1b[2J\\nb"


@pytest.mark.parametrize(
    "argv",
    [["status"], ["queues"], ["jobs"], ["submit", "echo"], ["jobs", "show", "x"], ["errors"], ["types"], ["openapi"]],
)
def test_without_a_server_each_command_is_exit_code_4_with_the_address(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*argv, "--url", NOWHERE]) == 4
    assert capsys.readouterr().err == f"jobqueue: {NOWHERE} can't be reached: Connection refused\n"


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Give the same answer to every request."""

    def serve() -> None:
        with suppress(OSError):  # it is closed
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            yield url
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    "body", [b"<html>a page</html>", b"[]", b"{}", b'{"status": "ready", "queues": [{"name": 7}]}', b'{"queues": 7}']
)
@pytest.mark.parametrize("command", ["queues", "status", "types"])
def test_an_answer_of_something_else_is_exit_code_4(
    body: bytes, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(head + body) as url:
        code = main([command, "--url", url, "-o", "table"])
    err = capsys.readouterr().err
    assert code == 4
    assert err.count("\n") == 1


async def test_a_missing_and_a_weak_key_are_exit_code_3(
    start: Callable[..., Awaitable[Serving]], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobqueue.keys import new_key

    key = new_key()
    of_key = {"id": key.id, "sha256": key.digest, "scopes": ["submit"]}
    keyed = await start(auth={"keys": {"ci": of_key}})
    monkeypatch.setenv("JOBQUEUE_URL", keyed.url)
    ran = await run("queues")
    assert (ran.code, ran.err[:16]) == (3, "jobqueue: denied")
    ran = await run("queues", "--key", key.text)
    assert (ran.code, "read" in ran.err) == (3, True)
    assert (await run("submit", "echo", "--key", key.text)).code == 0
    assert (await run("status", "-q")).code == 0


def test_a_faulty_address_or_key_is_exit_code_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("two words")
    for flags, message in (
        (["--url", "ftp://x"], "is not a server URL"),
        (["--url", NOWHERE, "--key", "a key"], "the key is no API key"),
        (["--url", NOWHERE, "--key-file", str(tmp_path / "key")], "is no API key"),
        (["--url", NOWHERE, "--key-file", str(tmp_path / "none")], "can't be read"),
        (["--url", NOWHERE, "--ca-file", "x.pem"], "need a URL that begins with https://"),
        (["--url", NOWHERE, "--key", "a", "--key-file", str(tmp_path / "key")], "give one of them"),
    ):
        assert main(["queues", *flags]) == 2
        assert message in capsys.readouterr().err


def test_the_default_address_is_that_of_the_settings_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("JOBQUEUE_")]:
        monkeypatch.delenv(name)
    assert address.default_url() == "http://127.0.0.1:8080"
    monkeypatch.setenv("JOBQUEUE_SERVER__PORT", "9001")
    assert address.default_url() == "http://127.0.0.1:9001"
    (tmp_path / "config.yaml").write_text("server: {host: '::1', port: 9000}")
    assert address.default_url() == "http://[::1]:9001"
    monkeypatch.delenv("JOBQUEUE_SERVER__PORT")
    assert address.default_url() == "http://[::1]:9000"
    (tmp_path / "config.yaml").write_text("server: {port: null, socket: /run/j.sock}")
    assert address.default_url() == "unix:/run/j.sock"
    (tmp_path / "config.yaml").write_text("server: {port: 0}")
    with pytest.raises(ConfigError, match="give --url"):
        address.default_url()
    (tmp_path / "config.yaml").write_text("server: {prot: 1}")
    with pytest.raises(ConfigError, match=r"did you mean 'server\.port'"):
        address.default_url()


async def test_ctrl_c_ends_a_command_quietly(serving: Serving) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobqueue", "events", "--url", serving.url),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    assert (await process.stderr.readline()).startswith(b"events of ")
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


async def test_a_reader_that_leaves_ends_a_command_quietly(serving: Serving, run: Run) -> None:
    await run("submit", "echo", "--wait")
    command = f"{sys.executable} -m jobqueue config default; echo $? >&2"
    ran = await asyncio.create_subprocess_shell(
        f"({command}) | head -c 1 >/dev/null", cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    _, err = await ran.communicate()
    assert err in (b"141\n", b"0\n")  # 0: the pipe took it all before
