"""Comparison of responses in tests with the reference page of the HTTP API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.docs.http_page import ANY_REQUEST, operations

if TYPE_CHECKING:
    from tests.docs.http_page import Operation


def operation_of(method: str, path: str) -> Operation | None:
    """Return the operation on the page for a request; None for an unknown path or method."""
    for operation in operations().values():
        pattern = re.sub(r"\\\{\w+\\\}", "[^/:]+", re.escape(operation.path))
        if operation.method == method and re.fullmatch(pattern, path):
            return operation
    return None


class Answers:
    """Records the undocumented responses of a session.

    Attributes:
        trace: The trace configuration for the session.
        undocumented: The responses that the page does not list for their operation.
    """

    def __init__(self) -> None:
        self.trace = aiohttp.TraceConfig()
        self.trace.on_request_end.append(self._on_request_end)
        self.undocumented: list[str] = []

    async def _on_request_end(self, session: Any, context: Any, params: aiohttp.TraceRequestEndParams) -> None:
        operation = operation_of(params.method, params.url.raw_path)
        known = ANY_REQUEST if operation is None else operation.all_answers
        response = params.response
        status, problem = response.status, ""
        if response.content_type == "application/problem+json" and params.method != "HEAD":
            try:
                problem = (await response.json(content_type=None))["type"].rpartition("/")[2]
            except aiohttp.ClientError:  # the connection was closed
                return
        if (status, problem) not in known and (problem or status not in {status for status, _ in known}):
            self.undocumented.append(f"{params.method} {params.url.raw_path} -> {status} {problem}")
