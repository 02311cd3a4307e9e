"""The common form of every group of settings, and units of their bounds."""

from __future__ import annotations

from msgspec import Struct

KIB, MIB, GIB, TIB = 2**10, 2**20, 2**30, 2**40
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S
MONTH_S = 30 * DAY_S


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings: it never changes, and takes no other names."""
