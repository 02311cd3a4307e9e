"""Names of the console's modules: each is declared, imported, or one of the browser's.

In a script that a browser loads, a module sees what the others export, so one that lacks an import works there, and
fails where modules are loaded by themselves.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.console.test_files import MODULES, ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NODE = shutil.which("node")
PARSER = "tests/console/js/names.cjs"

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")

OF_THE_LANGUAGE = (
    "Array BigInt Boolean Date Error Infinity Intl JSON Map Math Number Object Promise RangeError RegExp Set "
    "String SyntaxError decodeURIComponent encodeURIComponent parseInt undefined"
)
OF_THE_BROWSER = (
    "AbortController AbortSignal Blob BroadcastChannel CSS Element FormData Headers ResizeObserver "
    "TextDecoder URL URLSearchParams addEventListener clearInterval clearTimeout document fetch "
    "getComputedStyle getSelection history localStorage location matchMedia navigator performance "
    "requestAnimationFrame setInterval setTimeout structuredClone window"
)
"""Those that modules use, and no more: `Text` is a component, and a class of the DOM."""

KNOWN = {*OF_THE_LANGUAGE.split(), *OF_THE_BROWSER.split()}


class Names(NamedTuple):
    """What a module does with names. Attributes: absent: Used, and neither declared, imported nor of the browser."""

    absent: list[str]
    unused: list[str]
    assigned: list[str]


def names_of(sources: Mapping[str, str]) -> dict[str, Names]:
    command = [str(NODE), "--expose-internals", PARSER]
    ended = subprocess.run(
        command, input=json.dumps(sources), cwd=ROOT.parents[2], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    for told in found.values():
        told["absent"] = [each for each in told["absent"] if each not in KNOWN]
    return {name: Names(**told) for name, told in found.items()}


@pytest.fixture(scope="module")
def names() -> dict[str, Names]:
    return names_of({path.relative_to(ROOT).as_posix(): path.read_text() for path in MODULES})


def test_each_name_is_declared_imported_or_one_of_the_browser(names: dict[str, Names]) -> None:
    assert len(names) > 100
    assert {module: each.absent for module, each in names.items() if each.absent} == {}


def test_each_name_that_a_module_has_is_used(names: dict[str, Names]) -> None:
    assert {module: each.unused for module, each in names.items() if each.unused} == {}


def test_nothing_assigns_to_a_constant(names: dict[str, Names]) -> None:
    """A browser would not tell: scripts are sent with `let`."""
    assert {module: each.assigned for module, each in names.items() if each.assigned} == {}


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("f(a.b, {c: d, e}); ({[g]: h} = {});", Names(["f", "a", "d", "e", "g", "h"], [], [])),
        ('import {a, b} from "./c.js"; export const d = (e, {f = a}) => e + f;', Names([], ["b"], [])),
        ("const a = 1; a += 1; let b = 2; b++; for (const c of [b]) c = 3;", Names([], [], ["a", "c"])),
        ("{ const a = 1; a; } try { a; } catch (b) { b; }", Names(["a"], [], [])),
        (
            "function f(a) { return g(a); function g(b) { return b + c; } } f(function h() { h(); });",
            Names(["c"], [], []),
        ),
        ("class A { static b = 1; #c = d; e() { return this.#c; } } new A();", Names(["d"], [], [])),
        ("const {a, b: {c = d}, ...e} = f; c(e); const g = 1;", Names(["d", "f"], ["g"], [])),
        ("html`<${A}>${b.c}<//>`; const html = 1;", Names(["A", "b"], [], [])),
        ("export default function Page() {} export class B {}", Names([], [], [])),
        ("x: for (;;) { break x; } import.meta.url; typeof y;", Names(["y"], [], [])),
    ],
)
def test_a_module_is_read_by_its_scopes(source: str, told: Names) -> None:
    assert names_of({"a.js": source}) == {"a.js": told}


def test_a_forgotten_import_is_found() -> None:
    path: Path = ROOT / "components/badge.js"
    source = "\n".join(line for line in path.read_text().splitlines() if not line.startswith("import"))
    assert names_of({"badge.js": source})["badge.js"].absent == ["html"]
