"""The command line of the fleet: `python -m clients --clients 500 --duration-s 60`."""

from __future__ import annotations

import multiprocessing
import re
import sys

import msgspec

from jobqueue.cli.parser import end_with
from jobqueue.process.standard_files import open_standard_files


def main(argv: list[str] | None = None) -> int:
    """Run a fleet as the command line says; return the exit code."""
    open_standard_files()
    multiprocessing.freeze_support()
    try:
        from rich.console import Console

        from clients import display, fleet, options, page, processes, report
    except ModuleNotFoundError as missing:
        print(f"The fleet needs {missing.name}: install the package with its extra `fleet`.", file=sys.stderr)
        return 2
    wanted = options.parse(argv)
    try:
        fleet.address_of(wanted)
        processes.raise_open_files(processes.files_of(wanted))
    except OSError as error:
        print(f"jobqueue-clients: {error}", file=sys.stderr)
        return 2
    with display.Display(wanted.clients) as shown:
        figures = processes.run(wanted, shown)
    if wanted.report is not None:
        wanted.report.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
    if wanted.html is not None:
        wanted.html.write_text(page.page_of(figures), encoding="utf-8")
    # In a file or a pipe, lines are as long as they need to be; a terminal that is narrower than its tables wraps them.
    console = Console(width=max(80, Console().width) if sys.stdout.isatty() else 120)
    with console.capture() as drawn:
        console.print(report.render(figures))
    print(drawn.get() if sys.stdout.isatty() else re.sub(r" +$", "", drawn.get(), flags=re.MULTILINE), end="")
    for written in filter(None, (wanted.report, wanted.html)):
        print(f"written: {written}", file=sys.stderr)
    return figures.exit_code


if __name__ == "__main__":
    end_with(main)
