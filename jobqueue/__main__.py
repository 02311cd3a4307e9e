"""`python -m jobqueue`, the command `jobqueue`, and the entry point of the frozen program."""

from __future__ import annotations

import os
import sys

from jobqueue.extras import MissingExtra, extra
from jobqueue.process.first_process import go_on_in_a_child
from jobqueue.process.imports import without_collections
from jobqueue.process.inherited_sockets import inherited_sockets
from jobqueue.process.signals import signals
from jobqueue.process.standard_files import open_standard_files


def main() -> int:
    """Run the command line, prepared for closed descriptors and early signals; return the exit code."""
    open_standard_files()
    if sys.argv[1:2] == ["serve"]:
        signals.install()
        inherited_sockets.take(os.environ)  # before the fork: they are meant for this process's number
        go_on_in_a_child()
    if getattr(sys, "frozen", False):
        from jobqueue.runtime import simulator_child
        from jobqueue.runtime.pools import child

        # A frozen program is started again to be its own fork server, or a simulation.
        child.divert(sys.argv)
        simulator_child.divert(sys.argv)

    try:
        with extra("server", "the command jobqueue"):
            with without_collections():
                from jobqueue.cli import main as cli

            return cli.main()
    except MissingExtra as missing:
        print(missing, file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # during the import
        return 130


if __name__ == "__main__":
    sys.exit(main())
