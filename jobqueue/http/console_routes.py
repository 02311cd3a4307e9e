"""The routes of the web console: its page and files, sessions, and what it has changed. Part of the table in `routes`.

`console.path` in the settings may put those below `/console` elsewhere (`placed`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from jobqueue.http.errors import PathNotFound
from jobqueue.http.resources.console import CONSOLE
from jobqueue.http.resources.console_actions import ActionsDocument
from jobqueue.http.resources.console_session import SESSION, SessionDocument
from jobqueue.http.response.html import HTML_TYPE
from jobqueue.http.route import ANY_TYPE, JSON_TYPE, Answer, Route

if TYPE_CHECKING:
    from jobqueue.config import ConsoleSettings

PAGE = "get_console_page"
"""The row of the page."""

FILE_HEADERS = ("ETag", "Content-Encoding")
FILE = (
    Answer(200, media_type=ANY_TYPE, headers=FILE_HEADERS, when="The file"),
    Answer(304, headers=("ETag",), when="The tag still holds"),
)

CONSOLE_ROUTES: tuple[Route, ...] = (
    Route(
        method="GET",
        path=CONSOLE,
        name="get_console",
        scope=None,
        summary="Redirects to the page of the console",
        handler=lambda resources: resources.console.redirect,
        answers=(Answer(308, headers=("Location",), when="The place of the page"),),
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=f"{CONSOLE}/",
        name=PAGE,
        scope=None,
        summary="Answers with the page of the console",
        handler=lambda resources: resources.console.page,
        headers=("If-None-Match",),
        answers=(
            Answer(200, media_type=HTML_TYPE, headers=FILE_HEADERS, when="The page"),
            Answer(304, headers=("ETag",), when="The tag still holds"),
        ),
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=f"{CONSOLE}/{{version}}/{{file}}",
        name="get_console_file",
        scope=None,
        summary="Answers with a file of the console",
        handler=lambda resources: resources.console.file,
        headers=("If-None-Match",),
        answers=FILE,
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=f"{CONSOLE}/{{version}}/{{folder}}/{{file}}",
        name="get_console_file_in_folder",
        scope=None,
        summary="Answers with a file of the console that stands in a folder",
        handler=lambda resources: resources.console.file,
        headers=("If-None-Match",),
        answers=FILE,
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path=f"{CONSOLE}{SESSION}",
        name="get_console_session",
        scope=None,
        summary="Tells what the viewer of the console may do",
        handler=lambda resources: resources.console_session.look,
        answers=(Answer(200, SessionDocument, JSON_TYPE, when="The session"),),
        problems=(PathNotFound,),
    ),
    Route(
        method="POST",
        path=f"{CONSOLE}{SESSION}",
        name="sign_in",
        scope="read",
        summary="Begins a session of the console with the key of the Authorization",
        handler=lambda resources: resources.console_session.begin,
        answers=(Answer(204, headers=("Set-Cookie",), when="The cookie stands for the key"),),
        problems=(PathNotFound,),
    ),
    Route(
        method="DELETE",
        path=f"{CONSOLE}{SESSION}",
        name="sign_out",
        scope=None,
        summary="Ends the session of the cookie, if there is one",
        handler=lambda resources: resources.console_session.end,
        answers=(Answer(204, headers=("Set-Cookie",), when="There is no session any more"),),
        problems=(PathNotFound,),
    ),
    Route(
        method="GET",
        path="/v1/server/actions",
        name="list_console_actions",
        scope="admin",
        summary="Answers with the latest changes that the console asked for",
        handler=lambda resources: resources.console_actions.all,
        answers=(Answer(200, ActionsDocument, JSON_TYPE),),
    ),
)


def is_of_console(row: Route) -> bool:
    """Whether a row's path is the console's, or below it."""
    return f"{row.path}/".startswith(f"{CONSOLE}/")


def placed(row: Route, settings: ConsoleSettings) -> Route:
    """Return a row with the path that the settings give it."""
    if not is_of_console(row):
        return row
    return msgspec.structs.replace(row, path=settings.path + row.path.removeprefix(CONSOLE))
