"""Figures of a shared store, as tests show them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue import service as service_module
from jobqueue.backend.store import MissingServer, StoreFigures, StoreServer
from jobqueue.core.histogram import BUCKETS

if TYPE_CHECKING:
    import pytest

FIGURES = StoreFigures(
    product="Valkey 9.1.0",
    address="valkey://store:6379/0",
    namespace="jobs",
    up=True,
    since=900.0,
    reason=None,
    servers=3,
    durability="async",
    call_s_p50=0.0004,
    calls={"submit": 7, "lease": 5},
    call_counts=(9, 2, 1, *[0] * (BUCKETS - 3)),
    call_sum_s=0.02,
    errors={"timeout": 0, "connection": 2},
    reconnects_total=1,
    copy_age_s=0.25,
    members=(StoreServer(name="box-7:12", joined_at=890.0, own=True),),
)

LOST = MissingServer(name="box-8:13", heard_at=895.0, jobs=4)


def figures(**changed: Any) -> StoreFigures:
    return msgspec.structs.replace(FIGURES, **changed)


def give_store(monkeypatch: pytest.MonkeyPatch, of: StoreFigures) -> None:
    """Let services have these figures."""
    monkeypatch.setattr(service_module, "figures_of", lambda backend: of)
