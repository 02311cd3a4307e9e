"""Bundles: what a browser loads of the console, a few scripts and a style sheet, made of its modules and sheets.

A hundred small files would cost a browser a request each, and compress one by one to a third more.

Rules:

1. `SCRIPTS` are loaded one after the other: the first has the shell and the first page, the others come with the first
   page that isn't in those before. Each has what its pages import, as far as none before it has that.
2. A script is a module. What its modules export are names of the script, so that none of them imports anything: that
   is a twentieth of all bytes. The rest of a module stays in a function of its own, which runs once, after those that
   it imports. If one throws, its names are undefined, the others work, and the page that needs it fails alone.
3. So each name is exported once in the whole console, under one name; only pages may all export `default` and `title`:
   they are loaded, never imported.
4. A module is sent in its short form (`script_form`), without imports, the word `export`, and comments that have lines
   of their own (a sixth of all bytes). So a text of several lines may only be a template of `html`.
5. Modules import each other in no circle, change no export later, and have imports and exports in the forms of
   `_IMPORT`, `_PASSED` and `_EXPORT` alone. Anything else is a ValueError, which a test of all modules finds.
6. A source map leads a debugger to the modules themselves, which are served beside the bundles, with their comments.
7. Vendored modules stay files of their own: their digests are known.
"""

from __future__ import annotations

import re
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, Final

import orjson

from jobqueue.http.resources.script_form import JOINED, short_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

ENTRY: Final = "main.js"
SCRIPT: Final = "console.js"
FURTHER: Final = "tools.js"
SCRIPTS: Final = {
    SCRIPT: ("components/toast.js", ENTRY, "pages/overview.js"),
    "pages.js": (
        *("data/recurrence.js", "data/filter_completion.js", "components/timeline.js", "components/flow_layers.js"),
        *("pages/jobs.js", "components/block_dialog.js", "pages/sign_in.js", "pages/what_if.js", "pages/queue.js"),
        *("pages/types.js", "pages/queues.js", "pages/server.js"),
    ),
    FURTHER: (
        *("pages/type.js", "pages/topics.js", "pages/job.js", "pages/schedule.js", "pages/live.js"),
        *("pages/schedules.js", "pages/flows.js", "pages/flow.js", "pages/failures.js", "pages/callers.js"),
    ),
}
"""Their pages, and modules that come before others, in an order that compresses well (2 KB less than by name).

The last script has all other modules, too. Compressed, each is to be one small answer (`in_flight.SMALL_BYTES`).
"""

VENDOR: Final = "vendor/"

_COMMENT = re.compile(r"^[ \t]*/\*.*?\*/[ \t]*\n", re.MULTILINE | re.DOTALL)
_IMPORT = re.compile(r'^import \{(?P<names>[\w\s,]*)\} from "(?P<of>\.[^"]+)";', re.MULTILINE)
_PASSED = re.compile(rf'^export \{{(?P<names>[\w\s,]*)\}} from "(?P<of>\.[^"]*{VENDOR}[^"]+)";', re.MULTILINE)
_EXPORT = re.compile(
    r"^export (?P<default>default )?(?P<declared>(?:async )?function\*? ?|class |const )(?P<name>\w+)", re.MULTILINE
)
_STATEMENT = re.compile(r"^(?:import|export)\b", re.MULTILINE)
_SHEET_MARK = re.compile(r"\s*([{},;])\s*|(?<=[\w-]): ")
_LINE = re.compile(rf"[ \t]*([^\n{JOINED}]*?)[ \t]*([\n{JOINED}]|\Z)")
_LOAD = re.compile(r'\bimport\("(\.[^"]+)"\)')
_OWN: Final = ("$at", "$load", "$pages", "$run")
"""What each script has of the first one."""

_FURTHER = ", ".join(f'() => import("./{name}")' for name in SCRIPTS if name != SCRIPT)
_HEAD = short_form(f"""\
export const $pages = {{}};
export const $run = (module) => {{
  try {{
    return module();
  }} catch (fault) {{
    reportError(fault);
    return {{}};
  }}
}};
export const $load = async (name) => {{
  for (const script of [{_FURTHER}]) if (!$pages[name]) await script();
  if (!$pages[name].default) throw new Error(name);
  return $pages[name];
}};
export const $at = (name) => new URL(name, import.meta.url).href;
""").replace(JOINED, "")


