"""The tables: the runs' figures as Markdown, which reads well on a terminal too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.overload.clients import PRIORITIES, RetryBehaviour
from bench.overload.figures import times

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from bench.overload.figures import Figures
    from bench.overload.returns import ReturnFigures

CLOSE_UP = 2.0
"""The load that the tables of clients and groups show, unless another is named."""

NOTHING = "-"


def report(runs: Sequence[Figures], returns: Sequence[ReturnFigures], *, close_up: float = CLOSE_UP) -> str:
    """Return all tables, each under its title."""
    parts = []
    for behaviour in RetryBehaviour:
        those = [run for run in runs if run.behaviour is behaviour]
        close = [run for run in those if run.load == close_up]
        parts += [f"Goodput, and share of dead work, by load; {behaviour} clients", overview(those)]
        parts += [f"Latency and outcomes of clients at {times(close_up)}; {behaviour}", clients_table(close)]
        parts += [f"Served in time and refused, by priority and group, at {times(close_up)}; {behaviour}"]
        parts += [groups_table(close)]
    if returns:
        parts += ["Retry-After: 1,000 obedient clients with a demand of twice the capacity", returns_table(returns)]
    return "\n\n".join(parts)


def short_report(runs: Sequence[Figures], *, close_up: float = CLOSE_UP) -> str:
    """Return the two tables to choose by, for each kind of client."""
    parts = []
    for behaviour in RetryBehaviour:
        those = [run for run in runs if run.behaviour is behaviour]
        close = [run for run in those if run.load == close_up]
        if len({run.load for run in those}) > 1:
            parts += [f"Goodput, and share of dead work, by load; {behaviour} clients", overview(those)]
        parts += [f"Latency and outcomes of clients at {times(close_up)}; {behaviour}", clients_table(close)]
    return "\n\n".join(parts)


def overview(runs: Sequence[Figures]) -> str:
    """Return a line for each policy, a column for each load: goodput and dead work, in per cent."""
    loads = sorted({run.load for run in runs})
    cells = {(run.policy, run.load): f"{_percent(run.goodput)}, {_percent(run.dead)}" for run in runs}
    head = ["policy", *(times(load) for load in loads)]
    return table(head, ([policy, *(cells[policy, load] for load in loads)] for policy in _policies(runs)))


def clients_table(runs: Sequence[Figures]) -> str:
    """Return a line for each policy: time to a start and to an answer, and the clients' outcomes."""
    head = [
        "policy",
        "goodput",
        "start after, s",
        "answer after, s",
        "served",
        "unserved",
        "never accepted",
        "tries",
    ]
    return table(
        head,
        (
            [
                run.policy,
                _percent(run.goodput),
                _seconds(run.wait_s),
                _seconds(run.answer_s),
                _percent(run.served),
                _percent(run.unserved),
                _percent(run.never_accepted),
                f"{run.tries:.1f}",
            ]
            for run in runs
        ),
    )


def groups_table(runs: Sequence[Figures]) -> str:
    """Return a line for each policy: clients served by priority and group, and rejected by priority."""
    levels = sorted(PRIORITIES, reverse=True)
    head = ["policy", *(f"served: {level}" for level in levels), "mice", "elephant"]
    head += [f"refused: {level}" for level in levels]
    return table(
        head,
        (
            [
                run.policy,
                *(_percent(run.served_by_priority[level]) for level in levels),
                _percent(run.served_mice),
                _percent(run.served_elephant),
                *(_percent(run.refused_by_priority[level]) for level in levels),
            ]
            for run in runs
        ),
    )


def returns_table(returns: Sequence[ReturnFigures]) -> str:
    """Return a line for each scene."""
    head = ["arrivals", "refused", "accepted on first return", "most returns", "Retry-After, s"]
    head += ["peak to mean", "Poisson", "in 0.1 s", "busy"]
    return table(
        head,
        (
            [
                scene.scene,
                _percent(scene.refused),
                _percent(scene.first_return),
                str(scene.returns_max),
                _seconds(scene.retry_after_s),
                _number(scene.peak_to_mean),
                _number(scene.peak_to_mean_poisson),
                _number(scene.peak_to_mean_tenth),
                _percent(scene.busy),
            ]
            for scene in returns
        ),
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table, its columns aligned; all but the first to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]
    rule = [("-" * width) if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join(_lines([lines[0], rule, *lines[1:]], widths))


def _lines(lines: Iterable[Sequence[str]], widths: Sequence[int]) -> Iterator[str]:
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
        yield f"| {' | '.join(cells)} |"


def _policies(runs: Sequence[Figures]) -> list[str]:
    return list(dict.fromkeys(run.policy for run in runs))


def _percent(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.0f} %"


def _seconds(quantiles: dict[str, float | None]) -> str:
    return " / ".join(_number(value) for value in quantiles.values())


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}"
