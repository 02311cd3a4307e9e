"""The corpus of each parser: inputs that once were interesting, a Python literal in each line."""

from __future__ import annotations

import ast
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def corpus_of(target: str) -> list[bytes]:
    """Return the inputs of a target."""
    lines = (FOLDER / f"{target}.txt").read_text(encoding="ascii").splitlines()
    return [ast.literal_eval(line) for line in lines]


def keep(target: str, data: bytes) -> None:
    """Add an input to the corpus of a target."""
    with (FOLDER / f"{target}.txt").open("a", encoding="ascii") as file:
        file.write(f"{data!r}\n")
