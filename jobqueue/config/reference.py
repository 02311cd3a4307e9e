"""The reference page of the settings, in Markdown: made from the structs, as the schema is.

It is `docs/reference/settings.md`. A section is a table, a setting a row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import inspect

from jobqueue.config.auth import KEY_NAME
from jobqueue.config.descriptions import description, fields, outermost, sections, summary
from jobqueue.config.environment import variable
from jobqueue.config.listening import TOGETHER
from jobqueue.config.load import KEYS_MAX, QUEUES_MAX, WITHIN
from jobqueue.config.schedules import SCHEDULES_MAX
from jobqueue.config.settings import QUEUE_NAME, reloads_live
from jobqueue.config.units import DURATION_UNITS, SIZE_UNITS, Kind, write_duration, write_size
from jobqueue.config.webhooks import ENDPOINTS_MAX
from jobqueue.core.rate import RATE_EXPECTED

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msgspec

SOURCE = "Made by `python -m jobqueue config reference > docs/reference/settings.md`: change the code, not this page."

HEAD = f"""# Settings

<!-- {SOURCE} -->

Each setting of `jobqueue serve`, in the order of [`config.yaml`](../../config.yaml), which states the same defaults.
A later source wins over an earlier one: default, file, environment variable, flag. `--set NAME=VALUE` is the flag of
every setting; the flags named below are shorter forms. An unknown name or variable, a duplicate key, an empty variable
(`null` turns off what may be off) and a value out of range are faults: `jobqueue config check` reports all of them at
once, and `jobqueue config show` prints the values in effect with their sources. In Python, `JobQueue(Settings(...))`
takes durations in seconds and sizes in bytes.
"""

NOTATION = {
    "duration": f"a number of seconds, or numbers with the units {', '.join(DURATION_UNITS)}: 0.5, 250ms, 1h30m",
    "size": f"a number of bytes, or a number with one of the units {', '.join(SIZE_UNITS)}: 65536, 1MiB",
    "rate": RATE_EXPECTED,
    "list": "a list of strings; in a variable or a flag one string with commas",
}

LIVE = """*Live*: a running server takes over a changed value when it [reloads its settings](../how-to/reload.md);
a change of any other setting needs a restart.
"""

ALONE = """## Outside the sections
"""

COLUMNS = ("| Setting, variable, flag | Type and range | Default | Live | Meaning |", "|---|---|---|---|---|")


def render(flags: Mapping[str, str]) -> str:
    """Return the page; `flags` are those that set one setting, by its dotted name."""
    notation = ["| Type | Notation |", "|---|---|", *(f"| {name} | {how} |" for name, how in NOTATION.items()), ""]
    alone = [ALONE, *COLUMNS, *(_row((field.name,), field, flags) for field in outermost()), ""]
    parts = (_section(path, of, flags) for path, of in sections())
    return "\n".join([HEAD, *notation, LIVE, *alone, *parts, _together()])


def _section(path: tuple[str, ...], of: type[msgspec.Struct], flags: Mapping[str, str]) -> str:
    of_queue = path[0] == "queues"
    more = (
        f" Further queues stand beside `default`, under names of the form `{QUEUE_NAME}`, at most {QUEUES_MAX} in all; "
        "their variables and names have the queue's name in the place of `default`."
        if of_queue
        else ""
    )
    if path == ("auth", "keys", "name"):
        more += (
            f" Names have the form `{KEY_NAME}`; at most {KEYS_MAX} keys, those of `auth.keys_file` included. "
            "`jobqueue key new` makes one, and prints its settings."
        )
    if path == ("schedules", "name"):
        more += (
            f" Names have the form `{QUEUE_NAME}`; at most {SCHEDULES_MAX:,} schedules. "
            "[Schedules](../how-to/schedules.md) says when their ticks come."
        )
    if path == ("webhooks", "endpoints", "name"):
        more += (
            f" Names have the form `{QUEUE_NAME}`; at most {ENDPOINTS_MAX} endpoints. "
            "[Webhooks](../how-to/webhooks.md) says what they get, and how it is signed."
        )
    rows = [_row((*path, field.name), field, flags) for field in fields(of)]
    return "\n".join(
        [
            f"## `{path[0] if of_queue else '.'.join(path)}`",
            "",
            summary(of) + more,
            "",
            *COLUMNS,
            *rows,
            "",
        ]
    )


def _row(path: tuple[str, ...], field: inspect.Field, flags: Mapping[str, str]) -> str:
    kind = Kind(field.name, field.type)
    setting = ".".join(path)
    names = [f"`{setting}`", f"`{variable(path)}`", *(f"`{flag}`" for flag in [flags.get(setting)] if flag)]
    live = "yes" if reloads_live(path) else "no"
    default = "required" if field.required else f"`{kind.write(field.default)}`"
    cells = ["<br>".join(names), _type(kind), default, live, description(field.type)]
    return f"| {' | '.join(cells)} |"


def _type(kind: Kind) -> str:
    match kind.type:
        case inspect.IntType(ge=int(low), le=int(high)) if kind.is_size:
            told = f"size, {write_size(low)} to {write_size(high)}"
        case inspect.IntType(ge=int(low), le=int(high)):
            told = f"integer, {low:,} to {high:,}"
        case inspect.FloatType(ge=float(low), le=float(high)):
            told = f"duration, {write_duration(low)} to {write_duration(high)}"
        case inspect.BoolType():
            told = "boolean"
        case inspect.LiteralType(values=words):
            told = ", ".join(f"`{word}`" for word in words)
        case inspect.EnumType(cls=words):
            told = ", ".join(f"`{word.value}`" for word in words)
        case inspect.StructType():
            told = "rate"
        case inspect.StrType(pattern=str(pattern)):
            told = f"string of the form `{pattern}`"
        case inspect.StrType(min_length=shortest, max_length=longest):
            told = f"string, {shortest} to {longest:,} characters"
        case inspect.VarTupleType() if kind.words:
            told = f"list of {', '.join(f'`{word}`' for word in kind.words)}"
        case inspect.VarTupleType(max_length=longest):
            told = (
                f"list of at most {longest} strings, such as {', '.join(f'`{example}`' for example in kind.examples)}"
            )
        case other:
            raise TypeError(f"no words for a {other}")
    return f"{told}, or `null`" if kind.optional else told


def _together() -> str:
    rules = [f"- `{'.'.join(small)}` must not be greater than `{'.'.join(large)}`." for small, large in WITHIN]
    return "\n".join(["## Rules across settings", "", *rules, *(f"- {rule}." for rule in TOGETHER), ""])
