"""Masks what differs between the messages of one error, and names the group of such failures.

Rules:

1. Quoted texts, numbers, ids, UUIDs and digests become `#`; dates, times, addresses and lists of numbers one `#`.
   `utf8` keeps its letters: `utf#`.
2. A masked message has at most `MASKED_LENGTH_MAX` characters. Masked again, it stays as it is.
3. Each character is looked at a bounded number of times, whatever a message is made of.
4. A group is named by a digest of type, code and masked message: the same one in each run and on each server.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

MASKED_LENGTH_MAX: Final = 200

READ_LENGTH_MAX: Final = 400
"""Characters of a message that are read: enough for those that are kept, which masks mostly shorten."""

ID_LENGTH: Final = 16
ID_FORM: Final = rf"^[0-9a-f]{{{ID_LENGTH}}}$"

LONG: Final = 16
"""Characters from which on a word with a digit is masked whole."""

_SPACE = re.compile(r"\s+")
_MARKS: Final = "\"'`“”\u2018\u2019«»"
_PAIRS: Final = ('""', "''", "``", "“”", "\u2018\u2019", "«»")
# A quotation mark after or before a word, as in "can't", is none. Masks count as words: they stand for some. Between
# two marks there is no third one, so that a text that was masked has no quotation that was none before.
_QUOTED: Final = "|".join(f"{pair[0]}[^{_MARKS}]*{pair[1]}" for pair in _PAIRS)
_VARIABLE = re.compile(rf"(?<![\w#…])(?:{_QUOTED})(?![\w#…])|[^\W_](?:[\w-]*\w)?")
_WORD = re.compile(r"[^\W_]+")
_NUMBERED = re.compile(r"[^\W\d_]+(?=\d+\Z)")
_HEX = re.compile(r"[0-9a-fA-F]{6,}\Z")
_MASKS = re.compile(r"#(?:(?:[-+.:/_]|,\ ?)?\#)+")


def masked(message: str) -> str:
    """Return a message with what differs between those of one error masked."""
    read = _SPACE.sub(" ", message[:READ_LENGTH_MAX].strip())
    text = _MASKS.sub("#", _VARIABLE.sub(_mask, read))
    return text if len(text) <= MASKED_LENGTH_MAX else text[: MASKED_LENGTH_MAX - 1] + "…"


def cost_of(message: str) -> int:
    """Return the units of work that masking a message takes, of about 1 µs; up to 4, if it is made for that."""
    return min(len(message), READ_LENGTH_MAX) // 8


def _mask(found: re.Match[str]) -> str:
    text = found[0]
    if text[0] in _MARKS:
        return f"{text[0]}#{text[-1]}"
    if not any(map(str.isdecimal, text)):
        return text
    return "#" if len(text) >= LONG else _WORD.sub(_mask_word, text)


def _mask_word(found: re.Match[str]) -> str:
    word = found[0]
    if not any(map(str.isdecimal, word)):
        return word
    letters = _NUMBERED.match(word)
    return "#" if letters is None or _HEX.match(word) else f"{letters[0]}#"


@lru_cache(maxsize=512)
def failure_id(job_type: str, code: str, message: str) -> str:
    """Return the id of the group of a failure.

    Args:
        message: Of the error, as it is.
    """
    return id_of(job_type, code, masked(message))


def id_of(job_type: str, code: str, masked_message: str) -> str:
    """Return the id of a group."""
    text = "\0".join((job_type, code, masked_message))
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=ID_LENGTH // 2).hexdigest()
