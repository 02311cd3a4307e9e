"""The Makefile: variables and help; no recipe runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run-clients", "CLIENT=50"], "make run-clients does not take CLIENT; it takes ARGS CLIENTS DURATION HTML"),
        (["run-clients", "clients=50", "URL=http://host"], "make run-clients does not take clients; it takes ARGS"),
        (["locust", "CLIENTS=50"], "make locust does not take CLIENTS; it takes HOLD PROCESSES RAMP SECONDS URL USERS"),
        (["run-server", "BUILD=fast"], "BUILD is pure or compiled"),
        (["check", "ARGS=-x"], "make check does not take ARGS; it takes no variables but PYTHON"),
    ],
)
def test_an_unsupported_variable_of_a_target_is_an_error(arguments: list[str], message: str) -> None:
    ran = make("--dry-run", *arguments)
    assert ran.returncode == 2
    assert message in ran.stderr
    assert not ran.stdout


def test_each_target_accepts_the_variables_of_its_help_line_and_recipe() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*## (.*)\n((?:\t.*\n)*)", makefile, re.MULTILINE)
    assert len(targets) > 15
    for target, description, recipe in targets:
        named = {*re.findall(r"\b([A-Z]{3,})=", description), *re.findall(r"\$\((?:if \$\()?([A-Z]{3,})\)", recipe)}
        given = named - {"MAKEFILE_LIST", "VENV", "FREEZE", "LOCK", "PYTHON", "COMPILED", "COMPILE"}
        assert "does not take" not in make("--dry-run", target, *(f"{name}=1" for name in given)).stderr


def test_the_columns_of_make_help_are_aligned() -> None:
    lines = make("help").stdout.splitlines()
    assert len({len(line) - len(re.sub(r"^  make [a-z-]+ +", "", line)) for line in lines}) == 1


def test_each_file_that_the_makefile_names_exists() -> None:
    named = re.findall(
        r"(?<![\w.-])(?:\$\(CURDIR\)/)?((?:[\w-]+/)+[\w-]+\.(?:py|yaml|toml|sh))", (ROOT / "Makefile").read_text()
    )
    assert "packaging/pyinstaller_hook.py" in named
    assert [name for name in named if not (ROOT / name).exists()] == []
