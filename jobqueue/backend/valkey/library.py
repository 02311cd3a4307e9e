"""The function library of the store: its text, assembled from the files in `lua/`, and the names of its functions.

The version is part of the library's name and of each function's name, so two versions live side by side while a fleet
of processes is replaced. What changes the arguments, the reply or the keys of a function is a new version. Where a
store bars functions, the same bodies are loaded as scripts (`script`).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Final, NamedTuple

VERSION: Final = 1

_SETTLED_BY_TESTS: Final = ("clock", "draw")
"""The files of what tests settle: time and chance. The variant for tests has `<file>_test` in place of each."""

_AUDIT: Final = "audit"
_PARTS: Final = (
    "unit",
    "specs",
    "events",
    "records",
    "uniqueness",
    "limits",
    "groups",
    "fair",
    "sublists",
    "transitions",
    "processes",
    "ticks",
    "submit",
    "lease",
    "verdicts",
    "plain",
    "operators",
    "queues",
    "lists",
    "counts",
    "overwritten",
)
"""The files, each of one noun. Tables of a later one are read by an earlier one since they are declared first."""

_READ_BY_OTHERS: Final = (
    "clock",
    "clock_test",
    "draw",
    "draw_test",
    "unit",
    "specs",
    "records",
    "submit",
    "verdicts",
    "operators",
)
"""The files whose local names later ones read. Those of the others end with their file: Lua allows 200 at once."""

_TABLES: Final = (
    "events",
    "records",
    "uniqueness",
    "limits",
    "groups",
    "fair",
    "sublists",
    "transitions",
    "processes",
    "ticks",
    "plain",
    "queues",
    "overwritten",
)


class Function(NamedTuple):
    """A function of the library.

    `no_writes`: it may run on a replica, and by `FCALL_RO`. `allow_oom`: it runs though the store's memory is full,
    since it takes little, and what it does sets some free.
    """

    name: str
    no_writes: bool
    allow_oom: bool

    @property
    def flags(self) -> tuple[str, ...]:
        """Its flags, as `redis.register_function` takes them."""
        return ("no-writes",) if self.no_writes else ("allow-oom",) if self.allow_oom else ()


def _table(**kinds: str) -> dict[str, Function]:
    """Return the functions by name, from the names by kind."""
    return {
        name: Function(name, no_writes=kind == "reads", allow_oom=kind == "always")
        for kind, names in kinds.items()
        for name in names.split()
    }


FUNCTIONS: Final = _table(
    reads="look find page counts config holdings holders servers overwritten",
    always=(
        "beat reconcile leave lease ack nack stopped stop give_back report cancel delete run_now pause resume release "
        "tick events"
    ),
    grows="join submit retry set_queue set_types set_bounds",
)
"""All functions, by short name."""

AUDIT: Final = Function("audit", no_writes=True, allow_oom=False)


def library_name(*, test: bool = False) -> str:
    """Return the name under which the library is loaded."""
    return f"jobqueue{VERSION}{'t' if test else ''}"


def full_name(name: str, *, test: bool = False) -> str:
    """Return the name by which a function is called."""
    return f"jq{VERSION}{'t' if test else ''}_{name}"


def functions(*, test: bool = False) -> dict[str, Function]:
    """Return the functions of a variant."""
    return {**FUNCTIONS, AUDIT.name: AUDIT} if test else FUNCTIONS


@cache
def text(*, test: bool = False) -> str:
    """Return the library, as `FUNCTION LOAD` takes it.

    Args:
        test: The variant for tests: its clock is set by the key `test_now_ms`, which settles what is drawn, too, and it
            has `audit`.
    """
    registered = "\n".join(_registration(each, test) for each in functions(test=test).values())
    return f"#!lua name={library_name(test=test)}\n{_bodies(test)}\n{registered}\n"


@cache
def script(name: str, *, test: bool = False) -> str:
    """Return a function as a script, as `SCRIPT LOAD` takes it, with the same keys, arguments and reply."""
    function = functions(test=test)[name]
    flags = ",".join(function.flags)
    return f"#!lua{f' flags={flags}' if flags else ''}\n{_bodies(test)}\nreturn api.{name}(KEYS, ARGV)\n"


def _registration(function: Function, test: bool) -> str:
    flags = ", ".join(f"'{flag}'" for flag in function.flags)
    name = full_name(function.name, test=test)
    return f"redis.register_function{{function_name = '{name}', callback = api.{function.name}, flags = {{ {flags} }}}}"


@cache
def _bodies(test: bool) -> str:
    parts = [*(f"{part}_test" if test else part for part in _SETTLED_BY_TESTS), *_PARTS]
    if test:
        parts.append(_AUDIT)
    # The functions that are called from outside are in `api`.
    return "\n".join((f"local api, {', '.join(_TABLES)} = {{}}", *(_read(part) for part in parts)))


def _read(part: str) -> str:
    text = files(__package__).joinpath("lua", f"{part}.lua").read_text("utf-8")
    # Tables that are declared above are filled here.
    for name in _TABLES:
        text = text.replace(f"\nlocal {name} = {{}}\n", f"\n{name} = {{}}\n")
    return text if part in _READ_BY_OTHERS else f"do\n{text}\nend"
