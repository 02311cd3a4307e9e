"""Questions, as the server asks them."""

from __future__ import annotations

from typing import Any

import msgspec

from jobqueue.core.policy import QueuePolicy
from jobqueue.what_if.documents import AlternativeDocument, ForecastCellDocument, ForecastDocument
from jobqueue.what_if.forecast import Forecast
from jobqueue.what_if.question import Given, Question
from jobqueue.what_if.trial import Clients
from jobqueue.what_if.visits import Returns

PRESENT = QueuePolicy(workers=10, capacity=200, patience_s=10.0)


def question(present: QueuePolicy = PRESENT, **more: Any) -> Question:
    """Return a question about a queue at four fifths of its capacity, unless it says otherwise."""
    clients = {"patience_s": present.patience_s, "returns": Returns.OBEDIENT, **more.pop("clients", {})}
    asked: dict[str, Any] = {
        "queue": "default",
        "present": present,
        "policies": [],
        "pools": {},
        "workers_max": None,
        "loads": [1.0],
        "seconds": None,
        "seed": 1,
        "recorded": None,
        "given": Given(8.0, 1.0),
        "time_s": 60.0,
    }
    return Question(**(asked | more), clients=Clients(**clients))


def answer(asked: Question, clock: Any = lambda: 0.0) -> ForecastDocument:
    """Return the forecast, after the question has been to another process and back."""
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(asked), type=Question)
    return msgspec.json.decode(msgspec.json.encode(Forecast(carried, clock).answer()), type=ForecastDocument)


def cell_of(alternative: AlternativeDocument, load: int = 0) -> ForecastCellDocument:
    """Return what became of one setting, under one of the loads."""
    cell = alternative.cells[load]
    assert cell is not None
    return cell
