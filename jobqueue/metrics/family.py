"""A family: one metric's samples of one scrape, as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.histogram import BOUNDS_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobqueue.core.job import JobId
    from jobqueue.metrics.catalogue import Spec

Example = tuple["JobId", float]
"""A job, and its duration in seconds: an exemplar of OpenMetrics."""

_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_LES: Final = (*(f'le="{bound_s!r}"' for bound_s in BOUNDS_S), 'le="+Inf"')


def labelled(*pairs: tuple[str, str]) -> str:
    """Return labels as they are written, without braces."""
    return ",".join([f'{name}="{value.translate(_ESCAPED)}"' for name, value in pairs])


def number(value: float) -> str:
    """Return a value as it is written."""
    if isinstance(value, int):
        return str(value)
    text = repr(float(value))
    return {"inf": "+Inf", "-inf": "-Inf", "nan": "NaN"}.get(text, text)


class Family:
    """The samples of one metric. Labels are given as `labelled` returns them."""

    __slots__ = ("lines", "spec")

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.lines: list[str] = []

    def add(self, value: float, labels: str = "") -> None:
        name = self.spec.name
        self.lines.append(f"{name}{{{labels}}} {number(value)}\n" if labels else f"{name} {number(value)}\n")

    def add_histogram(
        self, counts: Sequence[int], sum_s: float, labels: str = "", examples: Sequence[Example | None] = ()
    ) -> None:
        """Add a histogram.

        Args:
            counts: Number of values in each bucket alone.
            examples: One for each bucket, or none at all.
        """
        name, total = self.spec.name, 0
        start = f"{name}_bucket{{{labels}," if labels else f"{name}_bucket{{"
        lines = self.lines
        for bucket, count in enumerate(counts):
            total += count
            line = f"{start}{_LES[bucket]}}} {total}"
            example = examples[bucket] if examples else None
            lines.append(f"{line}\n" if example is None else f'{line} # {{job_id="{example[0]}"}} {example[1]!r}\n')
        of = f"{{{labels}}}" if labels else ""
        lines.append(f"{name}_sum{of} {number(sum_s)}\n")
        lines.append(f"{name}_count{of} {total}\n")

    def text(self, *, openmetrics: bool) -> str:
        """Return the family as it is written: its help, its kind and its samples; empty, if it has none."""
        if not self.lines:
            return ""
        spec = self.spec
        name = spec.name.removesuffix("_total") if openmetrics and spec.kind == "counter" else spec.name
        return f"# HELP {name} {spec.help}\n# TYPE {name} {spec.kind}\n{''.join(self.lines)}"
