"""The compiled form itself. On demand, in the tree that it makes: `make test-compiled`; it fails on a pure package."""

from __future__ import annotations

import subprocess
import sys
import traceback
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest

from jobqueue import JobContext, JobQueue, JobState
from jobqueue.build import build
from jobqueue.core.events import Ended, Started, Submitted
from jobqueue.core.ids import IdIssuer
from jobqueue.testing import EventRecorder, inline, virtual_time
from tests.packaging.programs import ROOT, compiled

pytestmark = pytest.mark.slow


def dotted(path: str) -> str:
    return path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


@pytest.mark.parametrize("path", compiled.modules(ROOT))
def test_a_listed_module_is_an_extension_module_of_this_tree(path: str) -> None:
    file = import_module(dotted(path)).__file__
    assert file is not None
    assert file.endswith(tuple(EXTENSION_SUFFIXES)), f"{file}: run make test-compiled"
    assert Path(file).is_relative_to(ROOT)


def test_the_form_is_known_at_run_time() -> None:
    assert build() == "compiled"
    ran = subprocess.run(
        [sys.executable, "-m", "jobqueue", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert ", compiled, CPython " in ran.stdout


def test_a_compiled_frame_shows_its_file_its_line_and_its_source_in_a_traceback() -> None:
    with pytest.raises(ValueError, match="16 bytes") as raised:
        IdIssuer(secret=b"short", run=4096)
    frame = traceback.extract_tb(raised.value.__traceback__)[-1]
    path, name = "jobqueue/core/ids.py", frame.name
    assert frame.filename.endswith(path)
    assert name == "__init__"
    assert frame.lineno is not None
    assert "raise ValueError" in (ROOT / path).read_text().splitlines()[frame.lineno - 1]
    assert frame.line is not None
    assert frame.line.startswith("raise ValueError")


@virtual_time
async def test_the_test_kit_records_and_waits_and_runs_inline_on_the_compiled_form() -> None:
    queue = JobQueue()

    @queue.handler
    async def double(number: int, ctx: JobContext) -> int:
        return number * 2

    async with inline(queue):
        recorder = EventRecorder(queue)
        job = await queue.submit("double", {"number": 21})
        document = await job.status()
        recorder.close()

    assert document.state is JobState.SUCCEEDED
    assert [len(recorder.of(kind)) for kind in (Submitted, Started, Ended)] == [1, 1, 1]
