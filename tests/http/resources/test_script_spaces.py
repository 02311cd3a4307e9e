"""Scripts without the spaces that separate nothing: what goes, what stays, and that a program stays the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from jobqueue.http.resources.script_spaces import without_spaces

ROOT = Path(__file__).parents[3]
CONSOLE = ROOT / "jobqueue/http/console"
PARSER = ROOT / "tests/console/js/same_program.cjs"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ("const a = {b: 1, c: [2, 3]}; // a comment", "const a={b:1,c:[2,3]};"),
        ("if (a === b && !c) return (d) => e ?? f;", "if(a===b&&!c)return(d)=>e??f;"),
        ("a = b + c * (d - 1);", "a=b+c*(d-1);"),
        ("a = b + +c - -d; e = f / g;", "a=b + +c - -d;e=f / g;"),
        ('a = "b, c => d" + \'e = "f\';', 'a="b, c => d" + \'e = "f\';'),
        ('a = b.replace(/ , "[/ ]/g, c); d = e ? / = / : 1;', 'a=b.replace(/ , "[/ ]/g,c);d=e?/ = /:1;'),
        ("return / = /.test(a) || (b) / (c) > d;", "return / = /.test(a)||(b)/(c)>d;"),
        ("html`<p>a = b</p> ${c ? d : html`, ${e( f )} ; `} = `;", "html`<p>a = b</p> ${c?d:html`, ${e(f)} ; `} = `;"),
        ("`${{a: `${b}`}.a} : \\` ${ c }`; d = `$ {`;", "`${{a:`${b}`}.a} : \\` ${ c}`;d=`$ {`;"),
        ("/* a = b */ c = d;\ne = f", "/* a = b */ c=d;\ne=f"),
    ],
)
def test_only_spaces_that_separate_nothing_go(script: str, sent: str) -> None:
    assert without_spaces(script) == sent


def test_a_template_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="a template of the script has no end"):
        without_spaces("a = `b ${c}")


def different(pairs: dict[str, tuple[str, str]]) -> list[str]:
    """Return the names of those scripts that have two different syntax trees."""
    command = [str(NODE), "--expose-internals", str(PARSER)]
    ended = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    differ: list[str] = json.loads(ended.stdout)
    return differ


@needs_node
def test_each_module_of_the_console_stays_the_same_program() -> None:
    modules = {path: path.read_text() for path in CONSOLE.rglob("*.js") if "vendor" not in path.parts}
    pairs = {path.name: (source, without_spaces(source)) for path, source in modules.items()}
    assert different(pairs) == []
    assert sum(len(sent) < len(source) for source, sent in pairs.values()) > 100


@needs_node
def test_another_program_is_found() -> None:
    assert different({"same": ("a = 1;", "a=1"), "text": ('a = "b, c";', 'a="b,c"'), "plus": ("a + +b", "a++b")}) == [
        "text",
        "plus",
    ]
