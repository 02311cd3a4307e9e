"""Short form of scripts: what goes, what stays, and that a program and its elements stay the same."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from jobqueue.http.resources.script_form import JOINED, short_form

ROOT = Path(__file__).parents[3]
CONSOLE = ROOT / "jobqueue/http/console"
PARSER = ROOT / "tests/console/js/same_program.cjs"
MARKUP = CONSOLE / "vendor/htm-preact.js"
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        ("const a = {b: 1, c: [2, 3]}; // a comment", "let a={b:1,c:[2,3]};"),
        ("{ a(); const b = () => { c(); }; }\n", f"{{a();let b=()=>{{c()}}}}{JOINED}"),
        ("html`${a ? `;}` : { b }};}`;", "html`${a?`;}`:{b}};}`;"),
        ("if (a === b && !c) return (d) => e ?? f;", "if(a===b&&!c)return(d)=>e??f;"),
        ("a = b + c * (d - 1);", "a=b+c*(d-1);"),
        ("a = b + +c - -d; e = f / g;", "a=b + +c - -d;e=f / g;"),
        ('a = "b, c => d" + \'e = "f\';', 'a="b, c => d" + \'e = "f\';'),
        ('a = b.replace(/ , "[/ ]/g, c); d = e ? / = / : 1;', 'a=b.replace(/ , "[/ ]/g,c);d=e?/ = /:1;'),
        ("return / = /.test(a) || (b) / (c) > d;", "return / = /.test(a)||(b)/(c)>d;"),
        ("html`<p>a = b</p> ${c ? d : html`, ${e( f )} ; `} = `;", "html`<p>a = b</> ${c?d:html`, ${e(f)} ; `} = `;"),
        ("f([a, b,\n],\n); ({a,});", f"f([a,b{JOINED}]{JOINED});({{a}});"),
        ('html`<p id="a" class="b c" title=${"d"} />`;', 'html`<p id=a class="b c" title=${"d"}/>`;'),
        ('`a b="c" />`;', '`a b="c" />`;'),
        ("html`<${A}><i>b</i><//>${c}</${A}>`;", "html`<${A}><i>b</></>${c}</>`;"),
        ("`${{a: `${b}`}.a} : \\` ${ c }`; d = `$ {`;", "`${{a:`${b}`}.a} : \\` ${ c}`;d=`$ {`;"),
        ("/* a = b */ c = d;\ne = f\ng = h", f"/* a = b */ c=d;{JOINED}e=f\ng=h"),
        ("a(\n  b,\n\n  c\n);\nd\n  .e();\n", f"a({JOINED}b,{JOINED * 2}c{JOINED});{JOINED}d{JOINED}.e();{JOINED}"),
        ("{a++\nb\n++c // d\n}", f"{{a++\nb\n++c{JOINED}}}"),
        (
            "html`\n  <p\n    id=a\n  >\n    b,\n    c\n  </p>`",
            f"html`{JOINED}<p\n    id=a{JOINED}>{JOINED}b,\n    c{JOINED}</>`",
        ),
    ],
)
def test_a_short_form_lacks_spaces_and_marks_that_say_nothing(script: str, sent: str) -> None:
    assert short_form(script) == sent


def test_a_template_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="a template of the script has no end"):
        short_form("a = `b ${c}")


def different(pairs: dict[str, tuple[str, str]]) -> list[str]:
    """Return the names of those scripts that have two different syntax trees, or make different elements."""
    command = [str(NODE), "--no-warnings", "--expose-internals", str(PARSER), str(MARKUP)]
    ended = subprocess.run(command, input=json.dumps(pairs), capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    differ: list[str] = json.loads(ended.stdout)
    return differ


@needs_node
def test_each_module_of_the_console_stays_the_same_program() -> None:
    modules = {path: path.read_text() for path in CONSOLE.rglob("*.js") if "vendor" not in path.parts}
    sent = {path: short_form(source) for path, source in modules.items()}
    assert all(
        sent[path].count("\n") + sent[path].count(JOINED) == source.count("\n") for path, source in modules.items()
    )
    pairs = {path.name: (source, sent[path].replace(JOINED, "")) for path, source in modules.items()}
    assert different(pairs) == []
    assert sum(len(sent) < len(source) for source, sent in pairs.values()) > 100


@needs_node
def test_another_program_is_found() -> None:
    pairs = {
        "same": ("a = 1;", "a=1"),
        "text": ('a = "b, c";', 'a="b,c"'),
        "plus": ("a + +b", "a++b"),
        "statements": ("a\nb", "a b"),
        "end": ("html`<p>a</p>`", "html`<p>a</>`"),
        "break": ("html`<p>\n  a,\n  b</p>`", "html`<p>a,b</p>`"),
        "attribute": ("html`<p a\n  b />`", "html`<p ab />`"),
        "expression": ("html`<p>${a => b}</p>`", "html`<p>${a => c}</p>`"),
    }
    assert different(pairs) == ["text", "plus", "statements", "break", "attribute", "expression"]
