"""Flow lists: a page of the flows that a request sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, TypedDict, get_args

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.api_limits import PAGE_DEFAULT, PAGE_MAX
from jobqueue.backend.base import InvalidCursor
from jobqueue.core.flow import FlowState
from jobqueue.errors import shown
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.auth import GRANT
from jobqueue.http.request.query import limit_of, not_one_of, parameters
from jobqueue.http.response.flow_document import (
    FlowSummaryDocument,  # read from the annotations of FlowsDocument
    summary_document,
)
from jobqueue.http.response.long_response import whole_answer
from jobqueue.http.response.reply import JSON

if TYPE_CHECKING:
    from aiohttp import web

    from jobqueue.service import Service

STATES: tuple[FlowState, ...] = get_args(FlowState)

_encode = msgspec.json.Encoder().encode


class FlowsQuery(msgspec.Struct):
    """The parameters of the query.

    Attributes:
        state: Only flows in this state.
        limit: Flows on a page at most.
        cursor: The `next_cursor` of the page before.
    """

    state: FlowState | UnsetType = UNSET
    limit: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    cursor: str | UnsetType = UNSET


class FlowsDocument(TypedDict):
    """A list of flows.

    Attributes:
        flows: The newest first.
        next_cursor: The `cursor` of the next page; null: this is the last one.
    """

    flows: list[FlowSummaryDocument]
    next_cursor: str | None


class FlowList:
    """The handler of `GET /v1/flows`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list_flows(self, request: web.Request) -> web.StreamResponse:
        """GET /v1/flows: a page of those in a state, or of all."""
        given = parameters(request, FlowsQuery.__struct_fields__)
        limit = limit_of(given.get("limit"), PAGE_DEFAULT, PAGE_MAX)
        state, sees = _state(given.get("state")), request[GRANT].sees
        try:
            page = await self._service.backend.flows(state, owner=sees, limit=limit, cursor=given.get("cursor"))
        except InvalidCursor as error:
            detail = f"cursor is the next_cursor of an earlier page, got {shown(str(error))!r}"
            raise MalformedRequest(detail) from None
        document: FlowsDocument = {
            "flows": [summary_document(flow, self._service) for flow in page.flows],
            "next_cursor": page.cursor,
        }
        return whole_answer(request, _encode(document), JSON)


def _state(text: str | None) -> FlowState | None:
    for state in STATES:
        if text == state:
            return state
    if text is not None:
        raise MalformedRequest(f"state {not_one_of(text, STATES)}")
    return None
