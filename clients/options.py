"""The fleet's options: what the command line says, checked."""

from __future__ import annotations

import argparse
import json
import math
import os
import re
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from clients.requirements import EXAMPLES, METRICS, Requirement, requirement
from jobqueue.cli.parser import Parser
from jobqueue.client import (
    CA_VARIABLE,
    CERT_KEY_VARIABLE,
    CERT_VARIABLE,
    KEY_VARIABLE,
    URL_VARIABLE,
    Secret,
    TlsFiles,
    address_of,
    checked_key,
    key_in_file,
)
from jobqueue.paths import written_path

JOBS_AT_ONCE = 6
"""How many jobs a client waits for or listens to at once: as many connections as browsers open to one host."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the fleet; every field is a command-line option of the same name.

    Attributes:
        key: The API key of all clients; empty for none.
    """

    url: str = "http://127.0.0.1:8080"
    key: str = Secret("")
    ca_file: Path | None = None
    cert_file: Path | None = None
    cert_key_file: Path | None = None
    clients: int = 500
    jobs: int = 3
    poll_s: float = 1.0
    via: Literal["head", "get", "wait", "events", "batch"] = "head"
    rate: float | None = None
    disobedient: float = 0.0
    impatience_s: float = 0.2
    spawn_rate: float = 100.0
    duration_s: float = 60.0
    grace_s: float = 60.0
    processes: int = 1
    type: str = "sleep"
    args: dict[str, Any] = msgspec.field(default_factory=lambda: {"min_s": 0.05, "max_s": 0.05})
    file: Path | None = None
    seed: int = 0
    report: Path | None = None
    html: Path | None = None
    require: tuple[Requirement, ...] = ()

    @property
    def tls_files(self) -> TlsFiles:
        return TlsFiles(ca_file=self.ca_file, cert_file=self.cert_file, cert_key_file=self.cert_key_file)

    @property
    def connections(self) -> int:
        """How many connections a client has, at most."""
        return 1 + min(self.jobs, JOBS_AT_ONCE) if self.via in ("wait", "events") else 1


def parse(argv: list[str] | None = None) -> Options:
    """Read the command line; an invalid option ends the program with the valid form."""
    default = Options()
    parser = Parser(
        prog="jobqueue-clients",
        description="Simulated clients: each creates jobs, follows them until all are over, and starts over. "
        "With --rate, an open loop instead: submissions come at that rate, whatever the answers are.",
        epilog="Exit code: 0 when every accepted job was seen to end; 1 when not, when no server answered, or when it "
        "rejected submissions; 2 when the options are wrong; 99 when a requirement was not met.",
    )
    many, time, path = {"type": _count, "metavar": "N"}, {"type": _seconds, "metavar": "S"}, {"metavar": "PATH"}
    path | {"type": _path, "default": None}
    options: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("url", f"URL of the server (default JOBQUEUE_URL, or {default.url})", {"type": _url, "default": None}),
        (
            "key",
            "API key (default JOBQUEUE_KEY). Other users of this machine see it in the list of processes: "
            "rather set the variable, or use --key-file",
            {"type": _key, "metavar": "KEY", "default": None},
        ),
        ("key_file", "file that holds the API key", path | {"type": _key_file, "dest": "key", "default": None}),
        (
            "ca_file",
            f"authorities that are trusted, for https:// (default {CA_VARIABLE}, or the system's)",
            path | {"default": None},
        ),
        (
            "cert_file",
            f"certificate of all clients, where the server wants one (default {CERT_VARIABLE})",
            path | {"default": None},
        ),
        (
            "cert_key_file",
            f"its private key, if it is elsewhere (default {CERT_KEY_VARIABLE})",
            path | {"default": None},
        ),
        ("clients", "number of clients", many),
        ("jobs", "jobs per client and round", many),
        ("poll_s", "interval between polls of a job", time),
        (
            "via",
            "how jobs are followed: polls by HEAD or GET, long polls (Prefer: wait), event streams, or batches that "
            "are submitted and polled together",
            {"choices": ("head", "get", "wait", "events", "batch")},
        ),
        ("rate", "open loop: submissions per second, over as many connections as --clients", time | {"metavar": "N"}),
        ("disobedient", "share of the clients that ignore Retry-After", {"type": _share, "metavar": "SHARE"}),
        ("impatience_s", "retry interval of the clients that ignore Retry-After", time),
        ("spawn_rate", "clients started per second", time | {"metavar": "N"}),
        ("duration_s", "time in which jobs are created", time),
        ("grace_s", "maximum wait for their ends after it", time),
        ("processes", "processes that share the clients", many),
        ("type", f"type of the jobs (default {default.type}, of 0.05 s)", {"default": None}),
        ("args", "arguments of the jobs (default {})", {"type": _object, "metavar": "JSON", "default": None}),
        ("file", "upload this file with each job", path | {"type": _file}),
        ("seed", "seed of all random choices", {"type": int, "metavar": "N"}),
        ("report", "write the figures to this file as JSON", path | {"type": _output}),
        ("html", "write the figures and plots to this file, as a page", path | {"type": _output}),
    )
    either = parser.add_mutually_exclusive_group()
    for name, text, option in options:
        option = option if "default" in option else {"default": getattr(default, name)} | option
        shown = "" if option["default"] is None else " (default %(default)s)"
        into = either if name in ("key", "key_file") else parser
        into.add_argument(f"--{name.replace('_', '-')}", **option, help=text + shown)
    parser.add_argument(
        "--require",
        type=requirement,
        nargs="+",
        action="extend",
        default=[],
        metavar="BOUND",
        help=f"end with exit code 99 unless these hold, such as {EXAMPLES}. Metrics: {METRICS}".replace("%", "%%"),
    )
    given = vars(parser.parse_args(argv))
    given["require"] = tuple(given["require"])
    _take_environment(parser, given)
    if given["type"] is None:
        given["type"] = default.type
        given["args"] = default.args if given["args"] is None else given["args"]
    elif given["args"] is None:
        given["args"] = {}
    if given["file"] is not None and given["via"] == "batch":
        parser.error("a batch takes no files: leave out --file, or --via batch")
    if given["rate"] is not None and given["via"] not in ("head", "get"):
        parser.error(f"with --rate, jobs are polled: --via is head or get, not {given['via']}")
    if given["rate"] is not None and given["disobedient"]:
        parser.error("with --rate, rejected submissions are not retried: leave out --disobedient")
    return Options(**given)


