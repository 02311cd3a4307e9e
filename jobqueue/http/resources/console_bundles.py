"""Bundles: what a browser loads of the console, a few scripts and a style sheet, made of its modules and sheets.

A hundred small files would cost a browser a request each, and compress one by one to a third more.

Rules:

1. `SCRIPTS` are loaded one after the other: the first has the shell and the first page, the others come with the first
   page that isn't in those before. Each has what its pages import, as far as none before it has that.
2. A module is a function there, which runs when it is first needed, and returns what the module exports. Its lines stay
   as they are, but for imports, the word `export`, the space before a line, and comments that have lines of their own
   (a sixth of all bytes). So a text of several lines may only be a template of `html`, where such space means nothing.
3. Modules import each other in no circle, change no export later, and have imports and exports in the forms of
   `_IMPORT` and `_EXPORT` alone. Anything else is a ValueError: a test of all modules finds it, not a server.
4. A source map leads a debugger to the modules themselves, which are served beside the bundles, with their comments.
5. Vendored modules stay files of their own: their digests are known.
"""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Final

import orjson

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ENTRY: Final = "main.js"
SCRIPT: Final = "console.js"
SCRIPTS: Final = {
    SCRIPT: (ENTRY, "pages/overview.js"),
    "pages.js": ("pages/jobs.js", "pages/job.js", "pages/queues.js", "pages/queue.js", "pages/failures.js"),
    "tools.js": (),
}
"""Their pages; the last one has all others. Compressed, each is to be one small answer (`in_flight.SMALL_BYTES`)."""

VENDOR: Final = "vendor/"

_COMMENT = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(
    r'^(?:import (?:(?P<default>\w+)|\{(?P<names>[^{}]*)\})|export \{(?P<passed>[^{}]*)\}) from "(?P<of>\.[^"]+)";',
    re.MULTILINE,
)
_EXPORT = re.compile(
    r"^export (?:(?P<default>default )?(?P<declared>(?:async )?function\*? ?|class |const )(?P<name>\w+)"
    r"|\{(?P<names>[^{}]*)\};)",
    re.MULTILINE,
)
_STATEMENT = re.compile(r"^(?:import|export)\b", re.MULTILINE)
_LOAD = re.compile(r'\bimport\("(\.[^"]+)"\)')

_FURTHER = ", ".join(f'() => import("./{name}")' for name in SCRIPTS if name != SCRIPT)
_HEAD = f"""\
const $modules = {{}};
const $made = {{}};
const $need = (name) => ($made[name] ??= $modules[name]());
const $further = [{_FURTHER}];
const $load = async (name) => {{
  for (const script of $further) if (!$modules[name]) await script();
  return $need(name);
}};
const $at = (name) => new URL(name, import.meta.url).href;
export {{$at, $load, $modules, $need}};
"""
_FURTHER_HEAD = f'import {{$at, $load, $modules, $need}} from "./{SCRIPT}";\n'


