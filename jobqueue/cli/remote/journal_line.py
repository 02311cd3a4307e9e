"""The journal of a server in one line, for `jobqueue status` and `jobqueue top`."""

from __future__ import annotations

from typing import Any


def of(journal: dict[str, Any]) -> str:
    """Return the line of the document `journal` of `GET /v1/server`."""
    head = f"journal {journal.get('state')}"
    if reason := journal.get("reason"):
        head = f"{head}: {reason}"
    facts = [f"sync {journal.get('sync')}"]
    used, most = journal.get("bytes"), journal.get("bytes_max")
    if isinstance(used, int) and isinstance(most, int):
        facts.append(f"{used / 2**20:,.0f} of {most / 2**20:,.0f} MiB")
    median_s, worst_s = journal.get("commit_s_p50"), journal.get("commit_s_max")
    if isinstance(median_s, int | float) and isinstance(worst_s, int | float):
        facts.append(f"commits {median_s * 1000:,.1f} ms, {worst_s * 1000:,.1f} ms at worst")
    recovered = journal.get("recovered")
    if isinstance(recovered, dict) and (total := sum(recovered.values())):
        facts.append(f"{total:,} jobs restored")
    return f"{head}; {', '.join(facts)}"
