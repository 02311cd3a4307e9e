"""Bundles of the console: what becomes of imports and exports, what is refused, and where a line comes from."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.http.resources.console_bundles import ENTRY, SCRIPT, SCRIPTS, bundles_of
from jobqueue.http.resources.console_files import console_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NODE = shutil.which("node")
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

SOURCES = {
    "main.js": """\
/**
 * The entry.
 */

import {html} from "./ui.js";
import {
  add,
  count,
} from "./data/number.js";
import {Thing} from "./data/thing.js";

/* of lines of its own */
const PAGES = {first: () => import("./pages/overview.js"), other: () => import("./pages/other.js")};
const icon = new URL("./x.svg", import.meta.url).pathname.split("/").at(-1);
globalThis.seen.push(["main", html, add(2, count), new Thing().name, icon]);
for (const load of Object.values(PAGES)) await_(load());
function await_(promise) {
  promise.then(({default: page, title}) => globalThis.seen.push([title, page()]));
}
""",
    "ui.js": '/** Views. */\nexport {\n  html,\n  make,\n} from "./vendor/view.js";\n',
    "vendor/view.js": 'export const html = "html";\nexport const make = "m";\n',
    "data/number.js": """\
export const count = 40;
export function add(one, other) {
  return one + other;
}
export async function later() {}
export function* each() {
  yield 1; /* stays */
}
""",
    "data/thing.js": """\
export class Thing {
  name = "a thing";
}
globalThis.seen.push(["thing"]);
""",
    "pages/overview.js": """\
import {make} from "../ui.js";
export const title = "Overview";
export default function Page() {
  // a comment
  return `${make} /* no comment: a text */`.length; // stays
}
""",
    "pages/other.js": """\