def bundles_of(contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the scripts and their source maps, by name. Raises ValueError: a module has a form that it may not have.

    Args:
        contents: All files of the console, by name.
    """
    modules = {
        name: _Module(name, content.decode())
        for name, content in contents.items()
        if name.endswith(".js") and not name.startswith(VENDOR)
    }
    pages = {name for module in modules.values() for name in module.loads}
    _check(modules, pages)
    places = _places(modules, pages)
    wanted = {name for module in modules.values() for names in module.imports.values() for name in names}
    for module in modules.values():
        if module.name not in pages:  # a test may take more of it
            module.exports = {name: own for name, own in module.exports.items() if name in wanted}
    taken: set[str] = set()
    scripts: dict[str, list[_Module]] = {}
    for script, roots in SCRIPTS.items():
        names = [
            name for name in _ordered(modules, (*roots, *(modules if script == FURTHER else ()))) if name not in taken
        ]
        taken.update(names)
        scripts[script] = [modules[name] for name in names if modules[name].lines]
    at = {module.name: script for script, each in scripts.items() for module in each}
    heads = {script: _names_of_others(script, each, places, at) for script, each in scripts.items()}
    made: dict[str, bytes] = {}
    for script, each in scripts.items():
        own = f"{_HEAD}\n" if script == SCRIPT else ""
        head = "".join(f'import {{{",".join(sorted(names))}}} from "./{of}";\n' for of, names in heads[script].items())
        _bundle(made, script, head + own, each, pages)
    return made


def sheet_of(contents: Mapping[str, bytes], names: Sequence[str]) -> bytes:
    """Return style sheets as one, without comments, and without spaces beside marks, which no text in them has."""
    sheet = _COMMENT.sub("", "".join(contents[name].decode() for name in names))
    return _SHEET_MARK.sub(lambda match: match[1] or ":", sheet).replace(";}", "}\n").encode()


class _Module:
    """A module as it is in a bundle.

    Attributes:
        lines: Its lines, each with its line break if that is sent, and the number that it has in the source, from 0 on.
        imports: The names that it takes of each module.
        exports: The names that it gives, with their values.
        passed: The names that it gives of a vendored module.
        loads: Modules that it loads when they are needed.

    Raises:
        ValueError: It has an import or export that a bundle does not know.
    """

    def __init__(self, name: str, source: str) -> None:
        self.name = name
        self.imports: dict[str, list[str]] = {}
        self.exports: dict[str, str] = {}
        self.passed: dict[str, str] = {}
        self.loads: list[str] = []
        self._left = len(_STATEMENT.findall(source))
        text = _COMMENT.sub(lambda match: "\n" * match[0].count("\n"), source)
        for pattern, write in ((_IMPORT, self._taken), (_PASSED, self._let_through), (_EXPORT, self._given)):
            text = pattern.sub(write, text)
        if self._left:
            raise ValueError(f"{name}: {self._left} of its imports and exports have a form that a bundle does not know")
        text = _LOAD.sub(self._loaded, text).replace("import.meta.url", f'$at("{name}")')
        lines = enumerate(_LINE.findall(short_form(text)))
        self.lines = [(f"{line}{end.strip(JOINED)}", number) for number, (line, end) in lines if line]

    def _taken(self, match: re.Match[str]) -> str:
        self._left -= 1
        self.imports.setdefault(self._resolved(match["of"]), []).extend(_names(match["names"]))
        # As many line breaks as it had, so that the lines after it keep their numbers.
        return "\n" * match[0].count("\n")

    def _let_through(self, match: re.Match[str]) -> str:
        self._left -= 1
        self.passed |= dict.fromkeys(_names(match["names"]), self._resolved(match["of"]))
        return "\n" * match[0].count("\n")

    def _given(self, match: re.Match[str]) -> str:
        self._left -= 1
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


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _check(modules: Mapping[str, _Module], pages: Collection[str]) -> None:
    """Raise ValueError if a module imports what none gives, or a page, or loads one that is not there.

    Only a page, which is loaded, may export a default.
    """
    for module in modules.values():
        if absent := [of for of in (*module.imports, *module.loads) if of not in modules]:
            raise ValueError(f"{module.name}: there is no module {absent[0]}")
    if named := [name for name, module in modules.items() if "default" in module.exports and name not in pages]:
        raise ValueError(f"{named[0]}: only a page exports a default")
    for module in modules.values():
        for of, names in module.imports.items():
            if of in pages:
                raise ValueError(f"{module.name}: {of} is a page: it is loaded, not imported")
            if missing := [name for name in names if name not in {**modules[of].exports, **modules[of].passed}]:
                raise ValueError(f"{module.name}: {of} does not export {', '.join(missing)}")


def _places(modules: Mapping[str, _Module], pages: Collection[str]) -> dict[str, str]:
    """Return the module of each exported name, or the vendored one. Raises ValueError if two export the same."""
    places: dict[str, str] = {}
    for module in modules.values():
        own = {} if module.name in pages else dict.fromkeys(module.exports, module.name)
        given = {**own, **module.passed}
        if twice := [name for name in given if name in places]:
            raise ValueError(f"{module.name}: {twice[0]} is exported by {places[twice[0]]}, too")
        places |= given
    return places


def _ordered(modules: Mapping[str, _Module], roots: Iterable[str]) -> list[str]:
    """Return modules and all that they import, each after what it imports. Raises ValueError if there is a circle."""
    ordered: dict[str, None] = {}
    begun: set[str] = set()

    def visit(name: str) -> None:
        if name in begun:
            raise ValueError(f"{name}: it imports itself, by way of others")
        begun.add(name)
        for of in sorted(modules[name].imports):
            if of not in ordered:
                visit(of)
        ordered[name] = None

    for root in roots:
        if root in modules and root not in ordered:
            visit(root)
    return [*ordered]


def _names_of_others(
    script: str, modules: Sequence[_Module], places: Mapping[str, str], at: Mapping[str, str]
) -> dict[str, set[str]]:
    """Return the names that a script takes of each other script and vendored module."""
    taken: dict[str, set[str]] = {} if script == SCRIPT else {SCRIPT: {*_OWN}}
    for module in modules:
        for name in (name for names in module.imports.values() for name in names):
            of = at.get(places[name], places[name])
            if of != script:
                taken.setdefault(of, set()).add(name)
    return taken


def _bundle(made: dict[str, bytes], name: str, head: str, modules: Sequence[_Module], pages: Collection[str]) -> None:
    """Add a script of some modules, and its source map."""
    lines: list[tuple[str, int, int]] = []
    for number, module in enumerate(modules):
        given = ",".join(key if key == value else f"{key}:{value}" for key, value in module.exports.items())
        is_page = module.name in pages
        taken = f'$pages["{module.name}"]=' if is_page else f"export let {{{given}}}=" if given else ""
        lines.append((f"{taken}$run(()=>{{", number, 0))
        lines += [(line, number, at) for line, at in module.lines]
        lines.append((f"return{{{given}}}}});\n", number, module.lines[-1][1]))
    script = head + "".join(line for line, _, _ in lines) + f"//# sourceMappingURL={name}.map\n"
    made[name] = script.encode()
    mappings = ";" * head.count("\n") + _mappings(lines)
    sources = [module.name for module in modules]
    made[f"{name}.map"] = orjson.dumps(
        {"version": 3, "file": name, "sources": sources, "names": [], "mappings": mappings}
    )


def _mappings(lines: Sequence[tuple[str, int, int]]) -> str:
    """Return where each line of a source stands, as a source map (ECMA-426) writes it.

    Args:
        lines: What is sent of each line, the number of its source, and its number there.
    """
    written: list[str] = []
    begin = source_before = line_before = column_before = 0
    for text, source, line in lines:
        places = (begin - column_before, source - source_before, line - line_before, 0)
        written.append("".join(map(_vlq, places)))
        begin, column_before, source_before, line_before = begin + len(text), begin, source, line
        if text.endswith("\n"):
            begin = column_before = 0
        written.append(";" if begin == 0 else ",")
    return "".join(written[:-1])


_DIGITS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def _vlq(number: int) -> str:
    left = (abs(number) << 1) | (number < 0)
    digits = ""
    while True:
        left, digit = left >> 5, left & 31
        digits += _DIGITS[digit | (32 if left else 0)]
        if not left:
            return digits
