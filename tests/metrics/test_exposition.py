"""The text of the metrics, read by the parsers of prometheus_client."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from jobqueue import JobQueue, Reject
from jobqueue.config import QueueSettings, Settings
from jobqueue.core.histogram import BOUNDS_S
from jobqueue.metrics import QueueCollector
from jobqueue.metrics.catalogue import CATALOGUE
from jobqueue.metrics.exposition import OPENMETRICS, TEXT, Exposition, media_type_for
from jobqueue.metrics.family import labelled
from jobqueue.testing import virtual_time
from tests import store_figures
from tests.journal_figures import FIGURES, figures, give_journal
from tests.store_figures import give_store

if TYPE_CHECKING:
    from prometheus_client import Metric

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

SERVER_ONLY = re.compile(r"jobqueue_(http_|loop_|log_|config_)")
OF_JOURNAL, OF_STORE, OF_WEBHOOKS = "jobqueue_journal_", "jobqueue_store_", "jobqueue_webhook_"


def queue_of_two() -> JobQueue:
    queue = JobQueue(Settings(queues={"default": QueueSettings(), "other": QueueSettings(capacity=5)}))

    @queue.on("greeting")
    async def greet() -> None:
        """Return at once."""

    @queue.handler
    async def fail() -> None:
        raise Reject("no")

    @queue.handler(queue="other")
    async def count() -> None:
        """Return at once."""

    return queue


def text_of(queue: JobQueue, media_type: str = TEXT, *, with_examples: bool = False) -> str:
    return Exposition(queue.service).write_now(media_type, with_examples=with_examples).decode() + "\n"


def families(queue: JobQueue) -> list[Metric]:
    return list(parse_text(text_of(queue)))


def samples(queue: JobQueue) -> Samples:
    return {
        (each.name, frozenset(each.labels.items())): each.value for family in families(queue) for each in family.samples
    }


def named(start: str) -> set[str]:
    """Return the names of the families that begin so."""
    return {spec.name.removesuffix("_total") for spec in CATALOGUE if spec.name.startswith(start)}


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def run(jobs: JobQueue, job_type: str, **options: str) -> str:
    handle = await jobs.submit(job_type, **options)  # type: ignore[arg-type]  # any option
    await handle.wait()
    return handle.id


@virtual_time
async def test_both_forms_have_the_same_samples() -> None:
    queue = queue_of_two()
    async with queue:
        await run(queue, "greet")
        text = {
            (each.name, frozenset(each.labels.items())): each.value
            for family in parse_text(text_of(queue))
            if not family.name.startswith(("process_", "python_"))
            for each in family.samples
        }
        openmetrics = {
            (each.name, frozenset(each.labels.items())): each.value
            for family in parse_openmetrics(text_of(queue, OPENMETRICS, with_examples=True))
            if not family.name.startswith(("process_", "python_"))
            for each in family.samples
        }
    assert text == openmetrics
    assert len(text) > 100


@virtual_time
async def test_counts_are_exported_as_zero_before_the_first_event() -> None:
    queue = queue_of_two()
    async with queue:
        found = samples(queue)
    assert value(found, "jobqueue_jobs_submitted_total", queue="default", type="greet") == 0
    assert value(found, "jobqueue_jobs_ended_total", queue="other", type="count", state="expired") == 0
    assert value(found, "jobqueue_attempts_total", type="fail", outcome="lost") == 0
    assert value(found, "jobqueue_jobs_refused_total", queue="other", reason="queue-full") == 0
    assert value(found, "jobqueue_jobs_deduplicated_total", type="greet", by="key") == 0
    assert value(found, "jobqueue_type_quarantined", type="greet") == 0
    assert value(found, "jobqueue_job_run_seconds_count", type="greet", outcome="succeeded") == 0
    assert ("jobqueue_jobs_submitted_total", frozenset({("queue", "other"), ("type", "greet")})) not in found


@virtual_time
async def test_jobs_are_counted_by_queue_type_state_and_outcome() -> None:
    queue = queue_of_two()
    async with queue:
        await run(queue, "greet")
        await run(queue, "greet", queue="other")
        await run(queue, "fail")
        found = samples(queue)
    assert value(found, "jobqueue_jobs_ended_total", queue="other", type="greet", state="succeeded") == 1
    assert value(found, "jobqueue_jobs_ended_total", queue="default", type="fail", state="failed") == 1
    assert value(found, "jobqueue_attempts_total", type="greet", outcome="succeeded") == 2, "of all queues"
    assert value(found, "jobqueue_attempts_total", type="fail", outcome="failed") == 1
    assert value(found, "jobqueue_job_run_seconds_count", type="greet", outcome="succeeded") == 2
    assert value(found, "jobqueue_job_wait_seconds_count", queue="default") == 2
    assert value(found, "jobqueue_records", state="terminal") == 3


@virtual_time
async def test_a_histogram_is_cumulative_and_has_every_bound() -> None:
    queue = queue_of_two()
    async with queue:
        await run(queue, "greet")
        (waits,) = [family for family in families(queue) if family.name == "jobqueue_job_wait_seconds"]
    buckets = [each for each in waits.samples if each.name.endswith("_bucket") and each.labels["queue"] == "default"]
    assert [float(each.labels["le"]) for each in buckets] == [*BOUNDS_S, float("inf")]
    assert [each.value for each in buckets] == [1] * len(buckets)


@virtual_time
async def test_the_example_of_a_bucket_is_a_job_that_is_still_held() -> None:
    queue = queue_of_two()
    async with queue:
        job_id = await run(queue, "greet")
        with_it = text_of(queue, OPENMETRICS, with_examples=True)
        assert f'# {{job_id="{job_id}"}} 0.0' in with_it
        assert "job_id" not in text_of(queue, OPENMETRICS)
        assert "job_id" not in text_of(queue, TEXT, with_examples=True)
        await queue.service.backend.delete(job_id)
        assert "job_id" not in text_of(queue, OPENMETRICS, with_examples=True)


@virtual_time
async def test_no_label_has_an_id_a_caller_or_a_group() -> None:
    queue = queue_of_two()
    async with queue:
        await run(queue, "greet", group="group-of-a-client")
        assert "group-of-a-client" not in text_of(queue)
    assert {label for spec in CATALOGUE for label in spec.labels}.isdisjoint({"id", "job_id", "caller", "group", "key"})


@virtual_time
async def test_every_exported_metric_is_in_the_catalogue_with_its_kind_and_labels() -> None:
    queue = queue_of_two()
    specs = {spec.name.removesuffix("_total"): spec for spec in CATALOGUE}
    async with queue:
        await run(queue, "greet")
        exported = families(queue)
    for family in exported:
        spec = specs[family.name]
        assert (family.type, family.documentation) == (spec.kind, spec.help)
        for each in family.samples:
            assert set(each.labels) - {"le"} == set(spec.labels)
    missing = set(specs) - {family.name for family in exported}
    for absent in (OF_JOURNAL, OF_STORE, OF_WEBHOOKS):
        assert {name for name in missing if name.startswith(absent)} == named(absent)
        missing -= named(absent)
    expected = {"jobqueue_queue_oldest_job_timestamp_seconds", "jobqueue_process_restarts"}
    assert {name for name in missing if not SERVER_ONLY.match(name)} == expected


@virtual_time
async def test_a_journal_has_all_its_families(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of_two()
    async with queue:
        give_journal(monkeypatch, queue.service, FIGURES)
        found, exported = samples(queue), families(queue)
        of_new = figures(commit_counts=(), snapshot_at=None, snapshot_s=None, recovered={}, state="failed")
        give_journal(monkeypatch, queue.service, of_new)
        fresh = samples(queue)
    assert {family.name for family in exported if family.name.startswith(OF_JOURNAL)} == named(OF_JOURNAL)
    assert value(found, "jobqueue_journal_failed") == 0
    assert value(found, "jobqueue_journal_commits_total") == 7
    assert value(found, "jobqueue_journal_commit_seconds_count") == 7
    assert value(found, "jobqueue_journal_commit_seconds_bucket", le="0.005") == 6
    assert value(found, "jobqueue_journal_bytes") / value(found, "jobqueue_journal_bytes_max") == 12 / 4096
    assert value(found, "jobqueue_journal_recovered_jobs", state="queued") == 12
    assert value(found, "jobqueue_journal_recovered_jobs", state="failed") == 0
    assert value(fresh, "jobqueue_journal_failed") == 1
    assert value(fresh, "jobqueue_journal_commit_seconds_count") == 0
    assert ("jobqueue_journal_snapshot_seconds", frozenset()) not in fresh
    assert ("jobqueue_journal_snapshot_timestamp_seconds", frozenset()) not in fresh


@virtual_time
async def test_a_shared_store_has_all_its_families(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = queue_of_two()
    async with queue:
        give_store(monkeypatch, store_figures.figures(missing=(store_figures.LOST,)))
        found, exported = samples(queue), families(queue)
        give_store(monkeypatch, store_figures.figures(up=False, call_counts=(), copy_age_s=None))
        fresh = samples(queue)
    assert {family.name for family in exported if family.name.startswith(OF_STORE)} == named(OF_STORE)
    assert value(found, "jobqueue_store_up") == 1
    assert value(found, "jobqueue_store_servers") == 3
    assert value(found, "jobqueue_store_servers_missing") == 1
    assert value(found, "jobqueue_store_calls_total", function="submit") == 7
    assert value(found, "jobqueue_store_call_seconds_count") == 12
    assert value(found, "jobqueue_store_errors_total", kind="timeout") == 0
    assert value(found, "jobqueue_store_reconnects_total") == 1
    assert value(found, "jobqueue_store_copy_age_seconds") == 0.25
    assert value(fresh, "jobqueue_store_up") == 0
    assert value(fresh, "jobqueue_store_call_seconds_count") == 0
    assert ("jobqueue_store_copy_age_seconds", frozenset()) not in fresh


@virtual_time
async def test_two_queues_of_one_process_have_counts_of_their_own() -> None:
    one, other = queue_of_two(), queue_of_two()
    async with one, other:
        await run(one, "greet")
        for queue, count in ((one, 1), (other, 0)):
            found = samples(queue)
            assert value(found, "jobqueue_jobs_submitted_total", queue="default", type="greet") == count


@virtual_time
async def test_an_application_registers_a_queue_beside_its_own_metrics() -> None:
    queue, registry = queue_of_two(), CollectorRegistry()
    registry.register(QueueCollector(queue))
    assert generate_latest(registry) == b"", "the queue doesn't run"
    async with queue:
        text = generate_latest(registry).decode()
    assert 'jobqueue_queue_capacity{queue="other"} 5.0' in text
    assert "process_cpu" not in text


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", TEXT),
        ("*/*", TEXT),
        ("text/html", TEXT),
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,*/*;q=0.1",
            OPENMETRICS,
        ),
        ("text/plain;version=0.0.4;q=0.5, Application/OpenMetrics-Text", OPENMETRICS),
    ],
)
def test_openmetrics_is_for_clients_that_name_it(accept: str, media_type: str) -> None:
    assert media_type_for(accept) == media_type


def test_a_label_is_escaped() -> None:
    assert labelled(("type", 'a"b\\c\nd')) == r'type="a\"b\\c\nd"'
