"""The scenarios of destruction, a module each, in the order in which they are played."""

from __future__ import annotations

from bench.destructive.scenarios import backlog, bomb, chaos, churn, hammer, hostile, quota, soak, storm

ORDER = {
    module.SCENARIO.name: module.SCENARIO for module in (storm, bomb, hammer, backlog, chaos, churn, quota, hostile)
}
SOAK = soak.NAME
