"""Settings from all sources, and all their faults at once, each with its position."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue.config import MIB, QueueSettings, Settings, default_file, json_schema
from jobqueue.config.environment import variable as variable_of
from jobqueue.config.load import RENAMED, SETTINGS, Override, differences, load, trace
from jobqueue.core.policy import Discipline, QueuePolicy
from jobqueue.core.rate import PERIODS_S, Rate
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[2]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], Path]:
    """Write `config.yaml` into an empty folder, the current one."""
    monkeypatch.chdir(tmp_path)

    def write(text: str | bytes) -> Path:
        path = Path("config.yaml")
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def faults_of(
    path: Path | None, *, environ: Mapping[str, str] | None = None, overrides: Sequence[Override] = ()
) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(path, environ=environ or {}, overrides=overrides)
    return list(caught.value.faults)


# Sources and their precedence


def test_settings_without_a_source_are_the_defaults() -> None:
    assert load(None, environ={}) == Settings()


def test_the_file_at_the_root_has_exactly_the_defaults() -> None:
    loaded = trace(ROOT / "config.yaml", environ={})
    assert loaded.settings == Settings()
    assert "# default" not in loaded.show()  # it names every setting


def test_the_file_at_the_root_is_made_from_the_settings() -> None:
    written = default_file.render()
    assert (ROOT / "config.yaml").read_text() == written, "update it: python -m jobqueue config default > config.yaml"
    assert max(len(line) for line in written.splitlines()) <= default_file.WIDTH


def test_the_environment_overrides_the_file_and_a_flag_overrides_both(write: Callable[[str], Path]) -> None:
    path = write("server: {host: a.example, port: 1000, linger_s: 1m}")
    environ = {"JOBQUEUE_SERVER__PORT": "2000", "JOBQUEUE_SERVER__HOST": "b.example"}
    settings = load(path, environ=environ, overrides=[Override("--host", "server.host", "c.example")])
    assert (settings.server.host, settings.server.port, settings.server.linger_s) == ("c.example", 2000, 60.0)


@pytest.mark.parametrize(("before", "now"), RENAMED.items(), ids=lambda path: ".".join(path))
def test_the_old_name_of_a_setting_is_a_fault_with_the_new_name(
    write: Callable[[str], Path], before: tuple[str, str], now: tuple[str, str]
) -> None:
    (section, old), present = before, ".".join(now)
    detail = f"renamed to {present}"
    assert faults_of(write(f"{section}:\n  {old}: 1")) == [f"config.yaml:2:3: {section}.{old}: {detail}"]
    variable = variable_of(before)
    assert faults_of(None, environ={variable: "1"}) == [f"{variable}: renamed to {variable_of(now)}"]
    flag = Override(f"--set {section}.{old}", f"{section}.{old}", "1")
    assert faults_of(None, overrides=[flag]) == [f"--set {section}.{old}: {detail}"]


def test_renamed_settings_map_to_existing_ones() -> None:
    assert set(RENAMED.values()) <= set(SETTINGS)
    assert not set(RENAMED) & set(SETTINGS)


def test_a_queue_can_be_named_in_any_source_and_default_always_exists(write: Callable[[str], Path]) -> None:
    path = write("queues:\n  mail: {workers: 2}\n  slow:\n")
    overrides = [Override("--set queues.night-shift.capacity", "queues.night-shift.capacity", "5")]
    settings = load(path, environ={"JOBQUEUE_QUEUES__MAIL__CAPACITY": "7"}, overrides=overrides)
    assert settings.queues == {
        "default": QueueSettings(),
        "mail": QueueSettings(workers=2, capacity=7),
        "slow": QueueSettings(),
        "night-shift": QueueSettings(capacity=5),
    }


def test_settings_made_in_python_have_the_default_queue() -> None:
    assert Settings(queues={"mail": QueueSettings(workers=1)}).queues["default"] == QueueSettings()


@pytest.mark.parametrize("service", ["JOBQUEUE", "JOBQUEUE_SERVER", "JOBQUEUE_BLUE_GREEN"])
def test_variables_set_by_kubernetes_for_a_service_are_ignored(service: str) -> None:
    environ = {
        f"{service}_PORT": "tcp://10.0.0.1:80",
        f"{service}_SERVICE_HOST": "10.0.0.1",
        f"{service}_SERVICE_PORT": "80",
        f"{service}_SERVICE_PORT_HTTP": "80",
        f"{service}_PORT_80_TCP": "tcp://10.0.0.1:80",
        f"{service}_PORT_80_TCP_PROTO": "tcp",
        f"{service}_PORT_80_TCP_PORT": "80",
        f"{service}_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    assert load(None, environ=environ) == Settings()


@pytest.mark.parametrize("name", ["JOBQUEUE_BUILD", "JOBQUEUE_URL", "JOBQUEUE_KEY"])
def test_the_variables_of_builds_and_clients_are_no_settings(name: str) -> None:
    assert load(None, environ={name: "compiled"}) == Settings()


def test_a_variable_of_another_program_is_ignored() -> None:
    names = ["SERVER__PORT", "TASKQUEUE_SERVER__PORT", "JOBQUEUES_HOME", "JOBQEUE_SERVER__SPEED", "JOBQUEU__PORT", "_"]
    assert load(None, environ=dict.fromkeys(names, "1")) == Settings()


@pytest.mark.parametrize(
    ("name", "detail"),
    [
        ("JOBQUEUE_SERVER_PORT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQUEUE_SERVER_PROT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQUEUE_PORT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQUEUE_WORKERS", ", did you mean 'JOBQUEUE_QUEUES__DEFAULT__WORKERS'?"),
        ("JOBQUEUE_QUEUES_DEFAULT_WORKERS", ", did you mean 'JOBQUEUE_QUEUES__DEFAULT__WORKERS'?"),
        ("JOBQUEUE_QUEUES_NIGHTLY_MAIL_RUNS_WORKERS", ", did you mean 'JOBQUEUE_QUEUES__NIGHTLY_MAIL_RUNS__WORKERS'?"),
        ("JOBQUEUE_STATUSES_TTL_S", ", did you mean 'JOBQUEUE_STATUSES__TTL_S'?"),
        ("JOBQUEUE_", "; a section and a name are divided by two underscores, as in JOBQUEUE_SERVER__PORT"),
        ("JOBQUEUE_NONSENSE", "; a section and a name are divided by two underscores, as in JOBQUEUE_SERVER__PORT"),
        ("JOBQUEUE_SERVER__PROT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQUEUE_QUEUE__DEFAULT__WORKERS", ", did you mean 'JOBQUEUE_QUEUES__DEFAULT__WORKERS'?"),
        ("JOBQUEUE_LIMITS__PORT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQEUE_SERVER__PORT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOB_QUEUE_SERVER__PORT", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("jobqueue_server__port", ", did you mean 'JOBQUEUE_SERVER__PORT'?"),
        ("JOBQUEU_QUEUES__MAIL__WORKERS", ", did you mean 'JOBQUEUE_QUEUES__MAIL__WORKERS'?"),
    ],
)
def test_an_unknown_variable_of_jobqueue_is_a_fault_with_a_suggestion(name: str, detail: str) -> None:
    assert faults_of(None, environ={name: "1"}) == [f"{name}: unknown setting{detail}"]


def test_the_sources_are_summarised_by_name_and_number(write: Callable[[str], Path]) -> None:
    path = write("server: {port: 1}")
    environ = {"JOBQUEUE_SERVER__PORT": "2", "JOBQUEUE_SERVER__HOST": "::1", "HOME": "/"}
    one_flag = [Override("--port", "server.port", "3")]
    assert trace(path, environ=environ).sources == "config.yaml, 2 environment variables"
    assert trace(path, environ={}, overrides=one_flag).sources == "config.yaml, 1 flag"
    assert trace(None, environ={}).sources == "no file"


@pytest.mark.parametrize(
    ("setting", "text"),
    [("server: {port: %s}", '"9000"'), ("server: {port: %s}", "'9000'"), ("server: {fast_path: %s}", '"true"')],
)
def test_a_quoted_value_is_a_fault_that_names_the_quotes(write: Callable[[str], Path], setting: str, text: str) -> None:
    (fault,) = faults_of(write(setting % text))
    assert fault.endswith(f", not '{text[1:-1]}': remove the quotes")


@pytest.mark.parametrize("text", ['"9000"', "'9000'"])
def test_quotes_in_a_variable_or_a_flag_are_a_fault_that_names_them(text: str) -> None:
    (fault,) = faults_of(None, environ={"JOBQUEUE_SERVER__PORT": text})
    assert (
        fault
        == f"JOBQUEUE_SERVER__PORT: must be a whole number from 0 to 65535, or null, not '{text}': remove the quotes"
    )
    (fault,) = faults_of(None, overrides=[Override("--port", "server.port", text)])
    assert fault.endswith(": remove the quotes")


@pytest.mark.parametrize("text", ['"high"', "high", '"70000"', "'"])
def test_quotes_are_not_mentioned_for_a_value_invalid_without_them(write: Callable[[str], Path], text: str) -> None:
    for fault in faults_of(write(f"server: {{port: {text}}}"), environ={"JOBQUEUE_SERVER__PORT": text}):
        assert "quotes" not in fault


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "null\n", "{}", "server:\n", b"\xef\xbb\xbf"])
def test_an_empty_file_leaves_the_defaults(write: Callable[[str | bytes], Path], text: str | bytes) -> None:
    assert load(write(text), environ={}) == Settings()


def test_a_byte_order_mark_is_skipped(write: Callable[[bytes], Path]) -> None:
    path = write(b"\xef\xbb\xbfserver: {port: 1}")
    assert load(path, environ={}).server.port == 1


# Values


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("1MiB", MIB), ("1 MiB", MIB), ("1.5MiB", MIB * 3 // 2), ("2MB", 2_000_000), ("'2kB'", 2000)],
)
def test_a_size_has_a_unit_or_is_in_bytes(write: Callable[[str], Path], text: str, size: int) -> None:
    assert load(write(f"limits: {{result_bytes: {text}}}"), environ={}).limits.result_bytes == size


@pytest.mark.parametrize(
    ("text", "duration_s"),
    [
        ("2", 2.0),
        ("0.5", 0.5),
        ("250ms", 0.25),
        ("10m", 600.0),
        ("1h30m", 5400.0),
        ("1.5h", 5400.0),
        ("1m1s1ms", 61.001),
    ],
)
def test_a_duration_has_units_or_is_in_seconds(write: Callable[[str], Path], text: str, duration_s: float) -> None:
    assert load(write(f"statuses: {{ttl_s: {text}}}"), environ={}).statuses.ttl_s == duration_s


@pytest.mark.parametrize(
    "text",
    [
        *(
            "1mib",
            "1M",
            "1.5",
            "0.3KiB",
            "-1",
            "1e3",
            "1MiB2",
            "MiB",
            "''",
            "true",
            "0x10",
            "1 000",
            "2TiB",
            "9" * 5000,
        ),
        *("[1]", "{a: 1}", ".inf", ".nan", "null", "٣"),
    ],
)
def test_an_invalid_size_is_a_fault(write: Callable[[str], Path], text: str) -> None:
    (fault,) = faults_of(write(f"limits: {{result_bytes: {text}}}"))
    assert fault.startswith(
        "config.yaml:1:24: limits.result_bytes: must be a size from 1 to 1GiB, such as 1MiB, or a number of bytes, not "
    )


@pytest.mark.parametrize(
    "text",
    [
        *("10q", "m", "30m1h", "1m1m", "-5s", "-1", "1e3", ".inf", ".nan", "yes", "1:30", "31d", "null", "''", "1s ms"),
        "9" * 400,
    ],
)
def test_an_invalid_duration_is_a_fault(write: Callable[[str], Path], text: str) -> None:
    (fault,) = faults_of(write(f"statuses: {{ttl_s: {text}}}"))
    assert "config.yaml:1:19: statuses.ttl_s: must be a duration from 0s to 30d, such as 250ms or 10m" in fault


def test_null_is_a_fault_where_a_setting_needs_a_value(write: Callable[[str], Path]) -> None:
    (fault,) = faults_of(write("server: {connections_max: ~}"))
    assert fault.endswith("server.connections_max: must be a whole number from 1 to 1000000, not '~'")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("server: {tls: {cert: a.pem}}", "1:22: server.tls.cert: needs server.tls.key"),
        ("server: {tls: {key: a.key}}", "1:21: server.tls.key: needs server.tls.cert"),
        ("server: {drain_mode: keep}", "1:22: server.drain_mode: keep needs a journal"),
        ("server: {tls: {client_ca: a.pem}}", "1:27: server.tls.client_ca: needs server.tls.cert and server.tls.key"),
        ("server: {port: null}", "1:16: server.port: is null, and so is server.socket"),
        (
            "server: {port: null, socket: /s, tls: {cert: a.pem, key: a.key}}",
            "1:46: server.tls.cert: needs a server.port",
        ),
        ("server: {proxies: [10.0.0.1/8]}", "1:19: server.proxies: 10.0.0.1/8 has host bits set; expected"),
        ("server: {proxies: [1.2.3]}", "1:19: server.proxies: '1.2.3' does not appear to be"),
        ("server: {proxies: [unix]}", "1:19: server.proxies: unix is listed, and server.socket is not set"),
        ("server: {proxies: [proxy.example.com]}", "1:19: server.proxies: must be a list such as [127.0.0.1, "),
        ("server: {socket_mode: 660}", "1:23: server.socket_mode: must be a string of 4 characters, such as 0600"),
        ("server: {socket_mode: 0o660}", "1:23: server.socket_mode: must be a string of 4 characters, such as 0600"),
    ],
)
def test_settings_of_listening_that_do_not_fit_together_are_a_fault(
    write: Callable[[str], Path], text: str, fault: str
) -> None:
    (found,) = faults_of(write(text))
    assert found.startswith(f"config.yaml:{fault}")


def test_permissions_need_no_quotes(write: Callable[[str], Path]) -> None:
    assert load(write("server: {socket: /s, socket_mode: 0660}"), environ={}).server.socket_mode == "0660"


@pytest.mark.parametrize(
    "text", ["true", "yes", "'8080'", "80.0", "65536", "-1", "1e3", "010", "0x50", "8080x", ".nan", "1:30", "[]"]
)
def test_an_invalid_whole_number_is_a_fault(write: Callable[[str], Path], text: str) -> None:
    (fault,) = faults_of(write(f"server: {{port: {text}}}"))
    assert fault.startswith("config.yaml:1:16: server.port: must be a whole number from 0 to 65535, or null, not ")


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", Rate(10, 1.0)),
        ("600/m", Rate(600, 60.0)),
        ("'5/h'", Rate(5, 3600.0)),
        ("10/s burst 1", Rate(10, 1.0, burst=1)),
        ("null", None),
    ],
)
def test_a_rate_is_per_second_minute_or_hour(write: Callable[[str], Path], text: str, rate: Rate | None) -> None:
    path = write(f"limits: {{caller_rate: {text}}}")
    assert load(path, environ={}).limits.caller_rate == rate
    assert load(None, environ={"JOBQUEUE_LIMITS__CALLER_RATE": text.strip("'")}).limits.caller_rate == rate


@pytest.mark.parametrize(
    "text",
    ["10/x", "0/s", "-1/s", "10", "1.5/s", "10 / s", "10/sec", "10/2s", "1e3/s", "01/s", "9999999999/s", "true", "[1]"],
)
def test_an_invalid_rate_is_a_fault(write: Callable[[str], Path], text: str) -> None:
    (fault,) = faults_of(write(f"limits:\n  caller_rate: {text}"))
    assert fault == (
        "config.yaml:2:16: limits.caller_rate: must be a rate such as 10/s, 600/m, 5/h or 10/s burst 1: "
        "a whole number from 1, a slash, and s, m or h; with burst, how many may come at once, or null, "
        f"not {'a list' if text == '[1]' else repr(text)}"
    )


@pytest.mark.parametrize("discipline", list(Discipline))
def test_every_discipline_can_be_set(write: Callable[[str], Path], discipline: Discipline) -> None:
    path = write(f"queues: {{default: {{discipline: {discipline}}}}}")
    found = load(path, environ={}).queues["default"].discipline
    assert (type(found), found) == (Discipline, discipline)


def test_an_unknown_discipline_is_a_fault_that_lists_the_known_ones(write: Callable[[str], Path]) -> None:
    assert faults_of(write("queues:\n  default:\n    discipline: random\n")) == [
        "config.yaml:3:17: queues.default.discipline: must be one of fifo, lifo, priority, fair, adaptive, not 'random'"
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("weight: 0", "a whole number from 1 to 1000"),
        ("weight: 1001", "a whole number from 1 to 1000"),
        ("patience_s: 0.05", "a duration from 100ms to 1d, "),
        ("patience_s: 2d", "a duration from 100ms to 1d, "),
        ("retry_budget: -1", "a whole number from 0 to 1000000"),
        ("aging_s: 0", "a duration from 100ms to 1d, "),
        ("codel_target_s: 0", "a duration from 1ms to 1d, "),
        ("codel_interval_s: 2d", "a duration from 1ms to 1d, "),
    ],
)
def test_a_setting_of_a_queue_out_of_bounds_is_a_fault(write: Callable[[str], Path], text: str, expected: str) -> None:
    (fault,) = faults_of(write(f"queues: {{mail: {{{text}}}}}"))
    assert f": must be {expected}" in fault


@pytest.mark.parametrize(
    "text",
    ["true", "1", "1.5", "null", "", "2024-01-01", "[]", "{}", "''", "a" * 256, '"\\ud800"', '"\\n"'],
)
def test_a_yaml_value_of_another_type_is_no_string(write: Callable[[str], Path], text: str) -> None:
    (fault,) = faults_of(write(f"server:\n  host: {text}"))
    assert "server.host: must be a string of 1 to 255 printable characters (in quotes if it looks like" in fault


def test_an_unknown_word_is_a_fault_that_lists_the_known_ones(write: Callable[[str], Path]) -> None:
    (fault,) = faults_of(write("log: {format: JSON}"))
    assert fault == "config.yaml:1:15: log.format: must be one of auto, json, text, not 'JSON'"


def test_null_means_unset_for_optional_settings(write: Callable[[str], Path]) -> None:
    path = write("spool: {dir: null}\nserver: {socket: }\nruntime: {processes: null}\njournal: {dir: folder}")
    settings = load(path, environ={"JOBQUEUE_JOURNAL__DIR": "null"})
    assert (settings.spool.dir, settings.server.socket, settings.runtime.processes) == (None, None, None)
    assert settings.journal.dir is None


def test_an_empty_variable_or_flag_turns_nothing_off() -> None:
    def refused(error: ConfigError) -> set[str]:
        return {fault.partition(": must be ")[0] for fault in error.faults if fault.endswith(", not empty")}

    flags = [Override(f"--set {'.'.join(path)}", ".".join(path), "") for path in SETTINGS]
    with pytest.raises(ConfigError) as of_variables:
        load(None, environ={variable_of(path): "" for path in SETTINGS})
    assert refused(of_variables.value) == {variable_of(path) for path in SETTINGS}
    with pytest.raises(ConfigError) as of_flags:
        load(None, environ={}, overrides=flags)
    assert refused(of_flags.value) == {flag.flag for flag in flags}


def test_a_queue_without_settings_has_the_default_policy_of_the_core() -> None:
    assert QueueSettings().policy == QueuePolicy()


def test_the_policy_of_a_queue_has_its_settings(write: Callable[[str], Path]) -> None:
    path = write(
        "queues:\n  mail: {workers: 2, capacity: 7, discipline: adaptive, weight: 3, patience_s: 1m, aging_s: 4s,"
        " codel_target_s: 5ms, codel_interval_s: 100ms, retry_budget: 0}"
    )
    assert load(path, environ={}).queues["mail"].policy == QueuePolicy(
        workers=2,
        capacity=7,
        discipline=Discipline.ADAPTIVE,
        weight=3,
        patience_s=60.0,
        aging_s=4.0,
        codel_target_s=0.005,
        codel_interval_s=0.1,
        retry_budget=0,
    )


# Faults and their positions


def test_all_faults_of_all_sources_are_reported_at_once(write: Callable[[str], Path]) -> None:
    path = write("server:\n  port: high\nqueues:\n  default:\n    capacityy: 5\n")
    environ = {"JOBQUEUE_SERVER__PORT": "higher", "JOBQUEUE_SERVER__PROT": "1"}
    assert faults_of(path, environ=environ, overrides=[Override("--port", "server.port", "highest")]) == [
        "config.yaml:2:9: server.port: must be a whole number from 0 to 65535, or null, not 'high'",
        "config.yaml:5:5: queues.default.capacityy: unknown setting, did you mean 'queues.default.capacity'?",
        "JOBQUEUE_SERVER__PORT: must be a whole number from 0 to 65535, or null, not 'higher'",
        "JOBQUEUE_SERVER__PROT: unknown setting, did you mean 'JOBQUEUE_SERVER__PORT'?",
        "--port: must be a whole number from 0 to 65535, or null, not 'highest'",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("port: 1", "config.yaml:1:1: port: unknown setting, did you mean 'server.port'?"),
        ("worker: 1", "config.yaml:1:1: worker: unknown setting, did you mean 'queues.default.workers'?"),
        ("1: 2", "config.yaml:1:1: 1: unknown setting; known settings: backend, server, queues, schedules"),
        ("server: {quick: 1}", "config.yaml:1:10: server.quick: unknown setting; known settings: host, port"),
        ("server: 5", "config.yaml:1:9: server: is a section; set what is in it (host, port"),
        ("queues: [a]", "config.yaml:1:9: queues: is a section; set what is in it"),
        ("queues:\n  Mail: {}", "config.yaml:2:3: queues.Mail: 'Mail' is not a valid queue name"),
        ("log: {level: {a: 1}}", "config.yaml:1:14: log.level: must be one of debug, error, info, warning, not a"),
        ("spool: {bytes_max: 1MiB}", "config.yaml:1:20: spool.bytes_max: must not be under limits.files_bytes"),
        ("limits: {body_bytes: 1GiB}", "config.yaml:1:22: limits.body_bytes: must not be over statuses.bytes_max"),
    ],
)  # fmt: skip
def test_a_fault_has_its_position_and_the_expected_value(write: Callable[[str], Path], text: str, fault: str) -> None:
    (found,) = faults_of(write(text))
    assert found.startswith(fault)


@pytest.mark.parametrize(
    "text",
    [
        "server: {origins: [https://app.example.com, 'http://localhost:5173']}",
        "server:\n  origins:\n    - https://app.example.com\n    - http://localhost:5173",
        "server: {origins: 'https://app.example.com, http://localhost:5173'}",
    ],
)
def test_a_list_is_a_yaml_list_or_separated_by_commas(write: Callable[[str], Path], text: str) -> None:
    given = ("https://app.example.com", "http://localhost:5173")
    assert load(write(text), environ={}).server.origins == given
    joined = ",".join(given)
    assert load(None, environ={"JOBQUEUE_SERVER__ORIGINS": joined}).server.origins == given
    flag = Override("--set server.origins", "server.origins", joined)
    assert load(write("server: {origins: [http://a]}"), environ={}, overrides=[flag]).server.origins == given
    assert load(write("server: {origins: [], hosts: []}"), environ={}) == Settings()


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("origins: [https://app.example.com/]", "'https://app.example.com/'"),
        ("origins: [http://a, null]", "a list of other items than strings"),
        ("origins: [http://a, [http://b]]", "a list of other items than strings"),
        ("origins: [http://a, {b: c}]", "a list of other items than strings"),
        ("hosts: [&a a, *a]", "a list of other items than strings"),
        ("hosts: [!x a]", "a list of other items than strings"),
        ("origins: [1]", "a list of other items than strings"),
        ("origins: 'null'", "'null'"),
        ("origins: ['*']", "'*'"),
        ("origins: ['https://*.example.com']", "'https://*.example.com'"),
        ("origins: [app.example.com]", "'app.example.com'"),
        ("origins: {a: b}", "a mapping"),
        ("origins:", "empty"),
        ("hosts: [http://a]", "'http://a'"),
        ("hosts: ['a:b']", "'a:b'"),
        ("hosts: ['a,b']", "'a,b'"),
        ("hosts: [a/b]", "'a/b'"),
        (f"hosts: [{'a' * 301}]", f"'{'a' * 57}...'"),
        (f"hosts: [{', '.join(['a'] * 101)}]", f"'{'a, ' * 19}...'"),
        ("port: [1]", "a list"),
        ("host: [a]", "a list"),
    ],
)
def test_an_invalid_list_of_origins_or_hosts_is_a_fault(write: Callable[[str], Path], text: str, got: str) -> None:
    (fault,) = faults_of(write(f"server:\n  {text}"))
    name = text.partition(":")[0]
    assert f"server.{name}: must be " in fault
    assert fault.endswith(f", not {got}")


def test_too_many_queues_are_a_fault(write: Callable[[str], Path]) -> None:
    (fault,) = faults_of(write("queues:\n" + "".join(f"  q{number}:\n" for number in range(100))))
    assert fault == "queues: 101 are configured, and at most 100 are allowed"


def test_a_flag_below_a_setting_is_a_fault() -> None:
    (fault,) = faults_of(None, overrides=[Override("--set server.port.x", "server.port.x", "1")])
    assert fault == "--set server.port.x: unknown setting: the name before it is a setting, not a section"


# YAML


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("server:\n  port: 1\n  port: 2", "config.yaml:3:3: server.port: duplicate key, first on line 2"),
        ("log:\nlog:", "config.yaml:2:1: log: duplicate key, first on line 1"),
        ("- a", "config.yaml:1:1: the file must be a mapping of sections"),
        ("text", "config.yaml:1:1: the file must be a mapping of sections"),
        ("server: {port: [1}", "config.yaml:1:18: not YAML: while parsing a flow sequence expected ',' or ']'"),
        ("log: {}\nserver:\n\tport: 1", "config.yaml:3:1: not YAML: lines are indented with spaces, not with tabs"),
        ("server:\n  port:1", "config.yaml:2:3: server: is a section; write `port: 1`, with a space after the colon"),
        ("server:port", "config.yaml:1:1: the file must be a mapping of sections, such as `server:`"),
        ("server:\n  port:1\n  host: h", "config.yaml:3:7: not YAML: mapping values are not allowed here; line 2 has"),
        ("server:\n  port:1\n  host:h", "config.yaml:2:3: server: is a section; write `port: 1`, with a space after"),
        (b"server:\r  port:1\r  host: h", "config.yaml:3:7: not YAML: mapping values are not allowed here; line 2 has"),
        (b'\r\r"', "config.yaml:3:2: not YAML: while scanning a quoted scalar found unexpected end of stream"),
        (b"log:\r\n  level: \x07", "config.yaml:2:10: holds U+0007, which YAML does not allow"),
        ("log: {}\n---\nlog: {}", "config.yaml:2:1: a second document starts here; a settings file has one document"),
        ("a: &a 1\nlog: *a", "config.yaml:2:6: log: aliases (`*name`) can't be used here"),
        ("log: !!python/object:os.system x", "config.yaml:1:6: log: tags (`tag:yaml.org,2002:python/object:os"),
        ("server:\n  <<: {port: 1}", "config.yaml:2:3: server.<<: unknown setting"),
        ("? [a]\n: 1", "config.yaml:1:3: a setting's name must be a plain string"),
        ("log: \x07", "config.yaml:1:6: holds U+0007, which YAML does not allow"),
        (b"log:\n  level: \xff", "config.yaml:2:10: is not UTF-8 (byte 0xff)"),
        ("log: {}".encode("utf-16"), "config.yaml:1:1: is not UTF-8 (byte 0xff)"),
        (b"\xef\xbb\xbflog: \xfe", "config.yaml:1:6: is not UTF-8 (byte 0xfe)"),
        ("#" * 300_000, "config.yaml: is larger than 262144 bytes, the maximum of a settings file"),
        ("[" * 100_000, "config.yaml:1:9: not YAML: nested over 8 levels deep"),
        ("a: {" * 20_000, "config.yaml:1:32: not YAML: nested over 8 levels deep"),
    ],
)  # fmt: skip
def test_invalid_and_unsupported_yaml_is_a_fault(
    write: Callable[[str | bytes], Path], text: str | bytes, fault: str
) -> None:
    assert any(found.startswith(fault) for found in faults_of(write(text)))


def test_an_alias_bomb_is_not_expanded(write: Callable[[str], Path]) -> None:
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30))
    assert all("unknown setting" in fault for fault in faults_of(write(bomb)))


def test_a_missing_or_unreadable_file_is_a_fault(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert faults_of(missing) == [f"{missing}: can't be read: No such file or directory"]
    assert faults_of(tmp_path) == [f"{tmp_path}: can't be read: Is a directory"]


@given(
    st.text(max_size=60)
    | st.text(alphabet="server: portlg\n-{}[]&*!?|>'\"#%@`,0", max_size=60)
    | st.binary(max_size=60)
)
def test_any_file_loads_or_raises_config_error_with_positions(
    tmp_path_factory: pytest.TempPathFactory, text: str | bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    faults: Sequence[str] = ()
    try:
        load(path, environ={})
    except ConfigError as error:
        faults = error.faults
    assert all(fault.startswith(f"{path}:") and "\n" not in fault for fault in faults)


# `config show` and the JSON schema


def test_show_has_the_source_of_each_value(write: Callable[[str], Path]) -> None:
    path = write("server:\n  port: 1000\n  host: 'odd # \"host\"'\nqueues:\n  mail:\n    workers: 3\n")
    overrides = [Override("--workers", "queues.default.workers", "9")]
    shown = trace(path, environ={"JOBQUEUE_STATUSES__TTL_S_MAX": "90"}, overrides=overrides).show()
    lines = {line.split(":")[0].strip(): re.sub(" +", " ", line.strip()) for line in shown.splitlines()}
    assert lines["port"] == "port: 1000 # config.yaml:2"
    assert lines["ttl_s_max"] == "ttl_s_max: 1m30s # JOBQUEUE_STATUSES__TTL_S_MAX"
    assert lines["threads"] == "threads: 32 # default"
    assert "    workers: 9                            # --workers\n" in shown
    assert "    workers: 3                            # config.yaml:6\n" in shown


durations = st.floats(min_value=0.0, max_value=3600.0, allow_nan=False)
hosts = st.text(min_size=1, max_size=20).filter(str.isprintable)


waits = st.floats(min_value=0.1, max_value=86_400.0)
rates = st.builds(Rate, st.integers(1, 999_999_999), st.sampled_from(list(PERIODS_S.values())))
queues = st.builds(QueueSettings, discipline=st.sampled_from(Discipline), patience_s=waits, aging_s=st.none() | waits)


@given(
    host=hosts,
    drain_s=durations,
    size=st.integers(1, 2**30),
    folder=st.none() | hosts,
    queue=queues,
    rate=st.none() | rates,
    origins=st.lists(st.sampled_from(["https://a", "http://b:1", "http://[::1]:80"])),
)
def test_shown_settings_load_as_the_same_settings(
    tmp_path_factory: pytest.TempPathFactory,
    host: str,
    drain_s: float,
    size: int,
    folder: str | None,
    queue: QueueSettings,
    rate: Rate | None,
    origins: list[str],
) -> None:
    replace = msgspec.structs.replace
    base = Settings()
    made = replace(
        base,
        server=replace(base.server, host=host, drain_s=drain_s, origins=tuple(origins)),
        queues={"default": queue, "mail": QueueSettings()},
        limits=replace(base.limits, result_bytes=size, body_bytes=size, caller_rate=rate),
        statuses=replace(base.statuses, bytes_max=2**30),
        spool=replace(base.spool, dir=folder),
    )
    path = tmp_path_factory.getbasetemp() / "shown.yaml"
    path.write_text(msgspec.structs.replace(trace(None, environ={}), settings=made).show())
    assert load(path, environ={}) == made


def test_differences_are_listed_by_name_with_both_values(write: Callable[[str], Path]) -> None:
    before = load(write("queues: {mail: {}, slow: {workers: 1}}\nspool: {dir: /a}"), environ={})
    after = load(
        write("queues: {mail: {discipline: lifo, aging_s: 90}, fast: {}}\nlimits: {caller_rate: 5/h}"), environ={}
    )
    assert differences(before, before) == {}
    assert differences(before, after) == {
        "queues.mail.discipline": "fifo -> lifo",
        "queues.mail.aging_s": "null -> 1m30s",
        "queues.fast": "added",
        "queues.slow": "removed",
        "limits.caller_rate": "null -> 5/h",
        "spool.dir": '"/a" -> null',
    }


def test_the_schema_for_editors_is_current() -> None:
    committed = (ROOT / "config.schema.json").read_text()
    assert committed == json_schema.render(), "update it: python -m jobqueue config schema > config.schema.json"


@pytest.mark.parametrize(
    ("section", "name", "good", "bad"),
    [
        ("ServerSettings", "drain_s", ["20s", "1h30m", "0.5ms"], ["20", "1x", "", "30m1h"]),
        ("QueueSettings", "aging_s", ["20s", "1h30m", "0.5ms"], ["20", "1x", "", "30m1h"]),
        ("LimitsSettings", "body_bytes", ["1MiB", "1.5 GiB"], ["1M", "1", ""]),
    ],
)
def test_the_schema_knows_the_units(section: str, name: str, good: list[str], bad: list[str]) -> None:
    schema: dict[str, Any] = json.loads(json_schema.render())
    number, text, *null = schema["$defs"][section]["properties"][name]["anyOf"]
    assert number["type"] in ("number", "integer")
    assert null in ([], [{"type": "null"}])
    assert all(re.search(text["pattern"], value) for value in good)
    assert not any(re.search(text["pattern"], value) for value in bad)


def test_the_schema_has_a_rate_as_a_string() -> None:
    schema: dict[str, Any] = json.loads(json_schema.render())
    rate, null = schema["$defs"]["LimitsSettings"]["properties"]["caller_rate"]["anyOf"]
    assert (rate, null) == ({"$ref": "#/$defs/Rate"}, {"type": "null"})
    pattern = schema["$defs"]["Rate"]["pattern"]
    assert re.search(pattern, "600/m")
    assert not re.search(pattern, "10/x")


def test_the_schema_describes_every_setting() -> None:
    sections: dict[str, Any] = json.loads(json_schema.render())["$defs"]
    settings = [of for section in sections.values() for of in section.get("properties", {}).values()]
    assert len(settings) > 40
    assert all(of["description"].endswith(".") for of in settings if "$ref" not in of)
