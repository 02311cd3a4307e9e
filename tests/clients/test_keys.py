"""Keys of the fleet: where they come from, and that a fleet without access ends at once."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from clients import options
from clients.behaviours.base import DENIALS
from clients.report import Report
from jobqueue.client.credentials import Secret
from tests.clients.fleet_run import run_fleet
from tests.clients.test_main import figures, run

if TYPE_CHECKING:
    from pathlib import Path

    from tests.clients.stub import Stub

KEY = "jq_7f3k_" + "Zq9-x_" * 7
OTHER = "jq_8a2m_" + "Yw4" * 14


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOBQUEUE_URL", "JOBQUEUE_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


# -- options


def test_the_environment_has_the_url_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQUEUE_URL", "http://127.0.0.1:9000/")
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    found = options.parse([])
    assert (found.url, found.key) == ("http://127.0.0.1:9000", KEY)


@pytest.mark.parametrize("empty", [True, False])
def test_without_a_variable_the_url_has_its_default_and_no_key_is_sent(
    monkeypatch: pytest.MonkeyPatch, empty: bool
) -> None:
    if empty:
        monkeypatch.setenv("JOBQUEUE_URL", "")
        monkeypatch.setenv("JOBQUEUE_KEY", "")
    assert (options.parse([]).url, options.parse([]).key) == ("http://127.0.0.1:8080", "")


def test_arguments_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, key_file: Path) -> None:
    monkeypatch.setenv("JOBQUEUE_URL", "nonsense")
    monkeypatch.setenv("JOBQUEUE_KEY", "nonsense, too")
    found = options.parse(["--url", "http://host", "--key-file", str(key_file)])
    assert (found.url, found.key) == ("http://host", KEY)
    assert options.parse(["--url", "http://host", "--key", OTHER]).key == OTHER


def test_a_user_in_the_url_is_sent_instead_of_the_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    assert options.parse(["--url", "http://ada:secret@host"]).key == ""


@pytest.mark.parametrize(
    ("argv", "environ", "hint"),
    [
        (["--key", f"{KEY}\n"], {}, "argument --key: the key begins or ends with a blank or a line break: remove it"),
        (["--key", KEY, "--key-file", "KEY_FILE"], {}, "argument --key-file: not allowed with argument --key"),
        (["--key-file", "/no/such/file"], {}, "argument --key-file: /no/such/file can't be read: No such file"),
        (["--key-file", "TWO_KEYS"], {}, "must hold one key, in one line"),
        (["--key-file", "EMPTY"], {}, "must hold one key, in one line"),
        ([], {"JOBQUEUE_KEY": f"{KEY} {KEY}"}, "JOBQUEUE_KEY: the key is no API key: it has a blank"),
        ([], {"JOBQUEUE_URL": "host:8080"}, "JOBQUEUE_URL: 'host:8080' is not a server URL"),
        (["--url", "http://ada:secret@host", "--key", KEY], {}, "a key and a user in the URL are two credentials"),
    ],
)
def test_a_wrong_key_or_url_prints_one_line_without_the_key(
    argv: list[str],
    environ: dict[str, str],
    hint: str,
    key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    two, none = key_file.with_name("two"), key_file.with_name("none")
    two.write_text(f"{KEY}\n{OTHER}\n")
    none.write_text("\n")
    paths = {"KEY_FILE": str(key_file), "TWO_KEYS": str(two), "EMPTY": str(none)}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(SystemExit, match="2"):
        options.parse([paths.get(word, word) for word in argv])
    err = capsys.readouterr().err
    assert hint in err
    assert err.count("\n") == 1
    assert "Zq9" not in err


def test_the_help_has_no_key_and_names_the_safer_ways(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    with pytest.raises(SystemExit, match="0"):
        options.parse(["--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "list of processes: rather set the variable, or use --key-file" in out
    assert "Zq9" not in out


def test_the_options_of_a_process_do_not_show_the_key_and_carry_it_to_another() -> None:
    found = options.parse(["--key", KEY])
    assert "Zq9" not in repr(found)
    copy = pickle.loads(pickle.dumps(found))
    assert copy.key == KEY
    assert isinstance(copy.key, Secret)


# -- runs


@pytest.mark.parametrize("via", ["head", "get", "wait", "events", "batch"])
async def test_every_request_of_a_fleet_has_the_key(stub: Stub, via: str) -> None:
    stub.ends_as = "failed"  # so that each end is asked for its reason, too

    report = await run_fleet(stub, via=via, key=Secret(KEY), duration_s=0.2)

    assert report.ended > 0
    assert stub.authorizations == {f"Bearer {KEY}"}


def denied(report: Report) -> str:
    assert report.exit_code == 1
    return report.verdict


@pytest.mark.parametrize("status", DENIALS)
@pytest.mark.parametrize("options", [{"via": "head"}, {"via": "wait"}, {"rate": 200.0}])
async def test_a_denied_submission_ends_the_fleet_at_once(stub: Stub, status: int, options: dict[str, Any]) -> None:
    stub.submissions.extend([str(status)] * 1000)
    stub.problem = {"detail": "the server does not know this key"}

    report = await run_fleet(stub, clients=4, duration_s=60.0, key=Secret(KEY), **options)

    why = f"HTTP {status}: the server does not know this key"
    assert denied(report) == f"{stub.url} denies access to this API key: {why}."
    assert report.elapsed_s < 30
    assert report.invalid <= 4 * 2


async def test_a_denied_batch_ends_the_fleet_at_once(stub: Stub) -> None:
    stub.submissions.extend(["whole 401"] * 1000)

    report = await run_fleet(stub, via="batch", duration_s=60.0)

    missing = "requests without an API key (--key-file, JOBQUEUE_KEY)"
    assert denied(report) == f"{stub.url} denies access to {missing}: HTTP 401: denied."
    assert report.elapsed_s < 30


@pytest.mark.parametrize(
    ("via", "answers", "why"),
    [
        ("head", "polls", ""),
        ("get", "polls", ": gone"),
        ("batch", "polls", ": denied"),
        ("wait", "waits", ": gone"),
        ("events", "streams", ": gone"),
    ],
)
async def test_a_denied_read_ends_the_fleet_and_tells_of_the_accepted_jobs(
    stub: Stub, via: str, answers: str, why: str
) -> None:
    getattr(stub, answers).extend(["403"] * 1000)

    report = await run_fleet(stub, via=via, duration_s=60.0, key=Secret(KEY))

    lost = "3 jobs were accepted but never seen to end."
    assert denied(report) == f"{stub.url} denies access to this API key: HTTP 403{why}. {lost}"
    assert report.elapsed_s < 30


async def test_a_fleet_with_an_unknown_key_prints_one_line_and_no_table(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_KEY", KEY)
    stub.submissions.extend(["401"] * 1000)
    stub.problem = {"detail": "unknown key"}
    path = tmp_path / "report.json"

    code, out, _ = await run(stub, "--duration-s", "60", "--processes", "2", "--report", str(path))

    assert code == 1
    assert " ".join(out.split()) == f"{stub.url} denies access to this API key: HTTP 401: unknown key."
    assert figures(path)["denial"] == "HTTP 401: unknown key"
    assert "Zq9" not in path.read_text()
    assert stub.authorizations == {f"Bearer {KEY}"}
