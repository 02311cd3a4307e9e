"""The routes of the server itself, for its operators. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.http.errors import InvalidRequest, NotServed
from jobqueue.http.resources.server import DrainDocument, ReloadDocument, ServerChange, ServerDocument
from jobqueue.http.route import JSON_TYPE, Answer, Body, Route

SERVER = "/v1/server"

SERVER_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=SERVER,
        name="get_server",
        scope="admin",
        summary="Answers with the server: version, run, load, memory, pools, settings",
        handler=lambda resources: resources.server.look,
        answers=(Answer(200, ServerDocument, JSON_TYPE),),
    ),
    Route(
        method="PATCH",
        path=SERVER,
        name="change_server",
        scope="admin",
        summary="Changes what is given, at once, until the next reload or a restart",
        handler=lambda resources: resources.server.change,
        body=Body(ServerChange),
        answers=(Answer(200, ServerDocument, JSON_TYPE),),
        problems=(NotServed, InvalidRequest),
    ),
    Route(
        method="POST",
        path=f"{SERVER}:reload",
        name="reload_server",
        scope="admin",
        summary="Reads the settings again and applies them, as SIGHUP does",
        handler=lambda resources: resources.server.reload,
        answers=(Answer(200, ReloadDocument, JSON_TYPE),),
        problems=(NotServed, errors.ConfigError, errors.Draining),
    ),
    Route(
        method="POST",
        path=f"{SERVER}:drain",
        name="drain_server",
        scope="admin",
        summary="Begins to stop the server, as SIGTERM does",
        handler=lambda resources: resources.server.drain,
        answers=(Answer(202, DrainDocument, JSON_TYPE),),
        problems=(NotServed,),
    ),
)
