"""The leak check notices each kind of leak, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.leaks import held, leaked

ROOT = Path(__file__).parent.parent

LEAKS = {
    "a_task": "asyncio.create_task(asyncio.sleep(60), name='left')",
    "a_thread": "threading.Thread(target=forever.wait, daemon=True).start()",
    "a_process": "kept.append(subprocess.Popen(['sleep', '5']))",
    "a_zombie": "os.fork() or os._exit(0)",
    "a_descriptor": "kept.append(os.open('/dev/null', os.O_RDONLY))",
    "a_socket": "kept.append(socket.socket())",
    "a_coroutine_never_awaited": "asyncio.sleep(0)",
    "a_coroutine_never_awaited_in_a_cycle": "cycle(asyncio.sleep(0))",
    "an_unclosed_socket_in_a_cycle": "cycle(socket.socket())",
    "an_error_never_retrieved": "asyncio.get_running_loop().create_future().set_exception(ValueError())",
    "a_task_that_was_destroyed": "asyncio.create_task(forgotten()); await asyncio.sleep(0); gc.collect()",
}
NO_LEAKS = {
    "nothing": "pass",
    "a_task_that_ends": "await asyncio.create_task(asyncio.sleep(0))",
    "a_thread_that_ends_soon": "threading.Timer(0.1, print).start()",
    "an_executor": "await asyncio.to_thread(print)",
    "a_process_that_was_waited_for": "await (await asyncio.create_subprocess_exec('true')).wait()",
    "a_descriptor_closed_soon": "threading.Timer(0.1, os.close, [os.open('/dev/null', os.O_RDONLY)]).start()",
    "a_closed_socket": "socket.socket().close()",
    "an_object_that_its_module_keeps": "objects.append([objects])",
}
FILE = """
import asyncio, gc, os, socket, subprocess, threading
from tests import leaks

leaks.PATIENCE_S = 0.5
kept, objects, forever = [], [], threading.Event()

def cycle(thing):
    around = [thing]
    around.append(around)

async def forgotten():
    await asyncio.get_running_loop().create_future()
"""
LATER_FILE = """
import gc, test_all

def test_collections_after_a_module_visit_nothing_of_it():
    assert not any(each is test_all.objects[0] for each in gc.get_objects())
"""
THAWING_FILE = """
import gc

def test_that_ends_all_exemptions():
    gc.unfreeze()
"""


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Run a test for each statement under the leak check; return those that failed, and the whole output as ""."""
    folder = tmp_path_factory.mktemp("leaks")
    tests = [f"async def test_{name}():\n    {code}\n" for name, code in {**LEAKS, **NO_LEAKS}.items()]
    (folder / "test_all.py").write_text("\n\n".join([FILE, *tests]))
    (folder / "test_later.py").write_text(LATER_FILE)
    (folder / "test_thawing.py").write_text(THAWING_FILE)
    shutil.copy(ROOT / "tests" / "conftest.py", folder)
    options = (
        "-q",
        "-rap",
        "-p",
        "no:cacheprovider",
        "-c",
        ROOT / "pyproject.toml",
        "--rootdir",
        folder,
        "-o",
        f"pythonpath={ROOT}",
    )
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, folder],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return dict(re.findall(r"^(?:ERROR|FAILED) \S+::test_(\w+)(.*)$", ran.stdout, re.MULTILINE)) | {"": ran.stdout}


@pytest.mark.parametrize("name", LEAKS)
def test_each_kind_of_leak_fails_its_test(failed: dict[str, str], name: str) -> None:
    assert name in failed, failed[""]


@pytest.mark.parametrize("name", NO_LEAKS)
def test_a_test_that_cleans_up_passes(failed: dict[str, str], name: str) -> None:
    assert name not in failed, failed[""]


def test_collections_after_a_module_visit_nothing_that_it_left(failed: dict[str, str]) -> None:
    passed = re.findall(r"^PASSED \S+/test_later.py::(\w+)", failed[""], re.MULTILINE)
    assert passed == ["test_collections_after_a_module_visit_nothing_of_it"], failed[""]


def test_a_test_that_ends_all_exemptions_fails(failed: dict[str, str]) -> None:
    assert "that_ends_all_exemptions" in failed
    assert "has called gc.unfreeze" in failed[""], failed[""]


def test_the_check_takes_less_than_two_milliseconds() -> None:
    before = held()
    began = time.process_time()
    for _ in range(100):
        assert leaked(before) == []
    assert (time.process_time() - began) / 100 < 0.002
