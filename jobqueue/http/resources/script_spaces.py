r"""Spaces of scripts: a browser gets none that separates nothing, and no comments at the ends of lines.

Rules:

1. What stays is the same program, token by token, with each token in its line. A test compares the syntax trees of all
   modules of the console, before and after, by the parser of node.
2. Only spaces beside the punctuators of `_PUNCTUATORS` go, for no two of them make another token when they stand
   together; and those around `+`, `*` and `-` where names, numbers or parentheses stand on both sides.
3. String literals, templates and regular expression literals stay as they are. A regular expression literal (`/…/`)
   follows a punctuator of `_BEFORE_REGEXP`, or `return`.
"""

from __future__ import annotations

import re
from typing import Final

_PUNCTUATORS: Final = r"=!?:&|,;()\[\]<>"
_BEFORE_REGEXP: Final = r"=!?:&|,;(\[<>{"
"""After these, `/` begins a regular expression literal; after another punctuator it divides."""

_TOKEN = re.compile(
    r"""(?P<kept>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|/\*(?s:.*?)\*/"""
    rf"|(?:(?<=[{_BEFORE_REGEXP}])|(?<=[{_BEFORE_REGEXP}] )|(?<=return ))"
    r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/)"
    r"|(?P<comment>[ ]*//[^\n]*)"
    r"|(?P<brace>[ ]*[{}`][ ]*)"
    rf"|[ ]*[{_PUNCTUATORS}]+[ {_PUNCTUATORS}]*|(?<=[\w)\]])[ ][+*-][ ](?=[\w(])"
)
_TEMPLATE = re.compile(r"(?:\\.|[^`\\$]|\$(?!\{))*(?:`|\$\{)", re.DOTALL)
"""The text of a template, up to its end or the next expression in it."""


def without_spaces(script: str) -> str:
    """Return a script without the spaces that separate nothing."""
    kept: list[str] = []
    braces = [0]  # open ones in the code, and in the expression of each open template
    at = 0
    while match := _TOKEN.search(script, at):
        kept.append(script[at : match.start()])
        at = match.end()
        if match["kept"]:
            kept.append(match[0])
        elif match["brace"]:
            mark = match[0].strip(" ")
            kept.append(mark)
            ends = mark == "}" and braces[-1] == 0
            if mark == "`" or ends:
                at = match.start() + match[0].index(mark) + 1
                at = _template(script, at, kept, braces, ends=ends)
            else:
                braces[-1] += 1 if mark == "{" else -1
        elif not match["comment"]:
            kept.append(match[0].replace(" ", ""))
    return "".join((*kept, script[at:]))


def _template(script: str, at: int, kept: list[str], braces: list[int], *, ends: bool) -> int:
    """Keep the text of a template; return where the code goes on. Args: ends: Whether an expression in it ends here."""
    if ends:
        braces.pop()
    text = _TEMPLATE.match(script, at)
    if text is None:
        raise ValueError("a template of the script has no end")
    kept.append(text[0])
    if text[0].endswith("${"):
        braces.append(0)
    return text.end()
