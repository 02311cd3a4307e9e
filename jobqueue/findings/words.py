"""Numbers in the sentences of findings."""

from __future__ import annotations

from math import floor


def percent(share: float) -> str:
    """Return a share, never rounded up to all: `93 %`, `99 %`, `100 %`, `0.4 %`."""
    if 0.0 < share < 0.01:
        return f"{share:.1%}".replace("%", " %")
    return f"{floor(share * 100 + 1e-9)} %"


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 job`, `1,200 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def per_s(rate: float) -> str:
    """Return a rate: `38/s`, `0.2/s`; of less than one in a minute, per hour."""
    if rate >= 9.95:
        return f"{rate:,.0f}/s"
    if rate >= 0.0995:
        return f"{rate:.1f}/s"
    if rate >= 1 / 60:
        return f"{rate * 60:.0f}/min"
    return f"{rate * 3600:.0f}/h"


def size(count_bytes: int) -> str:
    """Return a size in the unit that suits it: `512 KiB`, `1.5 GiB`."""
    left = float(count_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if left < 1024 or unit == "GiB":
            break
        left /= 1024
    return f"{left:,.0f} {unit}" if left >= 10 or unit == "bytes" else f"{left:.1f} {unit}"


def text(given: str, length_max: int = 200) -> str:
    """Return a text of a handler or a file for a sentence: one printable line of bounded length."""
    short = given if len(given) <= length_max else f"{given[: length_max - 1]}…"
    return short if short.isprintable() else repr(short)[1:-1]
