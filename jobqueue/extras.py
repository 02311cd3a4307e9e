"""Extras: what a package without its optional requirements says when one of them is imported. A leaf.

`pip install ephemeral-jobqueue` is the blocking client alone; an extra adds the rest (`pyproject.toml`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Extra = Literal["async", "cli", "prometheus", "reload", "server", "valkey"]

DISTRIBUTION = "ephemeral-jobqueue"
_MODULES: dict[Extra, frozenset[str]] = {
    "async": frozenset({"aiohttp", "yarl"}),
    "cli": frozenset({"rich", "shtab"}),
    "prometheus": frozenset({"prometheus_client"}),
    "reload": frozenset({"watchfiles"}),
    "server": frozenset({"aiohttp", "cronsim", "orjson", "psutil", "yaml"}),
    "valkey": frozenset({"redis", "hiredis"}),
}
"""The modules of each extra, by their import names. Not uvloop: the server does without it."""


class MissingExtra(ModuleNotFoundError):
    """A module of an extra is not installed; the message says which extra has it."""


@contextmanager
def extra(name: Extra, needed_by: str) -> Iterator[None]:
    """Within it, let an import that fails for want of an extra say which one to install.

    Args:
        needed_by: Begins the message.

    Raises:
        MissingExtra: A module of the extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _MODULES[name]:
            raise
        text = f"{needed_by} needs {missing}, which is not installed: pip install '{DISTRIBUTION}[{name}]'"
        raise MissingExtra(text, name=error.name) from None
