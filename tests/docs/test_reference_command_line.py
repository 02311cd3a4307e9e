"""The reference page of the command line: exactly the commands and flags of the parsers."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, NoReturn

import pytest

from clients import options
from jobqueue.cli import main as cli
from jobqueue.cli.parser import Parser
from jobqueue.cli.settings import FLAGS
from tests.docs.tables import codes, page, rows, section

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = page("command-line.md")


class Caught(Exception):
    """Ends a main function when it calls its parser."""


@pytest.fixture
def parser_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[list[str]], object]], argparse.ArgumentParser]:
    """Return the parser of a main function."""

    def parser_of(main: Callable[[list[str]], object]) -> argparse.ArgumentParser:
        caught: list[argparse.ArgumentParser] = []

        def parse_args(self: argparse.ArgumentParser, *args: object) -> NoReturn:
            caught.append(self)
            raise Caught

        monkeypatch.setattr(Parser, "parse_args", parse_args)
        with pytest.raises(Caught):
            main([])
        return caught[0]

    return parser_of


def commands(parser: argparse.ArgumentParser, name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield every command without subcommands, by its full name."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in below:
        for word, inner in action.choices.items():
            yield from commands(inner, f"{name} {word}")
    if not below:
        yield name, parser


def arguments(parser: argparse.ArgumentParser) -> dict[str, object]:
    """Return the flags and positional arguments of a command, with their defaults."""
    found = {}
    for action in parser._actions:
        if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            found[action.option_strings[-1] if action.option_strings else str(action.metavar)] = action.default
    return found


def arguments_on_page(heading: str) -> dict[str, str]:
    """Return the arguments on the page, each with the cell of its default."""
    below = section(PAGE, heading)
    if "\n| Argument |" not in below:
        return {}
    table = rows(below[below.index("\n| Argument |") + 1 :].partition("\n\n")[0])
    return {name: cells[1] for cells in table for name in codes(cells[0])}


def test_the_page_has_every_command_with_its_arguments() -> None:
    parser = cli.whole_parser()
    of_the_code = dict(commands(parser, "jobqueue"))
    of_clients = set(arguments_on_page("### Commands that ask a server"))
    assert re.findall(r"^### `(.+)`$", PAGE, re.MULTILINE) == list(of_the_code)
    for name, command in of_the_code.items():
        asks = "--url" in arguments(command)
        expected = set(arguments(command)) - (of_clients if asks else set())
        assert set(arguments_on_page(f"### `{name}`")) == expected, name
        assert not asks or of_clients <= set(arguments(command)), name
    top = section(PAGE, "## `jobqueue`").partition("\n### ")[0]
    assert [codes(cells[0])[0] for cells in rows(top)] == list(arguments(parser))


def test_the_page_has_every_option_of_the_fleet_with_its_default(
    parser_of: Callable[[Callable[[list[str]], object]], argparse.ArgumentParser],
) -> None:
    of_the_code, of_the_page = arguments(parser_of(options.parse)), arguments_on_page("## `jobqueue-clients`")
    assert list(of_the_page) == list(of_the_code)
    for name, default in of_the_code.items():
        if default not in (None, (), []):
            assert of_the_page[name] == f"`{default}`", name


def test_the_page_names_the_setting_of_each_flag() -> None:
    below = section(PAGE, "### `jobqueue serve`")
    for flag, (setting, _, _) in FLAGS.items():
        assert f"| `--{flag}` | | `{setting}` |" in below
