"""The Makefile, as far as it reads what it is given; nothing is built."""

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
    ("arguments", "told"),
    [
        (["run-clients", "CLIENT=50"], "make run-clients does not take CLIENT; it takes ARGS CLIENTS DURATION HTML"),
        (["run-clients", "clients=50", "URL=http://host"], "make run-clients does not take clients; it takes ARGS"),
        (["locust", "CLIENTS=50"], "make locust does not take CLIENTS; it takes HOLD PROCESSES RAMP SECONDS URL USERS"),
        (["check", "ARGS=-x"], "make check does not take ARGS; it takes no variables but PYTHON"),
    ],
)
def test_a_variable_that_a_target_does_not_take_is_an_error(arguments: list[str], told: str) -> None:
    ran = make("--dry-run", *arguments)
    assert ran.returncode == 2
    assert told in ran.stderr
    assert not ran.stdout


def test_each_target_takes_the_variables_that_its_line_and_its_recipe_name() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = re.findall(r"^([a-z-]+):.*## (.*)\n((?:\t.*\n)*)", makefile, re.MULTILINE)
    assert len(targets) > 15
    for target, told, recipe in targets:
        named = {*re.findall(r"\b([A-Z]{3,})=", told), *re.findall(r"\$\((?:if \$\()?([A-Z]{3,})\)", recipe)}
        given = named - {"MAKEFILE_LIST", "VENV", "FREEZE", "LOCK", "PYTHON"}
        assert "does not take" not in make("--dry-run", target, *(f"{name}=1" for name in given)).stderr


def test_help_keeps_its_columns_apart() -> None:
    lines = make("help").stdout.splitlines()
    assert len({len(line) - len(re.sub(r"^  make [a-z-]+ +", "", line)) for line in lines}) == 1
