r"""Form in which a browser gets a script: the same program, without what says nothing.

Rules:

1. It is the same program: a test compares the syntax trees of all modules of the console, before and after, by the
   parser of node, and the elements that their templates make, by htm.
2. Only spaces beside the punctuators of `_PUNCTUATORS` go, for no two of them make another token when they stand
   together; and those around `+`, `*` and `-` where names, numbers or parentheses stand on both sides.
3. String literals and regular expression literals stay as they are. A regular expression literal (`/…/`) follows a
   punctuator of `_BEFORE_REGEXP`, or `return`.
4. In a template of `html` (no other has several lines: a law of the console) space with a line break means nothing
   beside a tag, nor do quotes around an attribute of one word. An end tag closes the element that is open, whatever its
   name: it is sent as `</>`.
5. No semicolon or comma stands before what closes. `const` is sent as `let`; a test finds what would assign to it.
6. A line break that may go is written as `JOINED`, so that each token has its line still; a bundle leaves it out.
"""

from __future__ import annotations

import re
from typing import Final

JOINED: Final = "\r"
"""Stands for a line break that separates nothing."""

_PUNCTUATORS: Final = r"=!?:&|,;()\[\]<>"
_BEFORE_REGEXP: Final = r"=!?:&|,;(\[<>{"
"""After these, `/` begins a regular expression literal; after another punctuator it divides."""
_BEFORE_BREAK: Final = ";,:?=&|>{}(["
_AFTER_BREAK: Final = ")]}:?&|."
"""Beside these, no statement ends by a line break alone."""

_TOKEN = re.compile(
    r"""(?P<kept>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|/\*(?s:.*?)\*/"""
    rf"|(?:(?<=[{_BEFORE_REGEXP}])|(?<=[{_BEFORE_REGEXP}] )|(?<=return ))"
    r"/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\[\n])+/)"
    r"|(?P<comment>[ ]*//[^\n]*)"
    r"|(?P<lines>\s*\n\s*)"
    r"|\b(?P<declared>const)(?= )"
    r"|(?P<brace>[ ]*[{}`][ ]*)"
    rf"|(?P<punctuators>[ ]*[{_PUNCTUATORS}]+[ {_PUNCTUATORS}]*)|(?<=[\w)\]])(?P<operator>[ ][+*-][ ])(?=[\w(])"
)
_TEMPLATE = re.compile(r"(?:\\.|[^`\\$]|\$(?!\{))*(?:`|\$\{)", re.DOTALL)
"""The text of a template, up to its end or the next expression in it."""

_END_TAG = re.compile(r"</(?:[a-z]\w*|/|\$\{\w+\})>")
_SPACE_AT_TAG = re.compile(r"(?<=>)\s*\n\s*|\s*\n\s*(?=/?>|<)| (?=/>)")
_QUOTED = re.compile(r'(?<=\s)([\w-]+=)"([\w-]+)"(?=[\s/>])')
_MARKUP: Final = "html"


def short_form(script: str) -> str:
    """Return the same program in fewer characters, with as many lines. Raises ValueError: a template has no end."""
    return _Shortening(_END_TAG.sub("</>", script)).whole()


class _Shortening:
    """A script that is being shortened, from its begin to its end."""

    def __init__(self, script: str) -> None:
        self._script = script
        self._at = 0
        self._kept = [""]
        self._braces = [0]  # open ones in the code, and in the expression of each open template
        self._markup: list[bool] = []  # of each open template: whether it is one of `html`

    def whole(self) -> str:
        while match := _TOKEN.search(self._script, self._at):
            self._kept.append(self._script[self._at : match.start()])
            self._at = match.end()
            if match["brace"]:
                self._brace(match)
            elif match["lines"]:
                self._kept.append(_breaks(match[0], joined=self._may_join()))
            elif match["operator"]:
                self._kept.append(match[0].strip())
            elif match["punctuators"]:
                if match[0].lstrip()[0] in "])":
                    self._drop(",")
                self._kept.append(match[0].replace(" ", ""))
            elif not match["comment"]:
                self._kept.append("let" if match["declared"] else match[0])
        return "".join((*self._kept, self._script[self._at :]))

    def _may_join(self) -> bool:
        before = next((each[-1] for each in reversed(self._kept) if each), "")
        return before in _BEFORE_BREAK or self._script[self._at : self._at + 1] in _AFTER_BREAK

    def _drop(self, mark: str) -> None:
        """Take back a mark, if it is the last character that was kept."""
        last = next(at for at in range(len(self._kept) - 1, -1, -1) if at == 0 or self._kept[at].strip(JOINED))
        self._kept[last] = self._kept[last].removesuffix(mark)

    def _brace(self, match: re.Match[str]) -> None:
        mark = match[0].strip(" ")
        ends = mark == "}" and self._braces[-1] == 0
        if mark == "`" or ends:
            if ends:
                self._braces.pop()
            else:
                self._markup.append(self._script.endswith(_MARKUP, 0, match.start()))
            self._kept.append(mark)
            self._at = match.start() + match[0].index(mark) + 1
            self._text()
        elif mark == "{":
            self._braces[-1] += 1
            self._kept.append(mark)
        else:
            self._braces[-1] -= 1
            self._drop(";")
            self._drop(",")
            self._kept.append(mark)

    def _text(self) -> None:
        """Keep the text of a template, up to its end or the next expression in it."""
        text = _TEMPLATE.match(self._script, self._at)
        if text is None:
            raise ValueError("a template of the script has no end")
        self._at = text.end()
        kept = text[0]
        if self._markup[-1]:
            kept = _SPACE_AT_TAG.sub(lambda space: _breaks(space[0], joined=True), _QUOTED.sub(r"\1\2", kept))
        self._kept.append(kept)
        if kept.endswith("`"):
            self._markup.pop()
        else:
            self._braces.append(0)


def _breaks(space: str, *, joined: bool) -> str:
    """Return the line breaks of a space, as many as there are."""
    return (JOINED if joined else "\n") * space.count("\n")
