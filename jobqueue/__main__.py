"""`python -m jobqueue`, the command `jobqueue`, and the entry point of the frozen program."""

from __future__ import annotations

import sys

from jobqueue.extras import MissingExtra, extra
from jobqueue.process.first_process import go_on_in_a_child
from jobqueue.process.signals import signals
from jobqueue.process.standard_files import open_standard_files


def main() -> int:
    """Run the command line, prepared for closed descriptors and early signals; return the exit code."""
    open_standard_files()
    if sys.argv[1:2] == ["serve"]:
        signals.install()
        go_on_in_a_child()
    if getattr(sys, "frozen", False):
        from jobqueue.runtime.pools.child import divert

        divert(sys.argv)  # a frozen program is started again to be its own fork server

    try:
        with extra("server", "the command jobqueue"):
            from jobqueue.cli import main as cli

            return cli.main()
    except MissingExtra as missing:
        print(missing, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # during the import
        return 130


if __name__ == "__main__":
    sys.exit(main())
