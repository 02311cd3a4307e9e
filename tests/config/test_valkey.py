"""The settings `backend` and `valkey`: what fits together, and that passwords are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue import JobQueue
from jobqueue.config import QueueSettings, RuntimeSettings, Settings, ValkeySettings
from jobqueue.config.effective import effective
from jobqueue.config.load import Override, differences, load, trace
from jobqueue.config.valkey import shown_url
from jobqueue.core.policy import Discipline
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "correct-horse"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path.joinpath("config.yaml").relative_to(tmp_path)


def faults_of(file: Path, text: str) -> tuple[str, ...]:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(file, environ={})
    return caught.value.faults


def test_the_backend_is_memory_unless_told() -> None:
    assert Settings().backend == "memory"
    assert load(None, environ={"JOBQUEUE_BACKEND": "valkey"}).backend == "valkey"
    assert load(None, environ={}, overrides=[Override("--set", "backend", "valkey")]).backend == "valkey"


def test_an_unknown_backend_is_a_fault_with_the_known_ones(file: Path) -> None:
    assert faults_of(file, "backend: redis") == (
        "config.yaml:1:10: backend: must be one of memory, valkey, not 'redis'",
    )
    with pytest.raises(ConfigError, match="JOBQUEUE_BACKEND: must be one of memory, valkey, not 'disk'"):
        load(None, environ={"JOBQUEUE_BACKEND": "disk"})


def test_each_setting_that_does_not_fit_a_store_is_named_at_once(file: Path) -> None:
    text = """\
backend: valkey
queues:
  default: {discipline: adaptive}
  mail: {discipline: fair}
journal: {dir: journal}
"""
    found = faults_of(file, text)
    assert [fault.partition(" does not fit")[0] for fault in found] == [
        "config.yaml:3:25: queues.default.discipline:",
        "runtime.shares: weighted",
        "config.yaml:5:16: journal.dir:",
    ]
    both = faults_of(file, "backend: valkey\njournal: {dir: jobs}\nspool: {dir: files}")
    assert [fault.partition(" does")[0] for fault in both] == [
        *("config.yaml:2:16: journal.dir:", "config.yaml:3:14: spool.dir:"),
    ]
    (fault,) = faults_of(file, "backend: valkey\nspool: {dir: files}")
    assert fault.startswith("config.yaml:2:14: spool.dir: does not fit backend: valkey")


def test_settings_that_fit_a_store_are_accepted(file: Path) -> None:
    file.write_text("""\
backend: valkey
queues:
  default: {discipline: priority}
  mail: {discipline: lifo}