import {each} from "../data/number.js";
import {Thing} from "../data/thing.js";
export const title = "Other";
export default function Page() {
  return [...each(), Thing.name];
}
""",
}


def changed(name: str, before: str, after: str) -> dict[str, bytes]:
    """Return the sources with a change in one of them."""
    assert before in SOURCES[name]
    return encoded({**SOURCES, name: SOURCES[name].replace(before, after)})


def encoded(sources: dict[str, str]) -> dict[str, bytes]:
    return {name: source.encode() for name, source in sources.items()}


@pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")
def test_bundles_and_modules_behave_alike(tmp_path: Path) -> None:
    assert seen(tmp_path / "modules", encoded(SOURCES), ENTRY) == seen(
        tmp_path / "bundles", {**encoded(SOURCES), **bundles_of(encoded(SOURCES))}, SCRIPT
    )


def seen(folder: Path, files: dict[str, bytes], entry: str) -> list[Any]:
    """Run files in node; return what they noted, which is the same for all."""
    noted = noted_by(folder, files, entry)
    assert noted == [
        ["thing"],
        ["main", "html", 42, "a thing", "x.svg"],
        ["Overview", 26],
        ["Other", [1, "Thing"]],
    ]
    return noted


def noted_by(folder: Path, files: dict[str, bytes], entry: str) -> list[Any]:
    """Run files in node; return what they noted."""
    for name, content in {**files, "package.json": b'{"type": "module"}'}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    script = f"globalThis.seen = []; await import('./{entry}');" + (
        "await new Promise(done => setTimeout(done, 50)); console.log(JSON.stringify(globalThis.seen));"
    )
    command = [str(NODE), "--input-type=module", "-e", script]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 0, ended.stderr
    noted: list[Any] = json.loads(ended.stdout)
    return noted


@pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")
def test_a_module_that_throws_spares_the_others_of_its_bundle(tmp_path: Path) -> None:
    broken = encoded({**SOURCES, "pages/other.js": f"throw new Error('broken');\n{SOURCES['pages/other.js']}"})
    broken["main.js"] += b"globalThis.reportError = ({message}) => globalThis.seen.push([message]);\n"
    broken["main.js"] = broken["main.js"].replace(b"promise.then(", b"promise.catch(({message}) => [message]).then(")
    broken["main.js"] = broken["main.js"].replace(
        b"({default: page, title}) => ", b"({default: page, title, 0: why}) => why ? globalThis.seen.push([why]) : "
    )
    noted = noted_by(tmp_path, {**broken, **bundles_of(broken)}, SCRIPT)
    assert noted[2:] == [["Overview", 26], ["broken"], ["pages/other.js"]]


def test_each_module_is_in_one_script() -> None:
    made = bundles_of(encoded(SOURCES))
    found = {
        name: [script for script in SCRIPTS if name in json.loads(made[f"{script}.map"])["sources"]] for name in SOURCES
    }
    assert found == {
        "main.js": [SCRIPT],
        "pages/overview.js": [SCRIPT],
        "data/number.js": [SCRIPT],
        "data/thing.js": [SCRIPT],
        "pages/other.js": ["tools.js"],
        "ui.js": [],
        "vendor/view.js": [],
    }


def test_a_name_that_only_tests_import_is_no_name_of_a_script() -> None:
    script = bundles_of(encoded(SOURCES))[SCRIPT].decode()
    assert "export let {count,add,each}=" in script
    assert "later}" not in script


@pytest.mark.parametrize(
    ("name", "before", "after", "said"),
    [
        ("main.js", "import {Thing}", "import * as Thing", "main.js: 1 of its imports and exports"),
        ("main.js", "import {Thing}", "import Thing", "main.js: 1 of its"),
        ("main.js", "import {Thing}", "import {Thing as Other}", "does not export Thing as Other"),
        ("data/number.js", "export const count = 40", "export let count = 40", "data/number.js: 1 of its"),
        ("data/number.js", "export const count", "export default 7;\nexport const count", "data/number.js: 1 of its"),
        ("data/thing.js", "export class", 'export * from "./number.js";\nexport class', "data/thing.js: 1 of its"),
        ("data/thing.js", "export class", "const a = 1;\nexport {a};\nexport class", "data/thing.js: 1 of its"),
        ("data/thing.js", "export class", 'export {add} from "./number.js";\nexport class', "data/thing.js: 1 of its"),
        (
            "data/thing.js",
            "export class",
            "export const count = 1;\nexport class",
            "count is exported by data/number.js, too",
        ),
        ("data/thing.js", "export class", "export default class", "only a page exports a default"),
        ("pages/other.js", "import {each}", "import {each, none}", "data/number.js does not export none"),
        ("pages/other.js", "../data/thing.js", "../data/things.js", "there is no module data/things.js"),
        ("pages/other.js", "../data/thing.js", "./overview.js", "pages/overview.js is a page: it is loaded"),
        ("main.js", "./pages/other.js", "./pages/others.js", "there is no module pages/others.js"),
        ("data/number.js", "export const", 'import {add} from "./number.js";\nexport const', "imports itself"),
    ],
)
def test_a_form_that_a_bundle_does_not_know_is_refused(name: str, before: str, after: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        bundles_of(changed(name, before, after))


def places(mappings: str) -> Iterator[list[tuple[int, int, int]]]:
    """Yield the places in each line, as a source map says: where it begins, the source, and the line there."""
    source = line = 0
    for written in mappings.split(";"):
        found, begin = [], 0
        for place in written.split(",") if written else ():
            column, to_source, to_line, to_column = numbers(place)
            assert to_column == 0
            begin, source, line = begin + column, source + to_source, line + to_line
            found.append((begin, source, line))
        yield found


def numbers(written: str) -> Iterator[int]:
    value = shift = 0
    for digit in map(DIGITS.index, written):
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            yield -(value >> 1) if value & 1 else value >> 1
            value = shift = 0


def bare(line: str) -> str:
    """Return a line without what a short form changes."""
    words = re.sub(r"</[^>]*>|\b(?:const|let)\b", "", line)
    return re.sub(r"[;,](?=[\]})]|$)", "", re.sub(r'[ "]', "", words))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_source_map_leads_to_the_line_of_the_module(name: str) -> None:
    files = console_files().by_name
    lines = files[name].body.decode().split("\n")
    source_map = json.loads(files[f"{name}.map"].body)
    assert lines[-2] == f"//# sourceMappingURL={name}.map"
    sources = [files[each].body.decode().split("\n") for each in source_map["sources"]]
    same = seen = 0
    for line, found in zip(lines, places(source_map["mappings"]), strict=False):
        ends = [*(begin for begin, _, _ in found), len(line)][1:]
        for (begin, source, number), end in zip(found, ends, strict=True):
            sent, seen = line[begin:end], seen + 1
            if "$run(()=>{" in sent or sent.startswith("return{"):
                continue
            original = re.sub(r"^export (default )?| // .*", "", sources[source][number].strip())
            assert bare(sent) == bare(original) or "$load(" in sent or "$at(" in sent or 'import("./vendor/' in sent
            same += 1
    assert same > 0.8 * seen > 1000
