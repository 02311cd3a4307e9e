"""`python -m jobqueue`, and the entry point of the frozen program."""

from __future__ import annotations

import sys

from jobqueue.runtime.forked import divert

if __name__ == "__main__":
    divert(sys.argv)  # a frozen program is started again to be its own fork server

    from jobqueue.cli import main

    sys.exit(main())
