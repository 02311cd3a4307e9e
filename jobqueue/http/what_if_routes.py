"""The route of simulations. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.http.errors import (
    InvalidRequest,
    NotMeasuredYet,
    QueueNotFound,
    SimulatorInUse,
    TooManyLongPolls,
)
from jobqueue.http.resources.what_if import SimulationRequest
from jobqueue.http.route import JSON_TYPE, Answer, Body, Route
from jobqueue.what_if.documents import ForecastDocument

WHAT_IF_ROUTES: tuple[Route, ...] = (
    Route(
        method="POST",
        path="/v1/queues/{name}:simulate",
        name="simulate_queue",
        scope="operate",
        summary="Simulates the queue on its measured arrivals and run times, under other settings and loads",
        handler=lambda resources: resources.what_if.simulate,
        body=Body(SimulationRequest),
        answers=(Answer(200, ForecastDocument, JSON_TYPE, when="The forecast, after some seconds"),),
        problems=(
            QueueNotFound,
            NotMeasuredYet,
            InvalidRequest,
            SimulatorInUse,
            TooManyLongPolls,
            errors.Overloaded,
            errors.Draining,
        ),
    ),
)
