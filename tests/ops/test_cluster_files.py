"""Compose file and Kubernetes manifest of several servers over one store: their form, and that their settings load."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from jobqueue.config import Settings
from jobqueue.config.load import load
from jobqueue.http.routes import ROUTES

OPS = Path(__file__).parents[2] / "docs" / "ops"
ROOT = OPS.parents[1]
COMPOSE: dict[str, Any] = yaml.safe_load((OPS / "compose-valkey.yaml").read_text())
KUBERNETES: dict[str, dict[str, Any]] = {
    each["kind"]: each for each in yaml.safe_load_all((OPS / "kubernetes.yaml").read_text())
}
POD: dict[str, Any] = KUBERNETES["Deployment"]["spec"]["template"]
CONTAINER: dict[str, Any] = POD["spec"]["containers"][0]
SPARE_S = 2.0
"""Beside the drain and the linger, before a supervisor kills."""


def settings_of_pod(folder: Path) -> Settings:
    """Load what the container would: the mounted files and its variables."""
    for name, text in KUBERNETES["ConfigMap"]["data"].items():
        (folder / name).write_text(text)
    environment = {each["name"]: each.get("value") or secret(each["valueFrom"]) for each in CONTAINER["env"]}
    environment["JOBQUEUE_AUTH__KEYS_FILE"] = str(folder / Path(environment["JOBQUEUE_AUTH__KEYS_FILE"]).name)
    return load(folder / "config.yaml", environ=environment)


def secret(source: dict[str, dict[str, str]]) -> str:
    named = source["secretKeyRef"]
    assert named["name"] == KUBERNETES["Secret"]["metadata"]["name"]
    value: str = KUBERNETES["Secret"]["stringData"][named["key"]]
    return value


def command_line(service: str) -> dict[str, str]:
    """Return the flags of a command, each with its value."""
    words = COMPOSE["services"][service]["command"].split()
    return {word: value for word, value in pairwise(words) if word.startswith("--")}


def test_the_settings_of_the_pod_load(tmp_path: Path) -> None:
    settings = settings_of_pod(tmp_path)
    assert settings.backend == "valkey"
    assert settings.valkey.url == KUBERNETES["Secret"]["stringData"]["url"]
    assert settings.server.host == "0.0.0.0"
    assert list(settings.auth.keys) == ["ci"]


def test_a_pod_has_the_time_that_its_stop_takes(tmp_path: Path) -> None:
    server = settings_of_pod(tmp_path).server
    pre_stop_s = float(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    stop_s = pre_stop_s + server.drain_s + server.linger_s + SPARE_S
    assert stop_s <= POD["spec"]["terminationGracePeriodSeconds"]
    # It has left the balancers' lists by then: they look as often as this.
    ready = CONTAINER["readinessProbe"]
    assert ready["periodSeconds"] * ready["failureThreshold"] <= pre_stop_s


def test_the_probes_ask_paths_of_the_server() -> None:
    paths = {route.path for route in ROUTES}
    probes = {name: CONTAINER[name]["httpGet"]["path"] for name in CONTAINER if name.endswith("Probe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(probes.values()) <= paths


def test_the_selectors_find_the_pods_and_the_mounts_their_volumes() -> None:
    labels = POD["metadata"]["labels"]
    assert KUBERNETES["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert KUBERNETES["Service"]["spec"]["selector"] == labels
    volumes = {each["name"]: each for each in POD["spec"]["volumes"]}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == set(volumes)
    assert volumes["config"]["configMap"]["name"] == KUBERNETES["ConfigMap"]["metadata"]["name"]
    (port,) = CONTAINER["ports"]
    assert KUBERNETES["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert port["containerPort"] == Settings().server.port


def test_the_settings_of_the_composed_servers_load_and_leave_time_to_drain() -> None:
    one, other = (COMPOSE["services"][name] for name in ("one", "other"))
    assert one == other
    settings = load(None, environ=one["environment"])
    assert settings.backend == "valkey"
    assert settings.valkey.url == "redis://valkey:6379/0"
    assert settings.server.drain_s + settings.server.linger_s + SPARE_S <= float(
        one["stop_grace_period"].removesuffix("s")
    )
    build = one["build"]
    assert ((OPS / build["context"]).resolve(), build["dockerfile"]) == (ROOT, "Containerfile")
    assert (ROOT / "Containerfile").is_file()


def test_the_composed_proxy_asks_both_servers_whether_they_are_ready(tmp_path: Path) -> None:
    (mounted,) = COMPOSE["services"]["proxy"]["configs"]
    text = COMPOSE["configs"][mounted["source"]]["content"]
    assert "reverse_proxy one:8080 other:8080 {" in text
    assert "health_uri /readyz" in text
    if (caddy := shutil.which("caddy")) is not None:
        (tmp_path / "Caddyfile").write_text(text)
        checked = subprocess.run(
            [caddy, "validate", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"],
            env={"HOME": str(tmp_path), "PATH": os.defpath},
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr


def test_the_composed_store_evicts_nothing() -> None:
    flags = command_line("valkey")
    assert flags["--maxmemory-policy"] == "noeviction"
    assert flags["--appendonly"] == "yes"


@pytest.mark.parametrize("name", ["compose-valkey.yaml", "kubernetes.yaml"])
def test_the_settings_that_a_file_names_are_there(name: str) -> None:
    sections = {field: type(getattr(Settings(), field)) for field in Settings.__struct_fields__}
    for section, field in re.findall(r"\b([a-z]+)\.([a-z]+_[a-z_]+)\b", (OPS / name).read_text()):
        assert field in sections[section].__struct_fields__, f"{section}.{field}"


@pytest.mark.parametrize("name", ["compose-valkey.yaml", "kubernetes.yaml"])
def test_a_file_names_the_page_that_explains_it(name: str) -> None:
    assert "docs/how-to/scale-out.md" in (OPS / name).read_text()
