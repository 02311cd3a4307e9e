"""The catalogue of log and queue events: exactly the names, levels and fields of the code."""

from __future__ import annotations

import ast
import typing
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jobqueue
from jobqueue import log
from jobqueue.core import events
from jobqueue.http.response import problems
from jobqueue.log import ATTEMPT_FIELDS
from jobqueue.runtime.loop_monitor import Health
from jobqueue.wiring import LIVE_STATES
from tests.docs.tables import codes, page, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(jobqueue.__file__).parent
LEVELS = {"debug", "info", "warning", "error"}
SAMPLED = {"sampled", "counter"}
NO_FIELDS = {"every_s"}
OWN_CODE = {"log.py"}
"""The module of the event loggers: it passes its own events to `_record`."""

WRAPPERS = {"_tell": "server.py"}
"""Functions that take an event's fields as keywords, and the file or folder where they are called."""

NEVER = {"job.failed": {"retry_in_s"}}
"""Fields that an event lacks although the same call site sets them for another event."""

SPREAD = {
    "lost": set(LIVE_STATES),
    "kept": set(LIVE_STATES),
    "about_request": {"method", "path", "item"},
    "self.about()": {"pid", *ATTEMPT_FIELDS},
    "self._about()": {"pid", *ATTEMPT_FIELDS},
    "msgspec.structs.asdict(self._loop_monitor.health())": set(Health.__struct_fields__),
}
"""The fields in a `**expression` that aren't literals in the same function."""


class Reported(typing.NamedTuple):
    levels: set[str]
    fields: set[str]


@cache
def package() -> list[tuple[Path, ast.Module]]:
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if "log" in path.read_text()]
    return [(path, ast.parse(path.read_text())) for path in paths]


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def calls(node: ast.AST) -> Iterator[ast.Call]:
    return (each for each in ast.walk(node) if isinstance(each, ast.Call))


