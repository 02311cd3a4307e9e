"""Record sizes: the bytes of a record beside its arguments, result and history.

Estimates, rather too high than too low: content of a client's choice is counted exactly, objects around it as measured
in CPython 3.11. A plain record counts 0: `jobs_max` bounds the number of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from jobqueue.core.report import text_bytes

if TYPE_CHECKING:
    from jobqueue.core.job import JobSpec, Uniqueness
    from jobqueue.core.lineage import Lineage, Link
    from jobqueue.core.stored_file import Upload

EXTRAS_BYTES: Final = 96
"""The `Extras` that keep the size."""

SPEC_BYTES: Final = 350
"""A spec that no other record shares, with its numbers."""

TTL_BYTES: Final = 700
"""An expiry bucket for records of a TTL that no other record has, and its deadline."""

NAME_BYTES: Final = 300
"""A key or a unique value: its text object, its `Uniqueness`, and the index entry."""

FILE_BYTES: Final = 400
"""A file of an upload, with its entry: the objects, and the path in the spool."""


TRACEPARENT_BYTES: Final = 110
"""The text of a traceparent."""


SCHEDULED_BYTES: Final = 80
"""A schedule's name with an instant, the text left aside."""

PARENT_BYTES: Final = 100
"""One parent of a job: the text of its id, its place among the parents, and that among its children."""

LINEAGE_BYTES: Final = 400
"""The lineage of a job beside its parents: its own object, its entry in a flow, and what it waits for."""


def held_bytes(
    spec: JobSpec, upload: Upload | None, uniqueness: Uniqueness | None, lineage: Lineage | None = None
) -> int:
    """Return the size of a record of this submission beside its arguments."""
    if lineage is not None:
        return lineage_bytes(lineage) + (held_bytes(spec, upload, uniqueness) or EXTRAS_BYTES)
    if upload is None and not spec.own:  # as most
        if uniqueness is None or uniqueness.plain:
            return 0
        key = uniqueness.key
        if uniqueness.unique is None and key is not None:
            return EXTRAS_BYTES + key_bytes(key.key)
    size = _spec_bytes(spec) + _upload_bytes(upload)
    if uniqueness is not None and not uniqueness.plain:
        if uniqueness.unique is not None:
            size += NAME_BYTES + text_bytes(uniqueness.unique.value)
        if uniqueness.key is not None:
            size += key_bytes(uniqueness.key.key)
    return size + EXTRAS_BYTES if size else 0


def key_bytes(key: str) -> int:
    """Return the size of an idempotency key."""
    return NAME_BYTES + text_bytes(key)


def lineage_bytes(lineage: Lineage) -> int:
    """Return the size of a job's lineage."""
    return LINEAGE_BYTES + PARENT_BYTES * len(lineage.parents) + text_bytes(lineage.name or "")


def link_bytes(link: Link | None) -> int:
    """Return the size of the lineage that a submission asks for, at most; without a link it only names the flow."""
    if link is None:
        return LINEAGE_BYTES
    return LINEAGE_BYTES + PARENT_BYTES * (len(link.parents) + len(link.beside)) + text_bytes(link.name or "")


def _spec_bytes(spec: JobSpec) -> int:
    if not spec.own:
        return 0
    size = SPEC_BYTES + text_bytes(spec.group or "")
    if spec.traceparent is not None:
        size += TRACEPARENT_BYTES
    if spec.callback is not None:
        size += text_bytes(spec.callback)
    if spec.scheduled is not None:
        size += SCHEDULED_BYTES + text_bytes(spec.scheduled[0])
    return size if spec.ttl_s is None else size + TTL_BYTES


def _upload_bytes(upload: Upload | None) -> int:
    if upload is None:
        return 0
    size = FILE_BYTES
    for name, files in upload.files.items():
        size += text_bytes(name)
        for file in files:
            size += FILE_BYTES + text_bytes(file.media_type) + text_bytes(file.filename)
    return size
