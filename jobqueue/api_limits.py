"""Bounds of the HTTP API that no setting changes: the server rejects beyond them, its clients stay within."""

from __future__ import annotations

BATCH_MAX = 1000
"""Submissions in one `POST /v1/jobs:batch`."""

FLOW_GRAPH_MAX = 1000
"""Jobs in one `POST /v1/flows`."""

IDS_MAX = 100
"""Job ids in one `GET /v1/jobs?ids=`."""

KEY_LENGTH_MAX = 255
"""Characters of an idempotency key."""

PAGE_DEFAULT = 50
"""Jobs, or flows, on a page of their lists, unless a request asks for another number."""

PAGE_MAX = 100
"""Jobs, or flows, on a page of their lists."""

PARENTS_MAX = 10_000
"""Parents of one job."""

SCHEDULES_MAX = 10_000
"""Schedules of a queue, whatever defines them."""

SCHEDULES_OF_CALLER_MAX = 1000
"""Schedules that one caller may put."""

SAMPLE_MAX = 20
"""Ids in the answer to a dry run of an action on many jobs."""