def _take_environment(parser: Parser, given: dict[str, Any]) -> None:
    """Put the URL and the key of the environment in the place of those that are not given."""
    for name, variable, read in (("url", URL_VARIABLE, _url), ("key", KEY_VARIABLE, _key)):
        if given[name] is not None:
            continue
        text = os.environ.get(variable)
        if name == "key" and urlsplit(given["url"]).username is not None:
            text = None  # the user in the URL is the credential
        try:
            given[name] = read(text or getattr(Options(), name))
        except argparse.ArgumentTypeError as error:
            parser.error(f"{variable}: {error}")
    try:
        address = address_of(given["url"], key=given["key"])
        TlsFiles(**{name: given[name] for name in TlsFiles.__struct_fields__}).context_for(address.url)
    except ValueError as error:
        parser.error(str(error))


def _path(text: str) -> Path:
    try:
        return written_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def _output(text: str) -> Path:
    """Return a path that can be written to, with its folders made: a long run's figures are not lost at its end."""
    path = _path(text)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} can't be written: {error.strerror}") from None
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is a folder; give a file's name, such as {path / 'report'}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{text} can't be written: no permission")
    return path


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        seconds = "; durations are in seconds" if re.fullmatch(r"[\d.]+ *(ms|s|m|min|h)", text) else ""
        raise argparse.ArgumentTypeError(f"must be a number, not {text!r}{seconds}") from None


def _count(text: str) -> int:
    number = _number(text)
    if not (number >= 1 and number.is_integer()):
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, not {text!r}")
    return int(number)


def _seconds(text: str) -> float:
    number = _number(text)
    if not (0.0 < number < math.inf):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text!r}")
    return number


def _share(text: str) -> float:
    number = _number(text)
    if not 0.0 <= number <= 1.0:
        raise argparse.ArgumentTypeError(f"must be a share from 0 to 1, not {text!r}")
    return number


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f'{text!r} is not a JSON object, such as {{"min_s": 0.05}}')
    return value


def _file(text: str) -> Path:
    path = _path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text}: no such file")
    return path


def _key(text: str) -> str:
    try:
        return checked_key(text, "the key")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _key_file(text: str) -> str:
    try:
        return key_in_file(_path(text))
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{text} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _url(text: str) -> str:
    try:
        address_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text.rstrip("/")
