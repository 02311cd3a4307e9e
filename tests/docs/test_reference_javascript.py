"""The reference page of the JavaScript client: methods, options and errors, compared with the text of the module."""

from __future__ import annotations

import inspect
import re

from jobqueue.client import Client
from tests.docs.page import ROOT
from tests.docs.tables import codes, page, rows, section

PAGE = page("javascript.md")
SOURCE = (ROOT / "clients/js/jobqueue.js").read_text()


def table(heading: str, head: str) -> list[list[str]]:
    below = section(PAGE, heading)
    return rows(below[below.index(f"\n| {head} |") + 1 :].partition("\n\n")[0])


def methods() -> dict[str, str]:
    """Return the names of the arguments of each public method; what is taken apart is `options`."""
    client = SOURCE[SOURCE.index("export class Client") : SOURCE.index("// -- one request")]
    found = re.findall(r"^  async \*?([a-z]\w*)\((.*)\) \{$", client, re.MULTILINE)
    return {name: named(re.sub(r"\{ [^{}]* \} = \{\}", "options", arguments)) for name, arguments in found}


def named(arguments: str) -> str:
    return ", ".join(argument.partition(" = ")[0] for argument in arguments.split(", "))


def options_of_calls() -> set[str]:
    """Return the names of all options that public methods take apart."""
    taken = re.findall(r"^  async \*?[a-z]\w*\(.*?\{ (.*) \} = \{\}\) \{$", SOURCE, re.MULTILINE)
    taken += re.findall(r"const \{ (.*) \} = options;", SOURCE)
    return {named(option) for each in taken for option in each.split(", ")}


def test_the_page_has_the_methods_with_their_arguments() -> None:
    on_page = dict(
        re.fullmatch(r"(\w+)\((.*)\)", codes(cells[0])[0]).groups() for cells in table("## Methods", "Method")
    )
    assert on_page == methods()
    assert len(on_page) > 20


def test_both_clients_have_the_same_methods() -> None:
    of_python = {name for name, _ in inspect.getmembers(Client, inspect.isfunction) if name[0] != "_"}
    in_camel_case = {re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in of_python}
    assert {*methods()} - {"download", "progress"} == in_camel_case - {"close"}


def test_the_page_has_the_options_of_calls() -> None:
    on_page = {codes(cells[0])[0] for cells in table("## Methods", "Option")}
    assert on_page | {"signal"} == options_of_calls()


def test_the_page_has_the_options_of_a_client() -> None:
    given = re.search(r"  constructor\(url, \{ (.*) \} = \{\}\)", SOURCE)
    assert given is not None
    taken = [named(option) for option in given[1].split(", ")]
    assert [codes(cells[0])[0] for cells in table("## Making one", "Option")] == ["url", *taken]
    assert f"`new Client(url, {{ {', '.join(taken)} }})`" in PAGE


def test_the_page_has_the_exported_errors() -> None:
    on_page = {codes(cells[0])[0] for cells in table("## Errors", "Error")}
    exported = set(re.findall(r"^export class (\w+)", SOURCE, re.MULTILINE))
    assert on_page | {"Client", "JobQueueError"} == exported