runtime: {shares: strict}
server: {drain_mode: keep}
""")
    assert load(file, environ={}).backend == "valkey"
    assert load(None, environ={"JOBQUEUE_BACKEND": "valkey"}).runtime.shares == "weighted"  # of one queue


@pytest.mark.parametrize(
    "url",
    [
        *("redis://127.0.0.1:6379/0", "redis://store", "rediss://user:p%40ss@store.example.com:6380/3"),
        *(
            "valkey://[::1]:6379",
            "valkeys://:secret@store",
            "unix:///run/valkey.sock",
            "unix://user:pw@/run/v.sock?db=2",
        ),
    ],
)
def test_addresses_of_every_scheme_are_accepted(url: str) -> None:
    assert load(None, environ={"JOBQUEUE_VALKEY__URL": url}).valkey.url == url


@pytest.mark.parametrize(
    ("valkey", "fault"),
    [
        (
            "url: localhost:6379",
            "1:15: valkey.url: must be an address that begins with redis:// or valkey://, with TLS ",
        ),
        (
            "url: 'http://store'",
            "1:15: valkey.url: must be an address that begins with redis:// or valkey://, with TLS ",
        ),
        ("url: 'redis://:6379'", "1:15: valkey.url: has no host"),
        ("url: 'redis://store:0'", "1:15: valkey.url: the port must not be 0"),
        ("url: 'redis://store:70000'", "1:15: valkey.url: the port must be a number up to 65535"),
        (
            "url: 'redis://u:a/b@store'",
            "1:15: valkey.url: the port must be a number up to 65535 (write / in a password as %2F",
        ),
        ("url: 'redis://store/jobs'", "1:15: valkey.url: what follows the host must be the number of a database"),
        ("url: 'redis://store?timeout=1'", "1:15: valkey.url: has unknown parameters (timeout)"),
        ("url: 'unix:///run/v.sock', sentinels: [a:26379]", "1:48: valkey.sentinels: tell the address of a host"),
        ("sentinels: [a]", "1:21: valkey.sentinels: must be a list such as [sentinel-1:26379, sentinel-2:26379]"),
        ("namespace: 'a:b'", "1:21: valkey.namespace: must be a text, such as jobqueue"),
        ("tls: {ca: ca.pem}", "1:20: valkey.tls.ca: needs a valkey.url that begins with rediss:// or valkeys://"),
        ("url: 'rediss://store', tls: {cert: a.pem}", "1:45: valkey.tls.cert: needs valkey.tls.key, too"),
        ("url: 'rediss://store', tls: {key: a.key}", "1:44: valkey.tls.key: needs valkey.tls.cert, too"),
        ("password: a, password_file: b", "1:38: valkey.password_file: must not be set beside valkey.password"),
        (
            "sentinel_password: a, sentinel_password_file: b",
            "1:56: valkey.sentinel_password_file: must not be set beside valkey.sentinel_password",
        ),
        ("sentinel_user: a", "1:25: valkey.sentinel_user: needs valkey.sentinel_password or valkey.sentinel_password"),
        ("ttl_s: 4, call_timeout_s: 2", "1:17: valkey.ttl_s: must be at least three times valkey.call_timeout_s"),
        ("durability: fsync", "1:22: valkey.durability: must be one of aof, async, replica, not 'fsync'"),
    ],
)
def test_a_fault_of_the_store_names_the_right_value(file: Path, valkey: str, fault: str) -> None:
    (found,) = faults_of(file, f"valkey: {{{valkey}}}")
    assert found.startswith(f"config.yaml:{fault}")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:correct-horse@store:6379/0", "redis://user:***@store:6379/0"),
        ("redis://:correct-horse@store", "redis://:***@store"),
        ("redis://user@store", "redis://user@store"),
        ("redis://user:corr@ect@correct-horse@store/1", "redis://user:***@store/1"),
        ("unix://user:correct-horse@/run/v.sock?db=1", "unix://user:***@/run/v.sock?db=1"),
        ("redis://store?password=correct-horse&db=1", "redis://store?password=***&db=1"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_passwords_are_not_shown() -> None:
    environ = {
        "JOBQUEUE_VALKEY__URL": f"redis://user:{SECRET}@store:6379/0",
        "JOBQUEUE_VALKEY__PASSWORD": SECRET,
        "JOBQUEUE_VALKEY__SENTINEL_PASSWORD": SECRET,
    }
    loaded = trace(None, environ=environ)
    shown = loaded.show()
    assert 'url: "redis://user:***@store:6379/0"' in shown
    assert SECRET not in shown
    assert SECRET not in str([*effective(loaded.settings, loaded.settings, [loaded])])
    assert SECRET not in str(differences(Settings(), loaded.settings))
    assert SECRET not in repr(loaded.settings)


@pytest.mark.parametrize("url", [f"http://user:{SECRET}@store", f"redis://u:{SECRET}/@store", f"redis://{SECRET}"])
def test_a_fault_does_not_show_a_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, environ={"JOBQUEUE_VALKEY__URL": url, "JOBQUEUE_VALKEY__PASSWORD": "", "JOBQUEUE_SERVER__PORT": "x"})
    assert SECRET not in str(caught.value)


async def test_a_queue_of_an_application_meets_the_faults_of_settings_and_handlers_together() -> None:
    queue = JobQueue(
        Settings(
            backend="valkey",
            queues={"default": QueueSettings(discipline=Discipline.ADAPTIVE), "mail": QueueSettings()},
            runtime=RuntimeSettings(shares="weighted"),
            valkey=ValkeySettings(ttl_s=3.0),
        )
    )

    @queue.on("mail.*")
    async def send(data: str) -> None: ...

    with pytest.raises(ConfigError) as caught:
        await queue.start()
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        *("valkey.ttl_s", "queues.default.discipline", "runtime.shares", "handler 'send'"),
    ]


async def test_a_server_over_a_store_has_a_thousand_types_at_most() -> None:
    queue = JobQueue(Settings(backend="valkey"))
    for number in range(1001):
        queue.handler(name=f"type-{number}")(lambda: None)
    with pytest.raises(ConfigError, match="1,001 handlers do not fit backend: valkey, where a server has at most"):
        await queue.start()
