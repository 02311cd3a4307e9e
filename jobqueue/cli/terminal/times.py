"""Ages and instants in words, as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime

from jobqueue.duration import spell


def since(instant: datetime | None, now: datetime | None = None) -> str:
    """Return the time since an instant, by this machine's clock; None: empty."""
    if instant is None:
        return ""
    return spell(((now or datetime.now(UTC)) - instant).total_seconds())


def clock(instant: datetime) -> str:
    """Return an instant as local time, with the date if it is not today's."""
    local = instant.astimezone()
    today = datetime.now().astimezone().date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M:%S}"
