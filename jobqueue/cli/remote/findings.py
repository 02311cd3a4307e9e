"""`jobqueue findings`: what is wrong with a server now, and what to do."""

from __future__ import annotations

from datetime import datetime  # msgspec reads it from the annotations
from typing import TYPE_CHECKING

import msgspec

from jobqueue.cli.command import Command
from jobqueue.cli.remote.connection import Connection, talking
from jobqueue.cli.remote.failures import FAILED
from jobqueue.cli.remote.output import seen
from jobqueue.cli.remote.server_flags import add_flags
from jobqueue.cli.terminal.times import since
from jobqueue.cli.terminal.visible import visible

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from jobqueue.cli.remote.output import Output

TEXT = "Show what is wrong now, with causes and remedies. Exit code: 0 nothing critical, 1 something is."
LENGTH_MAX = 1000


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong, as far as it is shown."""

    severity: str
    sentence: str
    since: datetime
    cause: str = ""
    remedy: str = ""


class Findings(msgspec.Struct, frozen=True):
    """All of them."""

    findings: tuple[Finding, ...]
    more: int = 0


def findings(connection: Connection, output: Output, options: argparse.Namespace) -> int:
    """Print what is wrong; exit code 1 if something critical is."""
    document = connection.read("/v1/findings")
    told: Findings = seen(document, Findings)
    if output.is_table:
        for finding in told.findings:
            for line in _lines(finding):
                output.line(line)
        if told.more:
            output.line(f"and {told.more:,} more")
        if not told.findings:
            output.line("nothing is wrong")
    elif output.form == "json":
        output.document(document)
    else:
        for each in document["findings"]:
            output.document(each, id="kind")
    return FAILED if any(finding.severity == "critical" for finding in told.findings) else 0


def _lines(finding: Finding) -> Iterator[str]:
    yield visible(f"{finding.severity}: {finding.sentence} ({since(finding.since)})", LENGTH_MAX)
    if finding.cause:
        yield visible(f"    cause: {finding.cause}", LENGTH_MAX)
    if finding.remedy:
        yield visible(f"    remedy: {finding.remedy}", LENGTH_MAX)


COMMANDS = (Command("", TEXT, talking(findings), add_flags),)
