"""Comparison of shown with printed output, and of expected with actual statuses of curl."""

from __future__ import annotations

import re


def pattern_of(shown: str) -> re.Pattern[str]:
    """Return the pattern of a shown output: `…` matches any text of a line, and alone on a line any lines."""
    parts = []
    for line in shown.strip("\n").split("\n"):
        if line.strip() == "…":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append("[^\n]*".join(re.escape(piece.rstrip()) for piece in line.split("…")) + r"[ \t]*\n")
    return re.compile("".join(parts))


def is_shown(shown: str, printed: str) -> bool:
    """Return whether the shown output matches the printed output completely."""
    lines = printed.replace("\r\n", "\n").strip("\n")
    return pattern_of(shown).fullmatch(f"{lines}\n") is not None


def are_among(shown: str, logged: str) -> bool:
    """Return whether the log contains the shown lines in order."""
    lines = [line for line in shown.strip("\n").split("\n") if line.strip() != "…"]
    left = iter(logged.split("\n"))
    return all(any(is_shown(line, other) for other in left) for line in lines)


def statuses_of(script: str) -> list[int | None]:
    """Return the expected status of each curl in a script; None if its line names none."""
    expected: list[int | None] = []
    for line in re.sub(r"\\\n", " ", script).split("\n"):
        code, comment = _split(line)
        curls = len(re.findall(r"(?<![\w/-])curl\b", code))
        if not curls:
            continue
        status = re.match(r"#\s*([1-5]\d\d|000)\b", comment)
        expected += [*([None] * (curls - 1)), int(status[1]) if status else None]
    return expected


def _split(line: str) -> tuple[str, str]:
    """Split a line of shell into code and comment, as far as quotes are simple."""
    quote = ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (at == 0 or line[at - 1] in " \t"):
            return line[:at], line[at:]
    return line, ""


def wrong_statuses(script: str, answered: list[int]) -> str:
    """Return the differences between the expected and actual statuses of a script; empty if there are none."""
    expected = statuses_of(script)
    if len(expected) != len(answered):  # a loop
        expected = [None] * len(answered)
    wrong = [
        f"curl {number} was answered with {status}, not {want or 'less than 400'}"
        for number, (want, status) in enumerate(zip(expected, answered, strict=True), 1)
        if (not 100 < status < 400 if want is None else status != want)
    ]
    return "; ".join(wrong)
