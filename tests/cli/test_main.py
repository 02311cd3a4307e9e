"""The command line: flags, exit codes, and messages for mistyped ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobqueue import __version__, demo, server
from jobqueue.build import build, interpreter
from jobqueue.cli.main import groups, main, whole_parser
from jobqueue.config import Settings, json_schema
from jobqueue.errors import ConfigError
from jobqueue.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jobqueue.config.load import Loaded

ROOT = Path(__file__).parents[2]

TASKS = """
from jobqueue import JobQueue
from neighbour import NAME

queue = JobQueue()
other = JobQueue()
text = "a text"

@queue.handler(name=NAME)
async def hello() -> str:
    return "hello"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current folder; modules imported from it are removed after the test."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("JOBQUEUE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def reloads() -> list[Callable[[], Settings]]:
    """The functions passed to the server to load the settings again."""
    return []


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, reloads: list[Callable[[], Settings]]) -> list[tuple[Service, Settings]]:
    """The queues and settings passed to the server, which does not start."""
    served: list[tuple[Service, Settings]] = []

    def serve(service: Service, loaded: Loaded, *, load: Callable[[], Loaded]) -> int:
        served.append((service, loaded.settings))
        reloads.append(lambda: load().settings)
        return 0

    monkeypatch.setattr(server, "serve", serve)
    return served


@pytest.fixture
def tasks(folder: Path) -> Path:
    (folder / "app").mkdir()
    (folder / "app" / "neighbour.py").write_text("NAME = 'greet'")
    path = folder / "app" / "tasks_of_test.py"
    path.write_text(TASKS)
    return path


# Targets


def test_serve_without_a_target_serves_the_demo_with_the_defaults(served: list[tuple[Service, Settings]]) -> None:
    assert main(["serve"]) == 0
    ((service, settings),) = served
    assert service is demo.queue.service
    assert settings.server.port == 8080


@pytest.mark.parametrize("attribute", ["", ":", ":queue"])
def test_a_file_is_imported_under_its_stem_and_can_import_its_neighbours(
    tasks: Path, served: list[tuple[Service, Settings]], attribute: str
) -> None:
    assert main(["serve", f"app/tasks_of_test.py{attribute}"]) == 0
    ((service, _),) = served
    assert service is sys.modules["tasks_of_test"].queue.service
    (handler,) = service.registry
    assert (handler.name, handler.func.__module__) == ("greet", "tasks_of_test")


def test_a_module_is_found_in_the_current_folder(
    tasks: Path, served: list[tuple[Service, Settings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tasks.parent)
    assert main(["serve", "tasks_of_test:other"]) == 0
    ((service, _),) = served
    assert service is sys.modules["tasks_of_test"].other.service


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("app/missing.py", "app/missing.py: no such file"),
        ("app/missing.py:queue", "app/missing.py: no such file"),
        ("missing_module", "no module named 'missing_module', neither here nor installed"),
        ("jobqueue.missing:queue", "no module named 'jobqueue.missing', neither here nor installed"),
        ("app/tasks_of_test.py:missing", "has no 'missing'; it has app/tasks_of_test.py:queue, app/tasks_of_"),
        ("app/tasks_of_test.py:text", "'text' in app/tasks_of_test.py is of type str, not a JobQueue; it has"),
        ("app/turtle.py", "'turtle' can't be imported as a module's name: rename the file"),
        ("app/broken.py", "app/broken.py can't be imported:\n"),
        ("app/lacking.py", "No module named 'not_installed_anywhere'"),
        ("app/tasks", "'app/tasks' is neither a module name nor a .py file"),
        ("app/broken", "'app/broken' is not a module name; did you mean app/broken.py?"),
        ("app/", "'app/' is a folder: give MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE"),
        ("app/notes.md", "'app/notes.md' is not a .py file: give MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE"),
        ("notes", "'notes' is not a .py file"),
        ("app/leaving.py", "app/leaving.py can't be imported:\n"),
        ("app/leaving.py", "SystemExit: 3"),
        ("app/classy.py", "'queue' in app/classy.py is the class itself: create an instance, queue = JobQueue()"),
        ("app/factory.py", "is of type function, not a JobQueue: use its return value"),
        (":queue", "':queue' is not a valid target: give MODULE:ATTRIBUTE or PATH.py:ATTRIBUTE"),
        ("jobqueue.demo:a:b", "'jobqueue.demo:a:b' is not a valid target"),
    ],
)  # fmt: skip
def test_an_invalid_target_prints_an_error_and_exits_with_2(
    tasks: Path,
    served: list[tuple[Service, Settings]],
    capsys: pytest.CaptureFixture[str],
    target: str,
    message: str,
) -> None:
    for name, text in {
        "turtle": "",
        "broken": "def f():\n    1 / 0\n\nf()",
        "lacking": "import not_installed_anywhere",
        "leaving": "import sys\nsys.exit(3)",
        "classy": "from jobqueue import JobQueue\nqueue = JobQueue",
        "factory": "def queue(): ...",
    }.items():
        (tasks.parent / f"{name}.py").write_text(text)
    (tasks.parent / "notes.md").touch()
    (tasks.parent.parent / "notes").touch()
    assert main(["serve", target]) == 2
    err = capsys.readouterr().err
    assert err.startswith("jobqueue serve: ")
    assert message in err
    assert "jobqueue/cli/target.py" not in err
    assert not served


