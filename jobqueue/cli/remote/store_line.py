"""The store of a server in one line, for `jobqueue status` and `jobqueue top`."""

from __future__ import annotations

from typing import Any

from jobqueue.cli.remote import journal_line


def of(store: dict[str, Any]) -> str:
    """Return the line of the document `store` of `GET /v1/server`."""
    head = f"store {'ok' if store.get('up') else 'down'}"
    if reason := store.get("reason"):
        head = f"{head}: {reason}"
    facts = [str(store[name]) for name in ("product", "address") if store.get(name)]
    servers = store.get("servers")
    if isinstance(servers, int):
        facts.append(f"{servers:,} {'server shares' if servers == 1 else 'servers share'} it")
    if isinstance(missing := store.get("missing"), list) and missing:
        facts.append(f"{len(missing):,} missing")
    if durability := store.get("durability"):
        facts.append(f"durability {durability}")
    if isinstance(median_s := store.get("call_s_p50"), int | float):
        facts.append(f"calls {median_s * 1000:,.1f} ms")
    return f"{head}; {', '.join(facts)}"


def of_server(server: dict[str, Any]) -> str | None:
    """Return the line of what keeps a server's jobs, a store or a journal; None: nothing does."""
    if isinstance(store := server.get("store"), dict):
        return of(store)
    journal = server.get("journal")
    return journal_line.of(journal) if isinstance(journal, dict) else None
