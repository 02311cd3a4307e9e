"""The body of a batch, in three forms."""

from __future__ import annotations

import msgspec

from jobqueue.handlers import PlainSubmission, Submission


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    """The body of `POST /v1/jobs:batch`: submissions, each decoded separately."""

    jobs: list[msgspec.Raw]


class ValidBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The same where each submission is valid, decoded in one go."""

    jobs: list[Submission]


class PlainBatch(msgspec.Struct, forbid_unknown_fields=True):
    """The same where each submission is valid and plain."""

    jobs: list[PlainSubmission]
