"""The flags of a command that asks a server: where it is, as which caller, and the form of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.cli.remote import output
from jobqueue.cli.remote.address import DEFAULT_URL
from jobqueue.cli.values import path_of

if TYPE_CHECKING:
    from jobqueue.cli.parser import Parser


def add_flags(parser: Parser) -> None:
    """Add the flags of a command that asks a server, and those of its output."""
    group = parser.add_argument_group("server")
    group.add_argument(
        "--url",
        metavar="URL",
        help=f"the server (default: JOBQUEUE_URL, the address in ./config.yaml, or {DEFAULT_URL})",
    )
    group.add_argument(
        "--key",
        metavar="KEY",
        help="API key (default: JOBQUEUE_KEY). Other users of this machine see it in the list of processes",
    )
    group.add_argument("--key-file", metavar="FILE", type=path_of, help="file that holds the API key")
    group.add_argument("--ca-file", metavar="FILE", help="authorities that are trusted, for https://")
    group.add_argument("--cert-file", metavar="FILE", help="certificate of this client, where the server wants one")
    group.add_argument("--cert-key-file", metavar="FILE", help="its private key, unless the certificate's file has it")
    output.add_flags(parser)
