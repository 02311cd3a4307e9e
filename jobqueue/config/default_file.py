"""The settings file with all defaults, commented: `config.yaml`, made from the structs as the page of reference is.

1. A setting is a line, with its sentence beside it; a longer sentence continues in the same column.
2. A section's comments start in one column. No line is longer than `WIDTH`.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from jobqueue.config.descriptions import WITH_INNER, description, fields, inner, outermost, sections, summary
from jobqueue.config.load import QUEUES_MAX
from jobqueue.config.units import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import msgspec
    from msgspec import inspect

WIDTH = 120
INDENT = "  "
BY_NAME: dict[tuple[str, ...], tuple[str, tuple[str, ...]]] = {
    ("auth", "keys"): ("ci", ("id", "sha256", "scopes")),
    ("webhooks", "endpoints"): ("crm", ("url", "events", "secret")),
    ("schedules", "name"): ("nightly", ("type", "cron", "tz")),
}
"""The sections with one for each name: a name, and the settings of it, as an example."""
GROUPED_FROM = 10_000
"""Whole numbers from here on are written with `_` between the thousands."""

HEAD = """\
# yaml-language-server: $schema=config.schema.json
#
# Every setting of `jobqueue serve`, with its default: a line may be left out. The environment overrides this file
# (JOBQUEUE_SERVER__PORT=9000), and flags override both (--port 9000).
# A size is written as 1MiB or as a number of bytes, a duration as 250ms, 10m, 1h30m or as a number of seconds, a rate
# as 10/s, 600/m or 5/h.
# `jobqueue config check` reports every fault, `jobqueue config show` the source of each value. SIGHUP makes a running
# server read this file again: queues, most limits and log.level change at once; the log names what needs a restart.
#
# Made by `python -m jobqueue config default > config.yaml`.
"""


def render() -> str:
    """Return the text of the file."""
    outer = [(path, of) for path, of in sections() if len(path) < (2 if path[0] in WITH_INNER else 4)]
    alone = [*_rows(outermost(), ""), ""]
    return "\n".join([HEAD, *alone, *("\n".join([*_section(path, of), ""]) for path, of in outer)])


def _section(path: tuple[str, ...], of: type[msgspec.Struct]) -> Iterator[str]:
    if path[:2] in BY_NAME:  # a line in effect would make a key, an endpoint or a schedule
        called, indent = (path[1], INDENT) if len(path) > 2 else (path[0], "")
        yield from _by_name(called, indent, of, *BY_NAME[path[:2]])
        return
    of_queue = path[0] == "queues"
    further = (
        f" `default` always exists; further queues, at most {QUEUES_MAX} in all, stand beside it." if of_queue else ""
    )
    yield from textwrap.wrap(summary(of) + further, WIDTH, initial_indent="# ", subsequent_indent="# ")
    for depth, name in enumerate(path):
        yield f"{INDENT * depth}{name}:"
    yield from _settings(of, INDENT * len(path))
    for name, section in inner(of):
        indent = INDENT * len(path)
        yield from textwrap.wrap(summary(section), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        yield f"{indent}{name}:"
        yield from _settings(section, indent + INDENT)


def _settings(of: type[msgspec.Struct], indent: str) -> Iterator[str]:
    return _rows(fields(of), indent)


def _rows(of: Sequence[inspect.Field], indent: str) -> Iterator[str]:
    rows = [(f"{indent}{field.name}: {_value(field)}", description(field.type)) for field in of]
    column = max(len(setting) for setting, _ in rows) + len("  ")
    for setting, sentence in rows:
        first, *others = textwrap.wrap(sentence, WIDTH - column - len("# "))
        yield f"{setting:{column}}# {first}"
        yield from (f"{'':{column}}# {more}" for more in others)


def _by_name(section: str, indent: str, of: type[msgspec.Struct], name: str, shown: tuple[str, ...]) -> Iterator[str]:
    """Yield an example of one of a section's names, as a comment."""
    yield f"{indent}# {summary(of)}"
    yield f"{indent}# {section}:"
    yield f"{indent}#   {name}:"
    for field in fields(of):
        if field.name in shown:
            kind = Kind(field.name, field.type)
            value = f"[{', '.join(kind.examples)}]" if kind.is_list else kind.examples[0]
            yield f"{indent}#     {field.name}: {value}"


def _value(field: inspect.Field) -> str:
    kind, value = Kind(field.name, field.type), field.default
    if isinstance(value, int) and not kind.is_size and value >= GROUPED_FROM:
        return f"{value:_}"
    text = kind.write(value)
    # A plain string needs no quotes in YAML, unless it looks like a number.
    return text if text.strip('"').isdecimal() and isinstance(value, str) else text.strip('"')
