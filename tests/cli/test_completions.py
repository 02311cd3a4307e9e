"""`jobqueue completions`: a script for each shell."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from jobqueue.cli.main import GROUPS, main
from jobqueue.extras import MissingExtra


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_has_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completions", shell]) == 0
    script = capsys.readouterr().out
    for group in GROUPS:
        assert group.name in script


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    main(["completions", shell])
    subprocess.run([shell, "-n"], input=capsys.readouterr().out, text=True, check=True)


def test_bash_completes_commands_flags_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completions", "bash"])
    script = capsys.readouterr().out
    for line, expected in (
        ("jobqueue que", "queues"),
        ("jobqueue jobs ret", "retry"),
        ("jobqueue jobs list --sta", "--state"),
        ("jobqueue jobs list --state fai", "failed"),
    ):
        words = line.split()
        asked = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _shtab_jobqueue; echo ${{COMPREPLY[@]}}"
        ran = subprocess.run(["bash", "--norc"], input=asked, text=True, capture_output=True, check=True)
        assert expected in ran.stdout.split(), (line, ran.stderr)


def test_another_shell_is_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["completions", "bsh"])
    assert "did you mean 'bash'?" in capsys.readouterr().err


def test_without_the_extra_the_message_names_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completions", "bash"]) == 2
    assert "ephemeral-jobqueue[cli]" in capsys.readouterr().err
    assert issubclass(MissingExtra, ModuleNotFoundError)
