"""A scenario: its name, what it does, its settings, and its play, which runs loads on a stage and adds them up."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.destructive.stage import Stage
from bench.destructive.tally import Tally
from bench.destructive.verdict import SMALL_MS_MAX


class Outcome(msgspec.Struct, kw_only=True):
    """The figures of a play.

    Attributes:
        tally: Of all loads, the small jobs' included.
        small: Of the honest clients; None: there were none.
        killed: Processes of handlers that were killed on purpose.
        notes: Sentences for the report.
    """

    tally: Tally
    small: Tally | None = None
    killed: int = 0
    notes: list[str] = []


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario.

    Attributes:
        says: What it does, in one sentence.
        settings: Of the server, beside those of all scenarios.
        prepare: Writes what the server reads at its start into its folder, and returns further settings.
        key: Returns an API key for the first jobs, given that folder; None: none is needed.
        retention: Whether records go after seconds (`limits.RETENTION`); if not, `clean` frees the memory.
        clean: Called after the load, before the memory is to be back.
        follows: Whether its loads see each accepted job end; if not, the server's counts alone tell.
        accounts: Whether its loads count each submission that is accepted; attackers don't.
        small_ms_max: The bound of the small jobs' p99.
    """

    name: str
    says: str
    play: Callable[[Stage], Outcome]
    settings: tuple[str, ...] = ()
    prepare: Callable[[Path], tuple[str, ...]] | None = None
    key: Callable[[Path], str] | None = None
    retention: bool = True
    clean: Callable[[Stage], None] | None = None
    follows: bool = True
    accounts: bool = True
    small_ms_max: float = SMALL_MS_MAX