def constant(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def keywords_of_wrapper(name: str) -> set[str]:
    """Return the fields that all calls of a wrapper give."""
    given: set[str] = set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if WRAPPERS[name] not in path.relative_to(PACKAGE).parts:
            continue
        for call in calls(ast.parse(path.read_text())):
            if ast.unparse(call.func).rpartition(".")[2] == name:
                given |= {keyword.arg for keyword in call.keywords if keyword.arg}
    return given


def fields_in(spread: ast.expr, function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Return the fields that a `**expression` adds: those of a dict made in the function, or of its callers."""
    text = ast.unparse(spread)
    if text in SPREAD:
        return SPREAD[text]
    if function.args.kwarg is not None and function.args.kwarg.arg == text:
        assert function.name in WRAPPERS, f"{function.name} passes on fields: name it in WRAPPERS"
        return keywords_of_wrapper(function.name)
    found: set[str] = set()
    for node in ast.walk(function):
        targets = [*node.targets] if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.AnnAssign):
            targets.append(node.target)
        for target in targets:
            value = node.value  # type: ignore[attr-defined]  # targets is empty for other nodes
            if ast.unparse(target) == text:
                dicts = (each for each in ast.walk(value) if isinstance(each, ast.Dict))
                found |= {str(constant(key)) for each in dicts for key in each.keys}
            if isinstance(target, ast.Subscript) and ast.unparse(target.value) == text:
                found.add(str(constant(target.slice)))
    assert found, f"the fields of **{text} in {function.name} are no literals there: name them in SPREAD"
    return found


@cache
def reported() -> dict[str, Reported]:
    """Return every event that the package reports, with its levels and all fields that it may have."""
    found: dict[str, Reported] = defaultdict(lambda: Reported(set(), set()))
    for path, tree in package():
        for function in functions(tree):
            for call in calls(function):
                name = constant(call.args[0]) if call.args else None
                if name is None or "." not in name:
                    continue
                called = ast.unparse(call.func)
                receiver, _, method = called.rpartition(".")
                if called == "_record" and path.name in OWN_CODE:
                    assert isinstance(call.args[1], ast.Dict)
                    found[name].levels.add("warning")
                    found[name].fields.update(str(constant(key)) for key in call.args[1].keys)
                    continue
                if method == "_tell":
                    found[name].levels.add("info")
                elif method in SAMPLED:
                    found[name].levels.update({"warning", "sampled"})
                    found[name].fields.add("count")
                elif method in LEVELS and "log" in receiver.lower():
                    found[name].levels.add(method)
                else:
                    continue
                for keyword in call.keywords:
                    new = {keyword.arg} if keyword.arg else fields_in(keyword.value, function)
                    found[name].fields.update(new - NO_FIELDS)
    for name, event in found.items():
        if "exc" in event.fields:
            event.fields.add("traceback")
        event.fields.difference_update({"exc"}, NEVER.get(name, set()))
    return dict(found)


def catalogue() -> dict[str, Reported]:
    table = rows(page("events.md").partition("\n# Queue events\n")[0], columns=5)
    assert len(table) == len({cells[0] for cells in table}), "an event is twice on the page"
    return {codes(cells[0])[0]: Reported(set(cells[1].split(", ")), set(codes(cells[2]))) for cells in table}


def test_the_catalogue_lists_exactly_the_log_events_of_the_code() -> None:
    assert sorted(catalogue()) == sorted(reported())
    assert len(reported()) > 50


def test_the_catalogue_has_the_levels_and_fields_of_each_event() -> None:
    code, on_page = reported(), catalogue()
    wrong = {
        name: (on_page[name], code[name]) for name in sorted(code) if name in on_page and on_page[name] != code[name]
    }
    assert wrong == {}


def test_the_catalogue_has_a_cause_and_an_action_for_each_event() -> None:
    for name, _, _, when, what_to_do in rows(page("events.md").partition("\n# Queue events\n")[0], columns=5):
        assert len(when) > 15, name
        assert what_to_do, name


def test_event_names_in_the_code_are_constants_outside_known_wrappers() -> None:
    """A variable name is the argument of a wrapper in `WRAPPERS`."""
    for path, tree in package():
        if path.name in OWN_CODE:
            continue
        for function in functions(tree):
            for call in calls(function):
                receiver, _, method = ast.unparse(call.func).rpartition(".")
                is_event = method in LEVELS | SAMPLED and receiver in ("log", "sample.log")
                if is_event and constant(call.args[0]) is None:
                    assert function.name in WRAPPERS, f"{path}:{call.lineno}"


def test_the_page_has_the_intervals_of_sampled_events() -> None:
    intervals: dict[str, str] = {}
    for _, tree in package():
        for call in calls(tree):
            name = constant(call.args[0]) if call.args else None
            if name is not None and ast.unparse(call.func).rpartition(".")[2] in SAMPLED:
                every_s = {keyword.arg: keyword.value for keyword in call.keywords}.get("every_s")
                intervals[name] = "1.0" if every_s is None else ast.unparse(every_s)
    assert set(intervals.values()) == {"1.0", "10.0", "_REFUSED_EVERY_S", "_FAILED_EVERY_S"}
    assert (problems._REFUSED_EVERY_S, problems._FAILED_EVERY_S) == (10.0, 10.0)
    intro = page("events.md").partition("*Sampled*")[2].partition(" 1 s)")[0]
    assert set(codes(intro)) == {name for name, every_s in intervals.items() if every_s == "1.0"}


def test_the_page_has_the_members_of_every_log_line() -> None:
    head = page("events.md").partition("\n## ")[0]
    assert {name for cells in rows(head, columns=2) for name in codes(cells[0])} == log._RESERVED


def test_the_page_has_every_queue_event_with_its_fields() -> None:
    on_page = {
        codes(cells[0])[0]: codes(cells[1]) for cells in rows(page("events.md").partition("\n# Queue events\n")[2])
    }
    kinds = typing.get_args(events.Event)
    assert on_page == {kind.__name__: list(kind.__struct_fields__) for kind in kinds}
