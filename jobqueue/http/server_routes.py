"""The routes of the server itself, for its operators. Part of the table in `routes`."""

from __future__ import annotations

from jobqueue import errors
from jobqueue.http.errors import InvalidRequest, NotServed
from jobqueue.http.resources.findings import FindingsDocument
from jobqueue.http.resources.server import DrainDocument, ReloadDocument, ServerChange, ServerDocument
from jobqueue.http.resources.server_log import LogQuery, ServerLogDocument
from jobqueue.http.resources.server_settings import ServerSettingsDocument
from jobqueue.http.resources.webhooks import WebhooksDocument
from jobqueue.http.route import JSON_TYPE, Answer, Body, Route

SERVER = "/v1/server"

FINDINGS = "/v1/findings"

SERVER_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=FINDINGS,
        name="list_findings",
        scope="read",
        summary="Answers with what is wrong now, as sentences with cause and remedy",
        handler=lambda resources: resources.findings.look,
        answers=(Answer(200, FindingsDocument, JSON_TYPE),),
    ),
    Route(
        method="GET",
        path="/v1/webhooks",
        name="list_webhooks",
        scope="read",
        summary="Answers with the receivers of webhooks: state, counts, latest attempt",
        handler=lambda resources: resources.webhooks.all,
        answers=(Answer(200, WebhooksDocument, JSON_TYPE),),
    ),
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
        method="GET",
        path=f"{SERVER}/log",
        name="get_server_log",
        scope="admin",
        summary="Answers with the latest lines of the log, newest first",
        handler=lambda resources: resources.server_log.look,
        query=LogQuery,
        answers=(Answer(200, ServerLogDocument, JSON_TYPE),),
        problems=(NotServed,),
    ),
    Route(
        method="GET",
        path=f"{SERVER}/settings",
        name="get_server_settings",
        scope="admin",
        summary="Answers with the settings in effect, each with its source",
        handler=lambda resources: resources.server_settings.look,
        answers=(Answer(200, ServerSettingsDocument, JSON_TYPE),),
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
