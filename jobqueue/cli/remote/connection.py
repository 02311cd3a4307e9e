"""The connection of a command to its server, as its flags say (`server_flags`), and the requests.

Rules:

1. The URL is `--url`, else `JOBQUEUE_URL`, else the address that a server started in this folder would listen on
   (`config.yaml`, the variables of settings), else `http://127.0.0.1:8080`.
2. The key is `--key`, else that in `--key-file`, else `JOBQUEUE_KEY`.
3. An error of a request ends the command with one line on standard error, and the exit code of `failures`.
"""

from __future__ import annotations

import io
import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from jobqueue.cli.remote import failures
from jobqueue.cli.remote.address import default_url
from jobqueue.cli.remote.output import Output
from jobqueue.client import URL_VARIABLE, SyncClient, key_in_file
from jobqueue.client.protocol import RETRY_READS_FOR_S, Request, decoded
from jobqueue.encoder import encode
from jobqueue.errors import ConfigError, Forbidden, JobNotFound, JobQueueError, Unauthorized

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from jobqueue.cli.command import Run
    from jobqueue.client.protocol import Answer, Steps

    Talk = Callable[["Connection", Output, argparse.Namespace], int]

TIMEOUT_S = 30.0


class Connection(SyncClient):
    """The blocking client, and requests for documents that are shown as they are."""

    @property
    def url(self) -> str:
        """The address, as messages show it."""
        return self._address.shown

    def read(self, target: str) -> Any:
        """GET a document."""
        return self._run(_document("GET", target, None))

    def ask(self, method: str, target: str, body: dict[str, Any] | None = None) -> Any:
        """Send a request that changes something; return its document, and None for an answer without one."""
        return self._run(_document(method, target, body))

    def answer(self, target: str) -> Answer:
        """GET whatever the answer is. Raises NoAnswer, if there is none."""
        return self._run(_any_answer(target))


def _document(method: str, target: str, body: dict[str, Any] | None) -> Steps[Any]:
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = Request(method=method, target=target, headers=headers, body=None if body is None else encode(body))
    answer = yield request
    return None if answer.status == 204 else decoded(answer, dict[str, Any])


def _any_answer(target: str) -> Steps[Answer]:
    return (yield Request(method="GET", target=target))


def connect(options: argparse.Namespace, timeout_s: float | None = None) -> Connection:
    """Return the connection that the flags ask for.

    Args:
        timeout_s: Of a command that is to be quick; its reads are not repeated. None: a request may take its time.

    Raises:
        ConfigError: One of them can't be used.
    """
    try:
        key = options.key
        if options.key_file is not None:
            if key is not None:
                raise ConfigError("--key and --key-file: give one of them")
            key = key_in_file(options.key_file)
        return Connection(
            options.url or os.environ.get(URL_VARIABLE) or default_url(),
            key=key,
            ca_file=options.ca_file,
            cert_file=options.cert_file,
            cert_key_file=options.cert_key_file,
            timeout_s=TIMEOUT_S if timeout_s is None else timeout_s,
            retry_reads_for_s=RETRY_READS_FOR_S if timeout_s is None else 0.0,
        )
    except OSError as error:
        raise ConfigError(f"{error.filename}: can't be read: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(str(error)) from None


def talking(talk: Talk, *, timeout_s: float | None = None) -> Run:
    """Make a command of a function that talks to a server: it gets the connection and the output.

    Args:
        timeout_s: As of `connect`.
    """

    @wraps(talk)
    def run(options: argparse.Namespace) -> int:
        tolerate(sys.stdout)
        tolerate(sys.stderr)
        try:
            return talk(connect(options, timeout_s), Output(options), options)
        except (ConfigError, BrokenPipeError):
            raise
        except (JobQueueError, TimeoutError, OSError, ValueError) as error:
            sys.stdout.flush()
            print(f"jobqueue: {failures.line_of(error)}", file=sys.stderr)
            return failures.code_of(error)

    return run


def tolerate(stream: object) -> None:
    """Let a stream escape the characters that its encoding doesn't have."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def optional(connection: Connection, target: str) -> Any:
    """GET a document; None where the server has no such path, or the key no access to it."""
    try:
        return connection.read(target)
    except (JobNotFound, Unauthorized, Forbidden):
        return None
