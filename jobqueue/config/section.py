"""The common form of every group of settings."""

from __future__ import annotations

from msgspec import Struct


class Section(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of settings: it never changes, and takes no other names."""
