"""The headers of the JavaScript client are those that CORS grants to listed pages."""

from __future__ import annotations

import re

from jobqueue.http.request.origins import EXPOSED, PREFLIGHT
from tests.e2e.processes import ROOT

SOURCE = (ROOT / "clients/js/jobqueue.js").read_text()
SAFELISTED = {"accept", "content-type"}
"""Of those that the client uses; the Fetch standard lets each page read `Content-Type`, and send `Accept`."""

OF_PROXIES = {"date"}
"""Counted from by a Retry-After that is a date, which only proxies send."""


def names(text: str) -> set[str]:
    return {name.strip().lower() for name in text.split(",")}


def test_a_listed_page_can_read_each_header_that_the_client_reads() -> None:
    read = set(re.findall(r'headers\.get\("([a-z-]+)"\)', SOURCE))
    assert len(read) > 6
    assert read - SAFELISTED - OF_PROXIES <= names(EXPOSED)


def test_a_listed_page_can_send_each_header_that_the_client_sends() -> None:
    quoted = set(re.findall(r'"([A-Z][A-Za-z]*(?:-[A-Z][A-Za-z]*)+)":', SOURCE))
    plain = set(re.findall(r"\b(Accept|Authorization|Prefer): ", SOURCE))
    sent = {name.lower() for name in quoted | plain}
    assert {"idempotency-key", "if-none-match", "last-event-id", "authorization", "prefer"} <= sent
    assert sent - SAFELISTED <= names(PREFLIGHT["Access-Control-Allow-Headers"])
    assert "content-type" in names(PREFLIGHT["Access-Control-Allow-Headers"])  # JSON is not safelisted
