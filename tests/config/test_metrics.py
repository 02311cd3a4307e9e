"""Settings of the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.config.load import load
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def faults(tmp_path: Path, text: str) -> tuple[str, ...]:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    try:
        load(file, environ={})
    except ConfigError as error:
        return error.faults
    return ()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("metrics: {path: /v1/metrics}", "/v1 is another resource's: choose a path of its own, such as /metrics"),
        ("metrics: {path: /../secret}", "/.. is another resource's"),
        ("metrics: {path: metrics}", "metrics.path"),
        ("metrics: {listen: 127.0.0.1}", "metrics.listen"),
        ("metrics: {listen: '127.0.0.1:99999'}", "port 99999 is over 65535"),
        ("metrics: {listen: '0.0.0.0:9091'}", "set metrics.access to open"),
        ("metrics: {acces: open}", "did you mean 'metrics.access'"),
        ("metrics: {access: closed}", "metrics.access"),
    ],
)
def test_a_wrong_setting_is_a_fault_with_a_correction(tmp_path: Path, text: str, fault: str) -> None:
    (found,) = faults(tmp_path, text)
    assert fault in found


@pytest.mark.parametrize(
    "text",
    [
        "metrics: {listen: '0.0.0.0:9091', access: open}",
        "metrics: {listen: '[::1]:9091'}",
        "metrics: {listen: '0.0.0.0:9091', enabled: false}",
        "metrics: {path: /internal/metrics}",
    ],
)
def test_ports_and_paths_of_their_own_are_valid(tmp_path: Path, text: str) -> None:
    assert faults(tmp_path, text) == ()
