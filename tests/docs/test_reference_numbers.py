"""Numbers in the reference that are constants of the code."""

from __future__ import annotations

import pytest

from jobqueue import api_limits, context
from jobqueue.client import protocol, waiting
from jobqueue.core import attempts, ids, policy, report
from jobqueue.core.scheduling import eta, retry_after
from jobqueue.errors import FAULTS_MAX
from jobqueue.handlers import submission
from jobqueue.http.request import json_body, multipart
from jobqueue.http.resources import events
from jobqueue.http.response import long_response, problems, responses
from jobqueue.http.streams import waiters
from jobqueue.http.transport import malformed, rejected
from jobqueue.runtime import progress, spool
from jobqueue.runtime.pools import log_relay, stderr
from tests.docs.tables import page

KIB = 1024


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("http.md", f"at most {api_limits.BATCH_MAX:,} submissions"),
        ("http.md", f"Depth at most {json_body.DEPTH_MAX}"),
        ("http.md", f"1 to {api_limits.IDS_MAX} ids"),
        ("http.md", f"1 to {api_limits.PAGE_MAX}, default {api_limits.PAGE_DEFAULT}"),
        ("http.md", f"ends after {long_response.WHOLE_BYTES_MAX // KIB} KiB"),
        ("http.md", f"1 to {api_limits.KEY_LENGTH_MAX} printable ASCII characters"),
        ("http.md", f"more than {responses.SMALL_BODY_BYTES // KIB} KiB of a body unread"),
        ("http.md", f"{multipart.HEADERS_BYTES_MAX // KIB} KiB of headers"),
        ("http.md", f"at most {1 / progress.INTERVAL_S:.0f} a second"),
        ("http.md", f"integer, 1 to {submission.ATTEMPTS_MAX}"),
        ("http.md", f"at most {policy.DURATION_S_MAX // 86400} days"),
        ("http.md", f"{events.ALL_MAX} such streams"),
        ("job.md", f"{ids.ID_LENGTH} characters"),
        ("job.md", f"{eta.POLL_AFTER_S_MIN * 1000:.0f} to {eta.POLL_AFTER_S_MAX * 1000:.0f}"),
        ("job.md", f"at most {context.NOTE_LENGTH_MAX} characters"),
        ("job.md", f"at most {report.MESSAGE_LENGTH_MAX:,} characters"),
        ("job.md", f"the latest {attempts.HISTORY_MAX} failed attempts"),
        ("job.md", f"the last {attempts.TRACEBACK_LENGTH_MAX:,} characters"),
        ("problems.md", f"at most {problems.DETAIL_LENGTH_MAX:,} characters"),
        ("problems.md", f"at most {FAULTS_MAX + 1}"),
        ("problems.md", f"more than {json_body.DEPTH_MAX} levels"),
        ("problems.md", f"more than {malformed.HEADERS_MAX} headers"),
        ("problems.md", f"(1 s to {retry_after.RETRY_AFTER_S_MAX / 60:.0f} min)"),
        ("problems.md", f"`retry_after_s` ({spool.RETRY_AFTER_S:.0f} s); make room"),
        ("problems.md", f"`retry_after_s` ({waiters.NO_PLACE_RETRY_AFTER_S:.0f} s)"),
        ("events.md", f"more than {stderr.LINES_MAX} lines in a second"),
        (
            "events.md",
            f"more than {log_relay.RECORDS_PER_S:.0f} records a second (after {log_relay.RECORDS_BURST:,} at",
        ),
        ("events.md", f"of which {spool.STRANGE_TOLD_MAX} are named"),
        ("handlers.md", f"cut after {context.NOTE_LENGTH_MAX} characters"),
        ("handlers.md", f"integer, 1 to {submission.ATTEMPTS_MAX}"),
        ("client.md", f"at most {waiting.WAIT_S_MAX} s in one request"),
        ("client.md", {0.2: "up to a fifth more"}[protocol.JITTER]),
    ],
)
def test_a_page_has_the_number_of_the_code(name: str, text: str) -> None:
    assert text in page(name).replace("\n", " ")


def test_the_page_has_the_retry_after_of_a_connection_over_the_limit() -> None:
    assert rejected.TOO_MANY.headers["Retry-After"] == "1"
    assert "keep fewer connections; repeat after `retry_after_s` (1 s)" in page("problems.md")