def bundles_of(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the scripts and their source maps, by name. Raises ValueError: a module has a form that it may not have.

    Args:
        contents: All files of the console, by name.
    """
    left = {
        name: _Module(name, content.decode())
        for name, content in contents.items()
        if name.endswith(".js") and not name.startswith(VENDOR)
    }
    for module in left.values():
        _check(module, left)
    vendored = sorted({of for module in left.values() for of in module.imports if of.startswith(VENDOR)})
    head = "".join(f'import * as $vendor{number} from "./{name}";\n' for number, name in enumerate(vendored))
    head += _HEAD + "".join(f'$modules["{name}"] = () => $vendor{number};\n' for number, name in enumerate(vendored))
    made: dict[str, bytes] = {}
    for script, pages in SCRIPTS.items():
        taken = _closure(left, pages) if pages else {*left}
        modules = [left[name] for name in left if name in taken]
        left = {name: module for name, module in left.items() if name not in taken}
        if script == SCRIPT:
            _bundle(made, script, head, modules, f'$need("{ENTRY}");\n')
        else:
            _bundle(made, script, _FURTHER_HEAD, modules)
    return made


def sheet_of(contents: Mapping[str, bytes], names: Sequence[str]) -> bytes:
    """Return style sheets as one, without comments and the space before a line."""
    sheet = _COMMENT.sub("", "".join(contents[name].decode() for name in names))
    return "".join(f"{line.lstrip()}\n" for line in sheet.split("\n") if line).encode()


class _Module:
    """A module as it is in a bundle.

    Attributes:
        lines: Its lines, each with the number that it has in the source, from 0 on.
        imports: The names that it takes of each module.
        exports: The names that it gives, with their values.
        loads: Modules that it loads when they are needed.

    Raises:
        ValueError: It has an import or export that a bundle does not know.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.imports: dict[str, list[str]] = {}
        self.exports: dict[str, str] = {}
        self.loads: list[str] = []
        self._left = len(_STATEMENT.findall(source))
        text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), source)
        for pattern, write in ((_IMPORT, self._taken), (_EXPORT, self._given), (_LOAD, self._loaded)):
            text = pattern.sub(write, text)
        if self._left:
            raise ValueError(f"{name}: {self._left} of its imports and exports have a form that a bundle does not know")
        text = text.replace("import.meta.url", f'$at("{name}")')
        lines = ((line.lstrip(), number) for number, line in enumerate(text.split("\n")))
        self.lines = [(line, number) for line, number in lines if line and not line.startswith("//")]

    def _taken(self, match: re.Match[str]) -> str:
        self._left -= 1
        of = self._resolved(match["of"])
        pairs = [("default", match["default"])] if match["default"] else _pairs(match["names"] or match["passed"])
        self.imports.setdefault(of, []).extend(theirs for theirs, _ in pairs)
        if match["passed"]:
            self.exports |= {own: own for _, own in pairs}
        names = ", ".join(theirs if theirs == own else f"{theirs}: {own}" for theirs, own in pairs)
        # As many line breaks as it had, so that the lines after it keep their numbers.
        return f'const {{{names}}} = $need("{of}");' + "\n" * match[0].count("\n")

    def _given(self, match: re.Match[str]) -> str:
        self._left -= 1
        if match["name"] is None:
            self.exports |= {theirs: own for own, theirs in _pairs(match["names"])}
            return "\n" * match[0].count("\n")
        self.exports["default" if match["default"] else match["name"]] = match["name"]
        return f"{match['declared']}{match['name']}"

    def _loaded(self, match: re.Match[str]) -> str:
        of = self._resolved(match[1])
        if of.startswith(VENDOR):
            return f'import("./{of}")'
        self.loads.append(of)
        return f'$load("{of}")'

    def _resolved(self, path: str) -> str:
        return normpath(join(dirname(self.name), path))


def _pairs(names: str) -> list[tuple[str, str]]:
    """Return the names in braces: before and after their `as`."""
    words = [name.split() for name in names.split(",") if name.strip()]
    return [(each[0], each[-1]) for each in words]


def _check(module: _Module, modules: Mapping[str, _Module]) -> None:
    """Raise ValueError if a module takes what none gives, or imports itself by way of others."""
    own = [of for of in module.imports if not of.startswith(VENDOR)]
    for of in (*own, *module.loads):
        if of not in modules:
            raise ValueError(f"{module.name}: there is no module {of}")
    for of in own:
        if missing := [name for name in module.imports[of] if name not in modules[of].exports]:
            raise ValueError(f"{module.name}: {of} does not export {', '.join(missing)}")
    if module.name in _closure(modules, own):
        raise ValueError(f"{module.name}: it imports itself, by way of others")


def _closure(modules: Mapping[str, _Module], names: Sequence[str]) -> set[str]:
    """Return modules and all that they import."""
    found: set[str] = set()
    left = [*names]
    while left:
        name = left.pop()
        if name not in found and name in modules:
            found.add(name)
            left += modules[name].imports
    return found


def _bundle(made: dict[str, bytes], name: str, head: str, modules: Sequence[_Module], foot: str = "") -> None:
    """Add a script of some modules, and its source map."""
    lines: list[tuple[str, int, int]] = []
    for number, module in enumerate(modules):
        lines.append((f'$modules["{module.name}"] = () => {{', number, 0))
        lines += [(line, number, at) for line, at in module.lines]
        given = ", ".join(key if key == value else f"{key}: {value}" for key, value in module.exports.items())
        lines.append((f"return {{{given}}};}};", number, module.lines[-1][1]))
    script = head + "".join(f"{line}\n" for line, _, _ in lines) + foot + f"//# sourceMappingURL={name}.map\n"
    made[name] = script.encode()
    mappings = ";" * head.count("\n") + _mappings([place for _, *place in lines])
    sources = [module.name for module in modules]
    made[f"{name}.map"] = orjson.dumps(
        {"version": 3, "file": name, "sources": sources, "names": [], "mappings": mappings}
    )


def _mappings(places: Sequence[Sequence[int]]) -> str:
    """Return where each line comes from, its source and its line there, as a source map (ECMA-426) writes it."""
    written = []
    before = (0, 0)
    for source, line in places:
        written.append(f"A{_vlq(source - before[0])}{_vlq(line - before[1])}A")
        before = source, line
    return ";".join(written)


_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _vlq(number: int) -> str:
    left = (abs(number) << 1) | (number < 0)
    digits = ""
    while True:
        left, digit = left >> 5, left & 31
        digits += _DIGITS[digit | (32 if left else 0)]
        if not left:
            return digits
