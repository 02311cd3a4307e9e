"""Tries inputs for a time (`make fuzz`). An input that fails is shrunk, and joins the corpus.

Hypothesis makes them, not atheris, which has wheels for few platforms, and is guided by the coverage of Python's code:
JSON and framing are parsed in C. It shrinks no input either.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.fuzz.kept import keep
from tests.fuzz.mutations import inputs
from tests.fuzz.targets import TARGETS

ROUND = 2000
"""Inputs of one round; each has a seed of its own."""


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="try inputs on the parsers of untrusted bytes"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="time for each parser (60)")
    parser.add_argument("--target", choices=TARGETS, action="append", help="a parser; all, if none is given")
    options = parser.parse_args()
    failed = [target for target in options.target or TARGETS if not holds(target, options.seconds)]
    return 1 if failed else 0


def holds(target: str, seconds: float) -> bool:
    """Try inputs on one parser; False: one has failed, and is in the corpus now."""
    tried = 0
    until = time.monotonic() + seconds
    last = b""

    @settings(
        max_examples=ROUND,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs(target))
    def try_one(data: bytes) -> None:
        nonlocal tried, last
        tried, last = tried + 1, data
        TARGETS[target](data)

    while time.monotonic() < until:
        number = random.getrandbits(32)
        try:
            seed(number)(try_one)()
        except Exception:
            traceback.print_exc(limit=-3)
            print(f"{target}: seed {number} has failed with {last!r}, which is in the corpus now", flush=True)
            keep(target, last)
            return False
    print(f"{target}: {tried:,} inputs", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
