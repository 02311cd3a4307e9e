"""The Containerfile, which no engine builds here: its form, and what it names."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bench.destructive.limits import ENVIRONMENT
from bench.load.driving import ROOT
from jobqueue.cli.key import new
from jobqueue.config.load import load

TEXT = (ROOT / "Containerfile").read_text()
LINES = re.sub(r"\\\n", " ", "\n".join(line for line in TEXT.splitlines() if not line.startswith("#"))).splitlines()


def instruction(name: str) -> list[str]:
    return [line.partition(" ")[2].strip() for line in LINES if line.startswith(f"{name} ")]


def test_the_server_is_not_root() -> None:
    last_stage = LINES[max(at for at, line in enumerate(LINES) if line.startswith("FROM ")) :]
    assert any(line.startswith("USER jobs") for line in last_stage)


def test_each_copied_file_exists() -> None:
    sources = [part for line in instruction("COPY") if "--from" not in line for part in line.split()[:-1]]
    assert {"requirements.lock", "requirements-valkey.lock"} < {*sources}
    assert [name for name in sources if not (ROOT / name).exists()] == []


def test_commands_are_lists_so_that_signals_arrive() -> None:
    assert json.loads(instruction("CMD")[-1])[0] == "jobqueue"
    (health,) = instruction("HEALTHCHECK")
    program, option, code = json.loads(health.partition(" CMD ")[2] or health.partition("CMD ")[2])
    assert (program, option) == ("python", "-c")
    compile(code, "health check", "exec")
    assert "curl" not in health


def test_the_settings_of_the_image_and_of_its_command_are_settings(tmp_path: Path) -> None:
    environ = dict(re.findall(r"(JOBQUEUE_(?:[A-Z_]+__)[A-Z_]+)=(\S+)", TEXT))
    assert len(environ) >= 5
    mounted = re.findall(r"-v \S+:(\S+):ro", TEXT)
    assert mounted == [environ["JOBQUEUE_AUTH__KEYS_FILE"]]
    new("ci", ("submit", "read"), tmp_path / "keys.yaml")
    environ["JOBQUEUE_AUTH__KEYS_FILE"] = str(tmp_path / "keys.yaml")
    load(None, environ=environ)


def test_half_a_cpu_is_a_quota_of_50000() -> None:
    period, quota = (int(number) for number in re.findall(r"--cpu-(?:period|quota)=(\d+)", TEXT))
    assert quota / period == 0.5 == float(re.findall(r"--cpus (\S+)", TEXT)[0])


@pytest.mark.parametrize("variable", [f"{name}={value}" for name, value in ENVIRONMENT.items()])
def test_the_command_and_the_how_to_have_the_environment_of_the_attacked_server(variable: str) -> None:
    assert f" -e {variable} " in TEXT
    assert f"`{variable}`" in (ROOT / "docs/how-to/small-machines.md").read_text()


@pytest.mark.parametrize(
    "block", re.findall(r"HEALTHCHECK.*?\n  CMD .*", (ROOT / "docs/how-to/container.md").read_text())
)
def test_the_how_to_and_the_containerfile_check_health_alike(block: str) -> None:
    assert block in TEXT
