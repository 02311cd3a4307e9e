"""Thresholds of findings. `docs/ops/alerts.yaml` has the same, and a test compares them.

An alert fires once its condition has held for a while; a finding is told at once, with since when.
"""

from __future__ import annotations

QUEUE_FILL = 0.9
"""Share of a queue's capacity above which it is nearly full."""

NOT_DRAINING_S = 300.0
"""Time without a start of a job, while jobs are queued."""

OLDEST_JOB_S = 300.0
PAUSED_LONG_S = 3600.0

FAILURE_RATIO = 0.1
"""Share of attempts that fail, of those that ended within `FAILURE_WINDOW_S`."""

FAILURE_WINDOW_S = 600.0
FAILURE_ATTEMPTS_MIN = 10
"""Fewer attempts say nothing."""

EVICTED_WINDOW_S = 900.0
STORE_FILL = 0.9
SPOOL_FILL = 0.9
SPOOL_ERRORS_WINDOW_S = 600.0

LOOP_LAG_S = 0.1
"""Lateness that a tenth of the beats within `LOOP_LAG_WINDOW_S` exceed."""

LOOP_LAG_QUANTILE = 0.9
LOOP_LAG_WINDOW_S = 300.0
LOOP_BLOCKED_WINDOW_S = 600.0

COMMIT_S = 0.1
"""Duration that a tenth of the journal's commits within `COMMITS_WINDOW_S` exceed."""

COMMIT_QUANTILE = 0.9
COMMITS_WINDOW_S = 300.0
JOURNAL_FILL = 0.9

CALL_S = 0.1
"""Duration that a tenth of the calls of the store within `CALLS_WINDOW_S` exceed."""

CALL_QUANTILE = 0.9
CALLS_WINDOW_S = 300.0
RECONNECTS = 5
RECONNECTS_WINDOW_S = 900.0
"""More connections to the store than `RECONNECTS` within this time are too many."""

RESTARTS = 5
RESTARTS_WINDOW_S = 600.0
"""More replaced processes than `RESTARTS` within this time are a loop."""

STARTED_WINDOW_S = 900.0
"""How long the start of the server is told: what was queued before is lost."""

CONNECTIONS_FILL = 0.9
LONG_POLLS_FILL = 0.9
MEMORY_FILL = 0.9
LOG_DROPPED_WINDOW_S = 300.0

WEBHOOK_FAILURES = 2
"""Attempts in a row that may fail."""

WEBHOOK_DROPPED_WINDOW_S = 900.0

REJECTIONS_WINDOW_S = 60.0
ERRORS_WINDOW_S = 600.0
"""Of answers with the status 500."""
