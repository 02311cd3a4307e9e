"""The reference page of handlers and JobQueue, and the docstrings: options, members and defaults of the code."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from typing import Any

import pytest

from jobqueue import JobContext, JobHandle, JobQueue, errors, testing
from jobqueue.handlers import HandlerOptions
from jobqueue.registration import Registration
from tests.docs.tables import codes, page, rows, section

PAGE = page("handlers.md")
HANDLER, SUBMIT = "## `@queue.handler`", "### `JobQueue.submit`"

FOR_THE_RUNTIME = {
    JobContext: {"cancel", "written_result"},
    JobQueue: {"service"},
    JobHandle: set[str](),
}
"""Public names for the package itself, not for applications."""

NO_DEFAULT_TO_NAME = {"the function's name", "the handler's", "required", "none", "no limit", "all", "now"}


def table(heading: str, head: str) -> list[list[str]]:
    below = section(PAGE, heading)
    return rows(below[below.index(f"\n| {head} |") + 1 :].partition("\n\n")[0])


def names(heading: str, head: str) -> list[str]:
    """Return the names in the first column, without the arguments of calls."""
    return [code.partition("(")[0] for cells in table(heading, head) for code in codes(cells[0])]


def public(of: type) -> set[str]:
    made = {name for name in getattr(of, "__slots__", ()) if not name.startswith("_")}
    given = {
        target.attr
        for base in of.__mro__[:-1]
        if isinstance(base.__dict__.get("__init__"), type(public))
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(base.__init__))))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute)
    }
    return {name for name in {*dir(of), *made, *given} if not name.startswith("_")}


def parameters(function: Any) -> dict[str, inspect.Parameter]:
    found = inspect.signature(function).parameters.values()
    return {p.name: p for p in found if p.name != "self" and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}


def documented(function: Any) -> dict[str, str]:
    """Return the arguments in a docstring, each with its text."""
    doc = inspect.getdoc(function) or ""
    args = doc.partition("Args:\n")[2].partition("\n\n")[0]
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", args, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def test_the_page_has_the_options_of_a_handler() -> None:
    fields = list(HandlerOptions.__struct_fields__)
    assert names(HANDLER, "Option") == fields
    assert list(documented(Registration.handler)) == fields
    given = {
        argument.arg
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(Registration))))
        if isinstance(node, ast.FunctionDef) and node.name == "handler"
        for argument in node.args.kwonlyargs
    }
    assert given == set(fields)


@pytest.mark.parametrize("option", HandlerOptions.__struct_fields__)
def test_the_page_has_the_default_of_each_handler_option(option: str) -> None:
    cells = next(cells for cells in table(HANDLER, "Option") if codes(cells[0]) == [option])
    default = HandlerOptions.__struct_defaults__[HandlerOptions.__struct_fields__.index(option)]
    if default is None:
        assert cells[2] in NO_DEFAULT_TO_NAME or option in ("run_in", "backoff")
    else:
        assert cells[2] == f"`{default!r}`".replace("'", '"')


def test_the_page_has_the_options_of_submit_with_their_defaults() -> None:
    given = parameters(JobQueue.submit)
    assert names(SUBMIT, "Option") == list(given)
    assert list(documented(JobQueue.submit)) == list(given)
    for cells in table(SUBMIT, "Option"):
        default = given[codes(cells[0])[0]].default
        if default not in (None, inspect.Parameter.empty):
            assert cells[2] == f"`{default!r}`".replace("'", '"')


@pytest.mark.parametrize("function", [Registration.handler, JobQueue.submit], ids=lambda function: function.__name__)
def test_the_docstring_has_the_default_of_each_option(function: Any) -> None:
    on_page = documented(function)
    on_page.pop("type", None)
    assert {name for name, text in on_page.items() if "Defaults to" not in text} == set()


def test_the_page_has_the_exceptions_of_submit() -> None:
    doc = inspect.getdoc(JobQueue.submit) or ""
    on_page = re.findall(r"^    ([A-Z]\w+): ", doc.partition("Raises:\n")[2], re.MULTILINE)
    assert names(SUBMIT, "Raises") == on_page
    refused = {kind.__name__ for kind in errors.Refused.__subclasses__() if kind.__module__ == errors.__name__}
    assert refused - set(on_page) == {"RateLimited", "Recovering"}, "both are of HTTP callers alone"


@pytest.mark.parametrize(
    ("of", "heading"), [(JobContext, "## `JobContext`"), (JobQueue, "## `JobQueue`"), (JobHandle, "## `JobHandle`")]
)
def test_the_page_lists_exactly_the_members_for_users(of: type, heading: str) -> None:
    listed = names(heading, "Member")
    assert set(listed) == public(of) - FOR_THE_RUNTIME[of]
    for cells in table(heading, "Member"):
        for code in codes(cells[0]):
            name, _, given = code.partition("(")
            if given and "…" not in given:
                on_page = [argument.partition("=")[0].strip() for argument in given.rstrip(")").split(",") if argument]
                assert on_page == list(parameters(getattr(of, name))), name


def test_the_page_has_every_name_of_the_test_kit() -> None:
    made = {
        name
        for name, value in vars(testing).items()
        if getattr(value, "__module__", None) == testing.__name__ and len(name) > 1 and not name.startswith("_")
    }
    assert set(names("## Tests", "Name in `jobqueue.testing`")) == made
