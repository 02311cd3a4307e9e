"""The section `webhooks` of the settings: what fits together, and that no secret is ever shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobqueue.config import EndpointSettings, QueueSettings, Settings, WebhooksSettings
from jobqueue.config.deliveries import faults_of_webhooks
from jobqueue.config.live import live_settings
from jobqueue.config.load import differences, trace
from jobqueue.core.policy import Discipline
from jobqueue.errors import ConfigError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
HOOKS = "https://example.com/hooks"


def faults_of(tmp_path: Path, text: str) -> list[str]:
    """Return the faults of a file, without its path."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as error:
        trace(file, environ={})
    return [fault.replace(f"{file}:", "") for fault in error.value.faults]


def loaded(tmp_path: Path, text: str, **environ: str) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    return trace(file, environ=environ).settings


ENDPOINT = "webhooks: {secret: %s, endpoints: {crm: {url: %s, events: [job.failed]%s}}}"


def endpoint(url: str = HOOKS, more: str = "", secret: str = SECRET) -> str:
    return ENDPOINT % (secret, url, more)


def test_the_queue_of_deliveries_is_there_only_if_a_receiver_is(tmp_path: Path) -> None:
    assert [*Settings().queues] == ["default"]
    queue = loaded(tmp_path, endpoint()).queues["webhooks"]
    assert (queue.discipline, queue.retry_budget) == (Discipline.FAIR, 0)
    changed = loaded(tmp_path, f"{endpoint()}\nqueues: {{webhooks: {{workers: 3, retry_budget: 0}}}}")
    assert changed.queues["webhooks"] == QueueSettings(workers=3, retry_budget=0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (endpoint("https://169.254.169.254/"), "webhooks.endpoints.crm.url: 169.254.169.254 is an address of cloud"),
        (endpoint('"http://[::ffff:127.0.0.1]/"'), "webhooks.endpoints.crm.url: ::ffff:"),
        (endpoint("http://example.com/"), "webhooks.endpoints.crm.url: http is not encrypted: use https, or list"),
        (endpoint("https://a:b@example.com/"), "webhooks.endpoints.crm.url: a URL has no user and no password"),
        (endpoint('"https://a b/"'), "webhooks.endpoints.crm.url: must be a text, such as https://example.com/"),
        (endpoint(more=", timeout_s: 16"), "webhooks.endpoints.crm.timeout_s: must be a duration from 100ms to 15s"),
        (endpoint(more=", queues: [mail]"), "webhooks.endpoints.crm.queues: no such queue: mail"),
        (
            endpoint(more=", topics: ['order..paid']"),
            "webhooks.endpoints.crm.topics: a pattern is tokens joined by single dots",
        ),
        (
            endpoint(more=", topics: ['>.paid']"),
            "webhooks.endpoints.crm.topics: '>' stands for the rest, so it is the last",
        ),
        (
            endpoint(more=f", topics: [{'a' * 199}.b]"),
            "webhooks.endpoints.crm.topics: a pattern has 1 to 200 characters",
        ),
        ("webhooks: {endpoints: {crm: {events: [job.failed]}}}", "webhooks.endpoints.crm: lacks url"),
        (
            f"webhooks: {{endpoints: {{crm: {{url: '{HOOKS}'}}}}}}",
            "webhooks.endpoints.crm: lists neither events nor topics",
        ),
        (f"webhooks: {{endpoints: {{crm: {{url: '{HOOKS}'}}}}}}", "webhooks.endpoints.crm: lacks a secret"),
        (f"webhooks: {{endpoints: {{Crm: {{url: '{HOOKS}'}}}}}}", "'Crm' is not a valid endpoint name"),
        (endpoint(more=", event: job.failed"), "webhooks.endpoints.crm.event: unknown setting, did you mean"),
        (endpoint(secret=f"{SECRET}A"), "webhooks.secret: must be whsec_ and 24 to 64 random bytes in base64"),
        ("webhooks: {allow: [10.0.0.1/8]}", "webhooks.allow: '10.0.0.1/8' must be the name of a host, an address or"),
        ("webhooks: {callbacks: true}", "webhooks.callbacks: needs webhooks.callback_hosts"),
        ("webhooks: {callbacks: true}", "webhooks.callbacks: needs webhooks.secret, which signs callbacks"),
        ("webhooks: {callback_hosts: ['127.1']}", "webhooks.callback_hosts: '127.1' must be the name of a host"),
        ("webhooks: {callback_hosts: ['crm:0']}", "webhooks.callback_hosts: 'crm:0' must be the name of a host"),
        (f"{endpoint()}\nqueues: {{webhooks: {{}}}}", "queues.webhooks.retry_budget: must be 0"),
        (f"{endpoint()}\nbackend: valkey", "webhooks.callbacks, webhooks.endpoints: does not fit"),
    ],
)
def test_a_fault_has_its_place_and_its_reason(tmp_path: Path, text: str, fault: str) -> None:
    found = faults_of(tmp_path, text)
    assert any(fault in each for each in found), found


