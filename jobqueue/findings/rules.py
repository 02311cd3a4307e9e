"""The derivation: all rules over one sight, in steps of bounded work.

Rules:

1. A rule is a function of the sight, and of the queue, the type or the like that it is about. It asks nothing else,
   and keeps nothing.
2. The worst findings come first, then the oldest. At most `FINDINGS_MAX` are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.findings import (
    journal_rules,
    queue_rules,
    schedule_rules,
    server_rules,
    shared_store_rules,
    store_rules,
    type_rules,
    webhook_rules,
)
from jobqueue.findings.finding import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobqueue.findings.finding import Finding
    from jobqueue.findings.sight import Sight

FINDINGS_MAX = 200

STEP_TYPES = 50
"""Types of one step; so many troubles of schedules, and receivers of webhooks, too."""


def derive(sight: Sight) -> Iterator[list[Finding]]:
    """Yield what is wrong, in steps: the server, each queue, some types, schedules and receivers of webhooks."""
    yield [*_of_server(sight)]
    for queue in sight.queues:
        found = [rule(sight, queue) for rule in queue_rules.RULES]
        yield [*(each for each in found if each is not None), *queue_rules.rejections(sight, queue)]
    quarantined = sight.snapshot.queues[0].quarantined if sight.snapshot.queues else []
    for start in range(0, len(quarantined), STEP_TYPES):
        yield [type_rules.quarantined(sight, each) for each in quarantined[start : start + STEP_TYPES]]
    for start in range(0, len(sight.types), STEP_TYPES):
        ratios = [type_rules.failure_ratio(sight, each) for each in sight.types[start : start + STEP_TYPES]]
        yield [each for each in ratios if each is not None]
    troubles = sight.snapshot.schedules.troubles
    for start in range(0, len(troubles), STEP_TYPES):
        yield [schedule_rules.OF_KINDS[each.kind](sight, each) for each in troubles[start : start + STEP_TYPES]]
    webhooks = sight.snapshot.webhooks
    for start in range(0, len(webhooks), STEP_TYPES):
        told = (rule(sight, each) for each in webhooks[start : start + STEP_TYPES] for rule in webhook_rules.RULES)
        yield [each for each in told if each is not None]


def _of_server(sight: Sight) -> Iterator[Finding]:
    for rule in (*store_rules.RULES, *server_rules.RULES):
        if (finding := rule(sight)) is not None:
            yield finding
    if sight.snapshot.journal is not None:
        for of_journal in journal_rules.RULES:
            if (finding := of_journal(sight, sight.snapshot.journal)) is not None:
                yield finding
    if sight.snapshot.shared_store is not None:
        for of_store in shared_store_rules.RULES:
            if (finding := of_store(sight, sight.snapshot.shared_store)) is not None:
                yield finding
    for several in server_rules.MANY:
        yield from several(sight)
    if sight.process is not None:
        for of_process in server_rules.OF_PROCESS:
            if (finding := of_process(sight, sight.process)) is not None:
                yield finding


def ordered(findings: list[Finding]) -> list[Finding]:
    """Return findings with since when, the worst and then the oldest first."""
    return sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), each.since or 0.0, each.kind))
