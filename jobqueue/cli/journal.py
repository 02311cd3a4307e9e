"""`jobqueue journal`: checks, repairs and shows the folder of a journal (`journal.dir`) that no server uses.

Rules:

1. Each command holds the lock of the folder, so it refuses one that a server uses, and no server starts meanwhile.
2. `check` and `dump` change nothing. `repair` asks before it cuts, and keeps a copy of what it cuts.
3. Exit codes: 0 the journal is whole; 1 it is damaged, or nothing matched; 2 the folder can't be used, or the command
   line is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueue.cli.command import Command
from jobqueue.cli.remote.output import Output, add_flags
from jobqueue.cli.terminal.visible import visible
from jobqueue.cli.values import path_of
from jobqueue.errors import ConfigError
from jobqueue.findings.words import counted

if TYPE_CHECKING:
    import argparse

    from jobqueue.cli.journal_survey import Survey
    from jobqueue.cli.parser import Parser

FAILED = 1
"""The journal is damaged, or no record matched."""


def check(options: argparse.Namespace) -> int:
    """Read all of a journal, and say what is in it."""
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.cli.journal_survey import Survey

    output = Output(options)
    with JournalFolder.open_existing(options.folder) as folder:
        survey = Survey(folder)
        if output.is_table:
            _write(output, survey)
        else:
            output.document(survey.document(), id="state")
    return FAILED if survey.damage is not None else 0


def repair(options: argparse.Namespace) -> int:
    """Cut a damaged journal at its damage."""
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.backend.journal.reading import cut_log
    from jobqueue.cli.journal_cut import keep_copy
    from jobqueue.cli.journal_survey import Survey

    output = Output(options)
    with JournalFolder.open_existing(options.folder) as folder:
        survey = Survey(folder)
        if survey.damage is None:
            output.line(f"{visible(str(folder.path))}: nothing to repair: it is whole")
            return 0
        output.say(f"damaged: {visible(str(survey.damage))}")
        if survey.end is None:
            output.say("A cut can't mend this: restore the folder from a backup.")
            return FAILED
        _say_loss(output, survey)
        if not (options.yes or _confirmed(output, "Cut the log there?")):
            output.say("Nothing was changed.")
            return FAILED
        try:
            kept = keep_copy(folder, survey.end)
            output.line(f"copied to {visible(str(kept))}: the files of the log, as they were")
            cut_log(folder, survey.end)
        except OSError as error:
            raise ConfigError(f"{error.filename or folder.path}: {error.strerror}") from None
        after = Survey(folder)
    if after.damage is not None:
        output.say(f"still damaged: {visible(str(after.damage))}")
        return FAILED
    left = f"{counted(len(after.image.jobs), 'job')} left ({_counts(after.jobs)})"
    output.line(f"cut: {left}; a server can start now")
    return 0


def _say_loss(output: Output, survey: Survey) -> None:
    from jobqueue.cli.journal_cut import loss_of

    assert survey.end is not None
    loss = loss_of(survey.folder, survey.end)
    jobs = f"{counted(len(survey.image.jobs), 'job')} ({_counts(survey.jobs)})"
    output.say(f"before the damage: {counted(survey.frames, 'frame')}, {jobs}")
    behind = f"{counted(loss.frames, 'frame')} with {counted(loss.records, 'record')}"
    output.say(f"behind it, as far as it can be read: {behind}")
    output.say(f"  submitted there, so a cut forgets them: {_ids(loss.submitted)}")
    output.say(f"  changed there, so a cut puts them back to their state before: {_ids(loss.changed)}")
    output.say("What can't be read is lost as well, and nothing tells which jobs it was about.")


def dump(options: argparse.Namespace) -> int:
    """Print the records of a journal, a JSON document a line."""
    from jobqueue.backend.journal.folder import JournalFolder
    from jobqueue.cli import journal_records

    shown = journal_records.Shown(options.args, options.target)
    with JournalFolder.open_existing(options.folder) as folder:
        count, damage = journal_records.write(folder, shown, options.job, sys.stdout)
    sys.stdout.flush()
    if damage is not None:
        print(f"jobqueue: {visible(str(damage))}", file=sys.stderr)
    elif not count and options.job is not None:
        print(f"jobqueue: no record of the journal is about {visible(options.job, 100)}", file=sys.stderr)
    else:
        return 0
    return FAILED


def _write(output: Output, survey: Survey) -> None:
    told, folder = survey.document(), survey.folder
    output.line(f"{visible(str(folder.path))}: {told['state']}")
    if survey.snapshot:
        output.line(f"  snapshot  {folder.snapshot_path(survey.snapshot).name}")
    output.line(f"  log       {_segments(survey)}; {told['bytes'] / 2**20:,.1f} MiB")
    frames = counted(survey.frames, "frame")
    output.line(f"  records   {sum(survey.records.values()):,} in {frames}: {_counts(survey.records)}")
    output.line(f"  jobs      {len(survey.image.jobs):,}: {_counts(survey.jobs)}")
    output.line(f"  last end  {'a stop' if survey.image.clean else 'a crash, or none yet'}")
    if torn := told["torn_tail"]:
        where = f"{torn['file']}, byte {torn['offset']:,}"
        output.line(f"  torn tail {where}: {torn['bytes']:,} bytes of an unfinished write; the next start cuts them")
    if survey.damage is not None:
        where = f"{Path(survey.damage.file).name}, byte {survey.damage.offset:,}"
        output.line(f"  DAMAGE    {where}: {visible(survey.damage.reason)}")


def _segments(survey: Survey) -> str:
    end, name = survey.end, survey.folder.segment_path
    spare = 0 if end is None else end.spare
    numbers = [number for number in survey.segments if number != spare]
    if not numbers:
        return "no segment"
    told = f"1 segment, {name(numbers[0]).name}"
    if len(numbers) > 1:
        told = f"{len(numbers):,} segments, {name(numbers[0]).name} to {name(numbers[-1]).name}"
    return f"{told}, and a spare" if spare else told


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def _ids(ids: frozenset[str]) -> str:
    few = sorted(ids)[:5]
    more = ", …" if len(ids) > len(few) else ""
    return f"{counted(len(ids), 'job')} ({visible(', '.join(few), 200)}{more})" if few else "none"


def _confirmed(output: Output, question: str) -> bool:
    """Ask. Raises ConfigError where there is no terminal to ask on."""
    if not sys.stdin.isatty():
        raise ConfigError("a repair cuts the log and asks before: without a terminal, give --yes")
    print(f"{question} [y/N] ", end="", file=output.err, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _add_folder(parser: Parser) -> None:
    parser.add_argument("folder", type=path_of, metavar="DIR", help="the folder of the journal (journal.dir)")


def _of_check(parser: Parser) -> None:
    _add_folder(parser)
    add_flags(parser)


def _of_repair(parser: Parser) -> None:
    _add_folder(parser)
    parser.add_argument("--yes", action="store_true", help="cut without a question")
    add_flags(parser)


def _of_dump(parser: Parser) -> None:
    _add_folder(parser)
    parser.add_argument("--job", metavar="ID", help="only the records of this job")
    parser.add_argument(
        "--args",
        action="store_true",
        help="show arguments, results, errors and idempotency keys, which may hold secrets (default: their sizes)",
    )
    parser.add_argument(
        "--target",
        metavar="TARGET",
        help="show arguments as the handlers of this target redact them: MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE",
    )


CHECK = "Read all of a journal, and say what is in it. Changes nothing. Exit code: 0 whole, 1 damaged."
REPAIR = "Cut a damaged journal at its damage, after a question; a copy of what is cut stays beside it."
DUMP = "Print the records of a journal, a JSON document a line. Changes nothing. Exit code: 0 whole, 1 damaged."
COMMANDS = (
    Command("check", CHECK, check, _of_check),
    Command("repair", REPAIR, repair, _of_repair),
    Command("dump", DUMP, dump, _of_dump),
)
