"""Rules of findings about the receivers of webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.duration import spell
from jobqueue.findings import thresholds as at
from jobqueue.findings.finding import Finding
from jobqueue.findings.words import counted, text

if TYPE_CHECKING:
    from jobqueue.findings.sight import Sight
    from jobqueue.runtime.webhook_target import TargetFigures


def disabled(sight: Sight, target: TargetFigures) -> Finding | None:
    """A receiver gets nothing any more."""
    if target.disabled is None:
        return None
    return Finding(
        kind="webhook_disabled",
        severity="warning",
        sentence=f"Webhook {target.name} is disabled: its events are dropped.",
        cause=text(target.disabled),
        remedy="Remove it from webhooks.endpoints; or mend the receiver, change its settings, and reload.",
        about="webhook",
        name=target.name,
    )


def failing(sight: Sight, target: TargetFigures) -> Finding | None:
    """The attempts of a receiver fail."""
    if target.disabled is not None or target.failures_in_a_row <= at.WEBHOOK_FAILURES:
        return None
    return Finding(
        kind="webhook_failing",
        severity="warning",
        sentence=(
            f"The last {target.failures_in_a_row:,} attempts of webhook {target.name} have failed; "
            f"{target.pending:,} of its deliveries are live."
        ),
        cause=text(target.last_error or "No reason is known."),
        remedy="Mend the receiver: deliveries are tried again for hours. Retry those that have failed for good.",
        about="webhook",
        name=target.name,
        since=target.failing_since,
    )


def dropped(sight: Sight, target: TargetFigures) -> Finding | None:
    """Events of a receiver are dropped."""
    count = sight.webhooks_dropped.get(target.name, 0)
    if target.disabled is not None or count <= 0:
        return None
    return Finding(
        kind="webhook_dropped",
        severity="warning",
        sentence=(
            f"{counted(count, 'event')} for webhook {target.name} were dropped in the last "
            f"{spell(at.WEBHOOK_DROPPED_WINDOW_S)}: nothing sends them later."
        ),
        cause="It has pending_max live deliveries, or the queue of deliveries is full; webhook.dropped says which.",
        remedy="Mend the receiver, or raise its pending_max; queues.webhooks.capacity bounds all receivers together.",
        about="webhook",
        name=target.name,
    )


RULES = (disabled, failing, dropped)
