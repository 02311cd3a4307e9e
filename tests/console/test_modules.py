"""The console's modules that need no browser, by node's own test runner; and the texts to copy, run against a server.

The tests of the modules are in the files `js/*.test.mjs`; each file is one test here, whose report has theirs.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.processes import ROOT, ServerProcess
from tests.e2e.test_keys import new_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HERE = Path(__file__).parent / "js"
NODE = shutil.which("node")
JS_CLIENT = str(ROOT / "clients/js/jobqueue.js")
CURL = shutil.which("curl")

pytestmark = pytest.mark.skipif(NODE is None, reason="there is no `node` (Debian: apt install nodejs)")

HOSTILE: dict[str, Any] = {
    "quotes": """it's "quoted" `id` $(touch /tmp/x) ${HOME} $HOME \\ \\n \\' !! # ; & | > < * ? ~ %s""",
    "lines": "one\ntwo\r\nthree\ttab",
    "controls": "\x00\x01\x1b[31m\x7f\x85",
    "directions": "\u202egnp.exe\u202c\u200b\u2028\ufeff",
    "unicode": "é ü 漢字 😀 \U000e0041 👩‍👩‍👧",
    "numbers": [12345678901234567890, -9223372036854775808, 1.5, 1e300, 0, -1],
    "words": [True, False, None, "true", "null", ""],
    "nested": {"a": [{"b": [[]]}, {}], "": "empty name"},
    "a name with 'quotes' and $(id)": 1,
    "__proto__": {"polluted": True},
    "-x": "--help",
    "@": "@/etc/passwd",
}


def run_in_node(name: str, given: str = "") -> str:
    """Run a file in node; return its standard output."""
    assert NODE is not None
    flags = ["--test", "--test-reporter=spec"] if ".test." in name else []
    environment = {key: value for key, value in os.environ.items() if not key.startswith("NODE_")}
    ended = subprocess.run(
        [NODE, *flags, str(HERE / name)],
        input=given,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    print(ended.stdout)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*.test.mjs")))
def test_a_module_of_the_console_keeps_its_rules(name: str) -> None:
    run_in_node(name)


def test_the_guide_has_each_condition_of_the_filter_language() -> None:
    source = (ROOT / "jobqueue/http/console/data/filter.js").read_text()
    names = set(re.findall(r'^  "?([a-z~]+)"?: \{key:', source, re.MULTILINE))
    guide = (ROOT / "docs/how-to/console.md").read_text()
    assert len(names) > 10
    assert {name for name in names if f"| `{name}:`" not in guide and f", `{name}:`" not in guide} == set()


class Copied:
    """A server with one key, and the texts that the console offers for a job of it."""

    def __init__(self, server: ServerProcess, key: str) -> None:
        self.server = server
        self.key = key

    def ask(self, path: str, document: object = None) -> Any:
        body = None if document is None else json.dumps(document).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.server.url + path, body, headers)) as response:
            return json.loads(response.read())

    def texts(self, args: Mapping[str, Any], **options: Any) -> tuple[dict[str, Any], dict[str, str]]:
        """Submit a job; return its document, and the texts by their names."""
        made = self.ask("/v1/jobs", {"type": "echo", "args": args, **options})
        job = self.ask(f"/v1/jobs/{made['id']}?include=args,spec,files")
        given = {
            "job": job,
            "args": json.dumps(args),
            "spec": job["spec"],
            "files": [],
            "url": self.server.url + "/",
            "keys": True,
        }
        texts: dict[str, str] = json.loads(run_in_node("copies.mjs", json.dumps(given)))
        return job, texts

    def newest(self) -> Any:
        """Return the newest job, with its arguments."""
        newest = self.ask("/v1/jobs?limit=1")["jobs"][0]["id"]
        return self.ask(f"/v1/jobs/{newest}?include=args,spec")

    def run(self, command: list[str], folder: Path) -> None:
        environment = {**os.environ, "JOBQUEUE_KEY": self.key, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    folder = tmp_path_factory.mktemp("copies")
    key = new_key(folder / "keys.yaml", "tests", "submit,read")
    settings = (f"auth.keys_file={folder / 'keys.yaml'}", "queues.default.workers=50")
    handlers = folder / "echoing.py"
    handlers.write_text(
        "from __future__ import annotations\nimport asyncio\nfrom typing import Any\nfrom jobqueue import JobQueue\n"
        "queue = JobQueue()\n\n@queue.handler\nasync def echo(**args: Any) -> None:\n    await asyncio.Event().wait()\n"
    )
    with ServerProcess(folder / "spool", str(handlers), *settings) as server:
        yield Copied(server, key)


@pytest.fixture
def wider_fixtures_change() -> bool:
    """The server starts with the first test that needs it."""
    return True


COMMANDS = {
    "curl": lambda text: ["bash", "-c", text.replace("curl", "curl --silent --fail-with-body", 1)],
    "Python": lambda text: [sys.executable, "-c", text],
    "JavaScript": lambda text: [
        "node",
        "--input-type=module",
        "-e",
        text.replace("./jobqueue.js", f"{ROOT}/clients/js/jobqueue.js"),
    ],
    "CLI": lambda text: ["bash", "-c", text.replace("jobqueue", f"{sys.executable} -m jobqueue", 1)],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_copied_text_submits_the_same_job(name: str, copied: Copied, tmp_path: Path) -> None:
    if name == "curl" and CURL is None:
        pytest.skip("there is no `curl` (Debian: apt install curl)")
    args = dict(HOSTILE)
    if name == "JavaScript":
        args["numbers"] = [1.5, 1e300, 0, -1, 9007199254740991]  # it warns of others
    group = """g'r"o$(id)\u202e\nup"""
    job, texts = copied.texts(args, group=group, priority=3, attempts_max=2, ttl_s=77.5, timeout_s=12)
    copied.run(COMMANDS[name](texts[name]), tmp_path)
    again = copied.newest()
    assert again["id"] != job["id"]
    assert again["args"] == args
    for member in ("type", "queue", "group", "priority", "attempts_max"):
        assert again[member] == job[member], member
    for member in ("ttl_s", "timeout_s"):
        assert again["spec"][member] == job["spec"][member], member


def test_a_text_warns_of_numbers_that_javascript_changes(copied: Copied) -> None:
    assert copied.texts({"n": 12345678901234567890})[1]["warnings"] == ["numbers"]
