"""The body of a batch."""

from __future__ import annotations

import msgspec


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/jobs:batch`: submissions, each decoded separately."""

    jobs: list[msgspec.Raw]
