"""The tables of aiohttp's private fields equal the fields that the code uses."""

from __future__ import annotations

import ast
import inspect
import textwrap
from importlib import import_module
from typing import TYPE_CHECKING

from aiohttp import web

from jobqueue.http.transport.aiohttp_compat import FAST_PATH_FIELDS, OTHER_FIELDS
from tests.test_laws import Module, modules

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENTED = {"_replace"}
"""Documented: a method of a named tuple."""

OWNERS = {**FAST_PATH_FIELDS, **OTHER_FIELDS}
HTTP = [module for module in modules("jobqueue/http") if module.name != "jobqueue.http.transport.aiohttp_compat"]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def stored_on_self(tree: ast.AST) -> set[str]:
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value)
    }


def is_self(node: ast.expr) -> bool:
    return ast.unparse(node) in ("self", "super()")


def fields_of(owner: object) -> set[str]:
    """Return the private names of a class or module of aiohttp, instance attributes included."""
    names = set(dir(owner))
    for each in inspect.getmro(owner) if isinstance(owner, type) else ():
        if each.__module__.startswith("aiohttp"):
            names |= stored_on_self(ast.parse(textwrap.dedent(inspect.getsource(each))))
    return {name for name in names if is_private(name)}


def inherited(module: Module, node: ast.ClassDef) -> set[str]:
    """Return the private names that a class inherits from classes of aiohttp."""
    cls: type = getattr(import_module(module.name), node.name, object)
    return set().union(*(fields_of(base) for base in cls.__mro__ if base.__module__.startswith("aiohttp")))


def methods_of(node: ast.ClassDef) -> set[str]:
    return {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}


def classes(module: Module) -> Iterator[tuple[ast.ClassDef, set[str]]]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            yield node, inherited(module, node)


KNOWN = set().union(*(fields_of(owner) for owner in OWNERS))
"""Names of classes in the tables; these count as aiohttp's, even if a class of the package has an equal name."""


def own_names(package: list[Module]) -> set[str]:
    """Return the private names that classes of the package define, without those of aiohttp."""
    defined = ((methods_of(node) | stored_on_self(node)) - base for module in package for node, base in classes(module))
    return set().union(*defined)


def touched(module: Module, own: set[str]) -> Iterator[str]:
    """Yield the private names of aiohttp in a module: imported, overridden, or read from an object."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("aiohttp"):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.Attribute) and not is_self(node.value) and (node.attr not in own or node.attr in KNOWN):
            yield node.attr
    for node, base in classes(module):
        yield from methods_of(node) & base
        asked = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute) and is_self(each.value)}
        yield from asked & base


def touched_in(package: list[Module]) -> set[str]:
    own = own_names(package)
    names = {name for module in package if "aiohttp" in module.source for name in touched(module, own)}
    return {name for name in names if is_private(name)} - DOCUMENTED


def test_the_tables_equal_the_used_private_fields_of_aiohttp() -> None:
    named = {name for names in OWNERS.values() for name in names}
    assert touched_in(HTTP) == {name for name in named if is_private(name)}


def test_the_installed_aiohttp_has_all_fields_in_the_tables() -> None:
    missing = [
        name for owner, names in OWNERS.items() for name in names if is_private(name) and name not in fields_of(owner)
    ]
    assert missing == []


def test_read_fields_overridden_methods_and_imported_names_are_found() -> None:
    source = """
import aiohttp
from aiohttp.web_protocol import _ErrInfo

def f(request):
    request._match_info = None

class Own:
    def __init__(self):
        self._own = 1

def g(own):
    return own._own
"""
    assert touched_in([Module("jobqueue.http.routes", source)]) == {"_ErrInfo", "_match_info"}
    assert {"_loop", "_messages", "_handle_request"} <= fields_of(web.RequestHandler)
