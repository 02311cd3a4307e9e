"""What an image of the journal has otherwise than the engine: nothing, at any time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobqueue.core.job import DELAYED, QUEUED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.backend.journal.image import Image
    from jobqueue.core.engine import Engine
    from jobqueue.core.ids import IdIssuer
    from jobqueue.core.job import Job
    from jobqueue.core.policy import QueuePolicy

HALF_MS = 0.0006
"""Instants are recorded in milliseconds."""

SAME = (
    *("spec", "args", "upload", "created_at", "run_at", "attempt", "start_by_at", "started_at", "finished_at"),
    *("result", "file", "uniqueness", "attempts_before", "error", "history", "stopping"),
    "lineage",
)


def differences(
    image: Image, engine: Engine, ids: IdIssuer, *, now: float, configured: Mapping[str, QueuePolicy]
) -> Iterator[str]:
    """Yield what differs."""
    held = {job.id: job for job in engine.newest_first(None)}
    if image.jobs.keys() != held.keys():
        yield f"the journal has {sorted(image.jobs.keys() - held.keys())} too many, lacks {held.keys() - image.jobs}"
        return
    for job_id, job in image.jobs.items():
        yield from of_job(job, held[job_id], now)
    yield from _of_keys(image, engine)
    if image.values() != engine.uniqueness_index._by_value:
        yield f"unique values {image.values()} are {engine.uniqueness_index._by_value}"
    for name, queue_state in engine.queue_states.items():
        if not near(image.pauses.get(name), queue_state.pause):
            yield f"the pause of {name} {image.pauses.get(name)} is {queue_state.pause}"
        policy, _ = image.policies.get(name, (configured[name], None))
        if policy != queue_state.policy:
            yield f"the settings of {name} {policy} are {queue_state.policy}"
    flows = {flow.id: (flow.caller, flow.owner, flow.evicted, flow.versions) for flow in engine.flows.all()}
    if flows != {flow_id: image.flows[flow_id][1:] for flow_id in flows if flow_id in image.flows}:
        yield f"flows {image.flows} are {flows}"
    if image.position > ids.position or any(job_id >= ids.position for job_id in held):
        yield f"the position {image.position} is beyond {ids.position}"
    if image.has_owners != ids.has_owners:
        yield f"ids have owners: {ids.has_owners}"


def _of_keys(image: Image, engine: Engine) -> Iterator[str]:
    index = engine.uniqueness_index
    keys = {
        (job.caller, job.uniqueness.key.key): (job.id, job.uniqueness.key.fingerprint)
        for job in image.jobs.values()
        if job.uniqueness is not None and job.uniqueness.key is not None
    }
    for job_id, names in image.shared.items():
        keys |= {name: (job_id, fingerprint) for name, fingerprint in names.items()}
    if keys != index._by_key:
        yield f"keys {keys} are {index._by_key}"
    shared = {job_id: list(names) for job_id, names in image.shared.items()}
    if shared != {job_id: list(names) for job_id, names in index._shared.items()}:
        yield f"shared keys {shared} are {index._shared}"


def of_job(job: Job, held: Job, now: float) -> Iterator[str]:
    """Yield what a job has otherwise than the engine's."""
    for field in SAME:
        if not near(getattr(job, field), getattr(held, field)):
            yield f"{field} of {job} is not that of {held}"
    if held.progress is None and held.state is job.state:
        same = job.version == held.version
    elif held.state is not job.state:  # it was queued in time, which isn't recorded
        queued = (job.state, held.state) == (DELAYED, QUEUED) and job.run_at <= now + HALF_MS
        same = queued and held.version - 1 <= job.version <= held.version
    else:
        same = job.version <= held.version
    if not same:
        yield f"{job} is not {held}"


def near(one: Any, other: Any) -> bool:
    """Whether two values are equal but for half a millisecond of their instants."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < HALF_MS
    # Compiled, a record is no struct.
    fields = getattr(one, "__struct_fields__", None) or getattr(one, "__mypyc_attrs__", None)
    if fields is not None:
        return type(one) is type(other) and all(near(getattr(one, each), getattr(other, each)) for each in fields)
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(near, one, other))
    return bool(one == other)
