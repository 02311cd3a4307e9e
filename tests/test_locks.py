"""The lock files are complete: they meet each requirement of each locked package, extras and markers included.

pip installs them without resolving, so a missing requirement would be missing at run time, and a resolving pip would
fetch the newest release of the day.
"""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
EXTRAS = PROJECT["optional-dependencies"]

RUNTIME = [*PROJECT["dependencies"], *(it for extra in ("server", "cli", "fleet", "reload") for it in EXTRAS[extra])]
STORE = [*PROJECT["dependencies"], *EXTRAS["valkey"]]
DEVELOPMENT = [*PROJECT["dependencies"], *(it for extra in EXTRAS.values() for it in extra), *GROUPS["dev"]]


def environment(python: str, platform: str) -> dict[str, str]:
    """Return the values of the markers on a Python version, `3.12`, and a platform, `linux`."""
    system = {"linux": "Linux", "darwin": "Darwin"}[platform]
    return {
        **{name: str(value) for name, value in default_environment().items()},
        "python_version": python,
        "python_full_version": f"{python}.1",
        "implementation_version": f"{python}.1",
        "sys_platform": platform,
        "platform_system": system,
        "os_name": "posix",
    }


ENVIRONMENTS = [
    environment(python, platform) for python in ("3.11", "3.12", "3.13") for platform in ("linux", "darwin")
]


def locked(text: str) -> list[Requirement]:
    lines = text.replace("\\\n", " ").splitlines()
    return [Requirement(line.split("--hash")[0].strip()) for line in lines if line and not line.startswith(" ")]


def unmet(roots: list[str], lock: list[Requirement], world: dict[str, str]) -> list[str]:
    """Walk from the roots through the metadata of the installed packages; return those that the lock lacks."""
    pins: dict[str, Requirement] = {}
    for pin in lock:
        if pin.marker is None or pin.marker.evaluate({**world, "extra": ""}):
            assert pins.setdefault(canonicalize_name(pin.name), pin) is pin, (
                f"{pin.name} has two pins for one environment"
            )
    faults, seen = [], set()
    walk = [(Requirement(root), "pyproject.toml", "") for root in roots]
    while walk:
        wanted, source, extra = walk.pop()
        if wanted.marker is not None and not wanted.marker.evaluate({**world, "extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        pin = pins.get(name)
        version = next(iter(pin.specifier)).version if pin else None
        if version is None or not wanted.specifier.contains(version, prereleases=True):
            faults.append(f"{source} needs {wanted}; the lock has {pin or 'none'}")
            continue
        for option in {"", *wanted.extras}:
            if (name, option) in seen:
                continue
            seen.add((name, option))
            walk += [(Requirement(it), f"{name}[{option}]", option) for it in requires(name, version)]
    return faults


def requires(name: str, version: str) -> list[str]:
    """Return the requirements of an installed package; none of a package for another environment."""
    try:
        package = metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return []
    return package.requires or [] if package.version == version else []


@pytest.mark.parametrize("world", ENVIRONMENTS, ids=lambda it: f"{it['python_version']}-{it['sys_platform']}")
@pytest.mark.parametrize(
    ("lock", "roots"),
    [("requirements.lock", RUNTIME), ("requirements-valkey.lock", STORE), ("requirements-dev.lock", DEVELOPMENT)],
    ids=["runtime", "store", "development"],
)
def test_a_lock_file_meets_every_requirement_of_its_packages(
    lock: str, roots: list[str], world: dict[str, str]
) -> None:
    assert unmet(roots, locked((ROOT / lock).read_text()), world) == []


def test_a_missing_requirement_of_an_extra_is_detected() -> None:
    whole = locked((ROOT / "requirements-dev.lock").read_text())
    without = [pin for pin in whole if pin.name != "python-socketio" and pin.name != "websocket-client"]

    faults = unmet(DEVELOPMENT, without, ENVIRONMENTS[0])

    assert any("python-socketio[client]" in fault for fault in faults), faults


def test_the_installed_packages_have_the_locked_versions() -> None:
    here = {name: str(value) for name, value in default_environment().items()}
    for pin in locked((ROOT / "requirements-dev.lock").read_text()):
        if pin.marker is None or pin.marker.evaluate({**here, "extra": ""}):
            assert pin.specifier.contains(metadata.version(pin.name), prereleases=True), str(pin)


def test_the_locks_that_are_installed_together_have_the_same_versions() -> None:
    of_server = {pin.name: str(pin.specifier) for pin in locked((ROOT / "requirements.lock").read_text())}
    of_store = {pin.name: str(pin.specifier) for pin in locked((ROOT / "requirements-valkey.lock").read_text())}
    both = of_server.keys() & of_store.keys()
    assert both >= {"msgspec"}
    assert {name: of_server[name] for name in both} == {name: of_store[name] for name in both}
    assert {"redis", "hiredis"} <= of_store.keys() - of_server.keys()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-valkey.lock", "requirements-dev.lock"])
def test_a_lock_file_has_pins_and_hashes_and_no_registry(lock: str) -> None:
    text = (ROOT / lock).read_text()

    assert "://" not in text
    assert text.count("==") > 4
    assert all("--hash=sha256:" in block for block in text.replace("\\\n", " ").splitlines() if block)


def test_the_makefile_installs_locked_packages_without_resolving() -> None:
    makefile = (ROOT / "Makefile").read_text()

    assert "install --quiet --no-deps --require-hashes" in makefile
    assert makefile.count("$(PIP) check") == 2
    assert "--no-strip-extras" in makefile
