"""Events of types and queues in streams: quarantines and pauses, which are events of no job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from jobqueue.core.events import Paused, Quarantined, Released, Resumed
from jobqueue.errors import shown
from jobqueue.http.response.timestamps import timestamp

if TYPE_CHECKING:
    from jobqueue.service import Service

REASON_LENGTH_MAX = 200

SteeringEvent = Quarantined | Released | Paused | Resumed

STEERING = (Quarantined, Released, Paused, Resumed)


def steering_data(event: SteeringEvent, service: Service, at: float) -> bytes:
    """Return the data of an event, as it is sent. Args: at: Its instant, in Unix seconds."""
    told = timestamp(at)
    return orjson.dumps(
        _queue_data(event, told, service) if isinstance(event, Paused | Resumed) else _type_data(event, told, service)
    )


def _type_data(event: Quarantined | Released, at: str, service: Service) -> dict[str, Any]:
    data: dict[str, Any] = {"type": event.type, "at": at}
    if isinstance(event, Quarantined):
        data |= {"until": timestamp(service.wall(event.until)), "reason": shown(event.reason, REASON_LENGTH_MAX)}
    return data


def _queue_data(event: Paused | Resumed, at: str, service: Service) -> dict[str, Any]:
    if isinstance(event, Resumed):
        return {"queue": event.queue, "at": at, "by": event.by}
    pause = event.pause
    until = None if pause.until is None else timestamp(service.wall(pause.until))
    return {"queue": event.queue, "at": at, "by": pause.by, "until": until, "reason": pause.reason}
