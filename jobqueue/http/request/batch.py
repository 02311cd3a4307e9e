"""The body of a batch, in three forms."""

from __future__ import annotations

import msgspec

from jobqueue.handlers import PlainSubmission, Submission


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """Submissions, each accepted or rejected on its own.

    Each is decoded separately.

    Attributes:
        jobs: The submissions, without files.
    """

    jobs: list[msgspec.Raw]


class ValidBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The same where each submission is valid, decoded in one go."""

    jobs: list[Submission]


class PlainBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The same where each submission is valid and plain."""

    jobs: list[PlainSubmission]