def test_the_traceback_of_a_broken_module_begins_in_that_module(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tasks.parent / "broken.py").write_text("def f():\n    1 / 0\n\nf()")
    main(["serve", "app/broken.py"])
    _, first, *_, last = capsys.readouterr().err.strip().splitlines()
    assert first.endswith('app/broken.py", line 4, in <module>')
    assert last == "ZeroDivisionError: division by zero"


def test_the_traceback_of_an_invalid_registration_has_only_the_line_of_the_module(
    tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "from jobqueue import JobQueue\nqueue = JobQueue()\n@queue.handler(timeout=3)\ndef f(): ..."
    (tasks.parent / "refused.py").write_text(text)
    main(["serve", "app/refused.py"])
    err = capsys.readouterr().err
    assert err.count('  File "') == 1
    assert err.endswith("TypeError: handler() has no option 'timeout'; did you mean 'timeout_s'?\n")


# Settings


def test_flags_override_the_environment_and_the_file(
    folder: Path, served: list[tuple[Service, Settings]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "config.yaml").write_text("server: {port: 1, host: file.example, drain_s: 5}")
    monkeypatch.setenv("JOBQUEUE_SERVER__PORT", "2")
    monkeypatch.setenv("JOBQUEUE_SERVER__HOST", "environment.example")
    main(
        [
            "serve",
            "--port",
            "3",
            "--workers",
            "4",
            "--capacity",
            "5",
            "--discipline",
            "lifo",
            "--set",
            "queues.mail.workers=6",
        ]
    )
    ((_, settings),) = served
    assert (settings.server.port, settings.server.host, settings.server.drain_s) == (3, "environment.example", 5.0)
    default = settings.queues["default"]
    assert (default.workers, default.capacity, default.discipline) == (4, 5, "lifo")
    assert settings.queues["mail"].workers == 6


def test_config_names_a_file_that_must_exist(
    folder: Path, served: list[tuple[Service, Settings]], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "config.yaml").write_text("server: {port: 1}")
    (folder / "other.yaml").write_text("server: {port: 2}")
    assert main(["serve", "--config", "other.yaml"]) == 0
    assert [settings.server.port for _, settings in served] == [2]
    assert main(["serve", "--config", "missing.yaml"]) == 2
    assert capsys.readouterr().err == "missing.yaml: can't be read: No such file or directory\n"


def test_a_reload_reads_the_same_sources(
    folder: Path,
    served: list[tuple[Service, Settings]],
    reloads: list[Callable[[], Settings]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "config.yaml").write_text("queues: {default: {workers: 1, capacity: 1, weight: 1}}")
    monkeypatch.setenv("JOBQUEUE_QUEUES__DEFAULT__WORKERS", "2")
    main(["serve", "--capacity", "3"])
    (load,) = reloads
    assert load() == served[0][1]
    (folder / "config.yaml").write_text("queues: {default: {workers: 9, capacity: 9, weight: 9}}")
    default = load().queues["default"]
    assert (default.workers, default.capacity, default.weight) == (2, 3, 9)


def test_a_file_missing_at_a_reload_is_a_fault(
    folder: Path, served: list[tuple[Service, Settings]], reloads: list[Callable[[], Settings]]
) -> None:
    (folder / "config.yaml").write_text("server: {port: 1}")
    main(["serve"])
    (folder / "config.yaml").unlink()
    with pytest.raises(ConfigError, match=r"^config\.yaml: can't be read: No such file or directory$"):
        reloads[0]()


def test_a_file_created_after_the_start_is_read_by_a_reload(
    folder: Path, served: list[tuple[Service, Settings]], reloads: list[Callable[[], Settings]]
) -> None:
    main(["serve"])
    (folder / "config.yaml").write_text("server: {port: 1}")
    assert reloads[0]().server.port == 1


def test_a_pipe_is_read_at_the_start_and_cannot_be_reloaded(
    folder: Path, served: list[tuple[Service, Settings]], reloads: list[Callable[[], Settings]]
) -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, b"server: {port: 7}")
        os.close(writing)
        main(["serve", "--config", f"/dev/fd/{reading}"])
        assert served[0][1].server.port == 7
        with pytest.raises(ConfigError, match="not a regular file, so it can't be reloaded"):
            reloads[0]()
    finally:
        os.close(reading)


@pytest.mark.parametrize("command", [["serve"], ["config", "check"], ["config", "show"]])
def test_each_fault_of_the_settings_is_one_line_and_the_exit_code_is_2(
    folder: Path, served: list[tuple[Service, Settings]], capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    (folder / "config.yaml").write_text("queues:\n  default:\n    capacityy: 1\n")
    assert main([*command, "--port", "x", "--set", "a.b=1"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "config.yaml:3:5: queues.default.capacityy: unknown setting, did you mean 'queues.default.capacity'?",
        f"--set a.b: unknown setting; known settings: {', '.join(Settings.__struct_fields__)}",
        "--port: must be a whole number from 0 to 65535, or null, not 'x'",
    ]
    assert not served


def test_check_prints_ok_and_the_sources(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "configuration OK: no file\n"
    (folder / "config.yaml").write_text("server: {port: 1}")
    monkeypatch.setenv("JOBQUEUE_SERVER__PORT", "2")
    monkeypatch.setenv("JOBQUEUE_SERVER__HOST", "::1")
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().out == "configuration OK: config.yaml, 2 environment variables\n"


def test_check_warns_of_a_journal_that_the_records_may_fill_for_good(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = folder / "config.yaml"
    settings.write_text("journal: {dir: jobs, bytes_max: 256MiB}\nstatuses: {bytes_max: 1GiB}")
    assert main(["config", "check"]) == 0
    out, err = capsys.readouterr()
    assert out == "configuration OK: config.yaml\n"
    assert err.startswith("warning: journal.bytes_max is 268435456, and the records that")
    needed = err.split(": set it to ")[1].split(" bytes")[0]
    settings.write_text(f"journal: {{dir: jobs, bytes_max: {needed}}}\nstatuses: {{bytes_max: 1GiB}}")
    assert main(["config", "check"]) == 0
    assert capsys.readouterr().err == ""


def test_a_variable_with_one_underscore_is_a_fault_in_every_command(
    served: list[tuple[Service, Settings]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBQUEUE_SERVER_PORT", "1")
    for command in (["config", "check"], ["config", "show"], ["serve"]):
        assert main(command) == 2
        message = "JOBQUEUE_SERVER_PORT: unknown setting, did you mean 'JOBQUEUE_SERVER__PORT'?\n"
        assert capsys.readouterr().err == message
    assert not served


def test_a_mistyped_setting_is_suggested_with_its_full_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "check", "--set", "server.prot=1"]) == 2
    assert capsys.readouterr().err == "--set server.prot: unknown setting, did you mean 'server.port'?\n"


def test_a_tilde_expands_to_the_home_folder_in_every_path(
    folder: Path,
    tasks: Path,
    served: list[tuple[Service, Settings]],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(folder))
    (folder / "settings.yaml").write_text("server: {port: 7}")
    assert main(["serve", "~/app/tasks_of_test.py", "--config=~/settings.yaml"]) == 0
    assert [settings.server.port for _, settings in served] == [7]
    assert main(["serve", "--config=~no-such-user/x.yaml"]) == 2
    assert main(["serve", "~no-such-user/tasks.py"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "--config: ~no-such-user is not a home folder",
        "jobqueue serve: ~no-such-user/tasks.py: ~no-such-user is not a home folder",
    ]
    assert not (folder / "~").exists()


@pytest.mark.parametrize("target", [[], ["tasks_of_test"], ["tasks_of_test.py"]])
def test_a_deleted_current_folder_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, target: list[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(["serve", *target]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jobqueue serve: ")
    assert "deleted" in line or "no such file" in line


def test_show_prints_the_source_of_each_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "show", "--port", "9"]) == 0
    assert "  port: 9                                 # --port\n" in capsys.readouterr().out


def test_schema_prints_the_file_for_editors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "schema"]) == 0
    assert capsys.readouterr().out == json_schema.render()


# Arguments


@pytest.mark.parametrize(
    "argv", [[], ["config"], ["serve", "a", "b"], ["--nonsense"], ["--vers"], ["serve", "--set", "port"]]
)
def test_an_invalid_command_line_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["serv"], "jobqueue: error: argument COMMAND: invalid choice: 'serv', did you mean 'serve'?"),
        (["config", "chek"], "jobqueue config: error: argument COMMAND: invalid choice: 'chek', did you mean 'check'?"),
        (["serve", "--prot", "1"], "jobqueue: error: unrecognized arguments: --prot, did you mean '--port'?"),
        ([], f"jobqueue: error: a command is missing; there are: {', '.join(group.name for group in groups(''))}"),
        (
            ["config"],
            "jobqueue config: error: a command is missing; there are: init, check, show, diff, default, schema, "
            "reference",
        ),
        (["serve", "a", "b"], "jobqueue: error: unrecognized arguments: b; see jobqueue --help"),
        (["config", "show", "--sett=a"], "jobqueue: error: unrecognized arguments: --sett=a, did you mean '--set'?"),
    ],
)  # fmt: skip
def test_a_mistyped_command_or_flag_is_a_one_line_error_with_a_suggestion(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{message}\n"


def test_an_abbreviated_flag_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--work", "3"])
    assert "unrecognized arguments: --work" in capsys.readouterr().err


def test_python_m_jobqueue_is_the_same_command_line() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "jobqueue", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ran.stdout == f"jobqueue {__version__}, {build()}, {interpreter()}\n"


IMPORT_ALL = """
import importlib, pkgutil, jobqueue
for module in pkgutil.walk_packages(jobqueue.__path__, "jobqueue."):
    if module.name != "jobqueue.__main__":
        importlib.import_module(module.name)
assert False, "optimised"
"""


def test_all_modules_and_help_work_without_docstrings_and_assertions() -> None:
    python = [sys.executable, "-OO"]
    subprocess.run([*python, "-c", IMPORT_ALL], cwd=ROOT, check=True)
    for arguments in (["--version"], ["--help"], ["serve", "--help"], ["config", "--help"], ["config", "check"]):
        subprocess.run([*python, "-m", "jobqueue", *arguments], cwd=ROOT, check=True, capture_output=True)


def test_serve_imports_nothing_of_the_other_commands() -> None:
    script = (
        "import sys; from jobqueue.__main__ import main; sys.argv = ['jobqueue', 'serve', '--port', 'x']; main();"
        "print(*sorted(name for name in sys.modules if name.startswith('jobqueue.cli.')));"
        "print(*({'jobqueue.client', 'rich', 'shtab', 'watchfiles'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, foreign = ran.stdout.splitlines()
    assert ours.split() == [f"jobqueue.cli.{part}" for part in ("command", "main", "parser", "serve", "settings")]
    assert foreign == ""


def test_a_command_that_asks_a_server_imports_neither_its_packages_nor_its_settings() -> None:
    script = (
        "import sys; from jobqueue.__main__ import main;"
        "sys.argv = ['jobqueue', 'queues', '--url', 'http://127.0.0.1:1']; code = main();"
        "print(code, *({'aiohttp', 'uvloop', 'yaml', 'rich', 'jobqueue.config', 'jobqueue.app'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "4\n"
    assert ran.stderr == "jobqueue: http://127.0.0.1:1 can't be reached: Connection refused\n"


def test_every_group_of_commands_is_a_module_with_rows() -> None:
    parser = whole_parser()
    (below,) = (action for action in parser._actions if action.metavar == "COMMAND")
    assert list(below.choices or ()) == [group.name for group in groups("")]


BASE_ONLY = """
import sys
for name in ("aiohttp", "orjson", "prometheus_client", "psutil", "rich", "shtab", "uvloop", "watchfiles", "yaml"):
    sys.modules[name] = None
from jobqueue.__main__ import main
sys.argv = ["jobqueue", *{words}]
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["queues", "--url", "http://127.0.0.1:1"], 4, "http://127.0.0.1:1 can't be reached: Connection refused"),
        (["status", "-q", "--url", "http://127.0.0.1:1"], 4, "can't be reached"),
        (["submit", "echo", "--url", "http://127.0.0.1:1", "-o", "table"], 4, "can't be reached"),
        (["completions", "bash"], 2, "ephemeral-jobqueue[cli]"),
        (["serve"], 2, "ephemeral-jobqueue[server]"),
        (["config", "check"], 2, "ephemeral-jobqueue[server]"),
    ],
)
def test_the_client_alone_is_enough_for_commands_that_ask_a_server(
    tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    script = BASE_ONLY.format(words=words)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (ran.returncode, message in ran.stderr) == (code, True), ran.stderr
    assert ran.stderr.count("\n") == 1
