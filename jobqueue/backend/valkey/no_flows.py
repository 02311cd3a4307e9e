"""What a store that servers share doesn't have: jobs that depend on each other, or that are accepted all at once."""

from __future__ import annotations

from typing import Any, NoReturn

from jobqueue.errors import NotInStore


async def submit_together(many: Any, links: Any = None, *, flow: Any = None, owner: Any = None) -> NoReturn:
    """As `Backend.submit_together`. Raises NotInStore, always."""
    if flow is not None or links is not None:
        raise no_flows()
    raise NotInStore("jobs can't be accepted all at once where servers share a store: submit each on its own")


async def submit_flow(many: Any, links: Any, *, owner: Any = None) -> NoReturn:
    """As `Backend.submit_flow`. Raises NotInStore, always."""
    raise no_flows()


async def of_flow(flow_id: str, owner: str | None = None, *, cursor: Any = None, limit: Any = None) -> NoReturn:
    """As `Backend.flow`, `Backend.cancel_flow` and `Backend.retry_flow`. Raises NotInStore, always."""
    raise no_flows()


async def flows(state: Any = None, *, owner: Any = None, limit: int, cursor: Any = None) -> NoReturn:
    """As `Backend.flows`. Raises NotInStore, always."""
    raise no_flows()


def no_flows() -> NotInStore:
    """Return the error of each use of flows and parents."""
    return NotInStore("there are no flows, and no jobs with parents, where servers share a store")