def test_more_endpoints_than_there_may_be_are_a_fault(tmp_path: Path) -> None:
    many = ", ".join(f"e{number}: {{url: '{HOOKS}', events: [job.failed]}}" for number in range(101))
    assert faults_of(tmp_path, f"webhooks: {{secret: {SECRET}, endpoints: {{{many}}}}}") == [
        "webhooks.endpoints: 101 are configured, and at most 100 are allowed"
    ]


def test_settings_of_an_application_have_the_same_faults() -> None:
    crm = EndpointSettings(url="https://10.0.0.1/", events=("job.failed",))
    found = [*faults_of_webhooks(Settings(webhooks=WebhooksSettings(endpoints={"crm": crm})), {})]
    assert [fault.partition(": ")[0] for fault in found] == ["webhooks.endpoints.crm.url", "webhooks.endpoints.crm"]


def test_a_file_has_the_secret_in_place_of_the_setting(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n{OTHER}\n")
    text = f"webhooks: {{secret_file: {file}, endpoints: {{crm: {{url: '{HOOKS}', events: [job.failed]}}}}}}"
    webhooks = loaded(tmp_path, text).webhooks
    assert webhooks.secret_of(webhooks.endpoints["crm"]) == f"{SECRET} {OTHER}"
    assert (
        loaded(tmp_path, text, JOBQUEUE_WEBHOOKS__ENDPOINTS__CRM__TIMEOUT_S="2").webhooks.endpoints["crm"].timeout_s
        == 2
    )


@pytest.mark.parametrize(
    ("content", "mode", "fault"),
    [
        (b"whsec_short", 0o600, "webhooks.secret_file: must be a text, such as whsec_"),
        (SECRET.encode(), 0o602, "all users may write to"),
        (b"\xff" * 10, 0o600, "has no secret: whsec_ and 24 to 64 random bytes"),
        (b"a" * 2000, 0o600, "has no secret: whsec_ and 24 to 64 random bytes"),
        (None, 0o600, "can't be read: No such file or directory"),
    ],
)
def test_a_file_without_a_usable_secret_is_a_fault(
    tmp_path: Path, content: bytes | None, mode: int, fault: str
) -> None:
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
        os.chmod(file, mode)
    (found,) = faults_of(tmp_path, f"webhooks: {{secret_file: {file}}}")
    assert fault in found
    assert "whsec_short" not in found


def test_a_pipe_has_no_secret(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (found,) = faults_of(tmp_path, f"webhooks: {{secret_file: {tmp_path}/pipe}}")
    assert "is not a regular file" in found


def test_a_url_is_shown_by_no_fault_and_no_difference(tmp_path: Path) -> None:
    (found,) = faults_of(tmp_path, endpoint('"https://a b/?token=t0ken"'))
    assert "webhooks.endpoints.crm.url: must be a text" in found
    assert "t0ken" not in found
    before, after = (loaded(tmp_path, endpoint(f'"https://{name}.example.com/?token=t0ken"')) for name in "ab")
    assert differences(before, after) == {"webhooks.endpoints.crm.url": "changed"}


def test_a_secret_has_one_place(tmp_path: Path) -> None:
    (found,) = faults_of(tmp_path, f"webhooks: {{secret: {SECRET}, secret_file: /nowhere}}")
    assert "webhooks.secret is set, too: remove one of them" in found


def test_no_secret_is_shown_by_settings_their_differences_or_their_faults(tmp_path: Path) -> None:
    text = endpoint(more=f", secret: {OTHER}")
    before = loaded(tmp_path, text)
    shown = trace(tmp_path / "config.yaml", environ={}).show()
    assert shown.count('secret: "***"') == 2
    told = [shown, *differences(before, loaded(tmp_path, endpoint(more=f", secret: {SECRET}"))).values()]
    told += faults_of(tmp_path, endpoint(secret="whsec_MfKQ9r8GKYqr")) + faults_of(
        tmp_path, endpoint(secret=f"{OTHER}A")
    )
    assert "changed" in told
    for secret in ("MfKQ", "AAECAwQ"):
        assert not any(secret in each for each in told if "such as" not in each), told


def test_a_reload_changes_endpoints_and_neither_makes_nor_removes_the_queue(tmp_path: Path) -> None:
    without, with_one = Settings(), loaded(tmp_path, endpoint())
    other = loaded(tmp_path, endpoint("https://example.org/"))
    assert live_settings(with_one, other).webhooks == other.webhooks
    assert live_settings(without, with_one) == without
    assert live_settings(with_one, without).webhooks == with_one.webhooks
