"""`jobqueue key new`: what it prints, and the file of keys that it adds to."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import yaml

from jobqueue.cli import key as keys_of_cli
from jobqueue.cli.main import main
from jobqueue.config import AuthSettings, KeySettings
from jobqueue.config.load import load
from jobqueue.folder_lock import locked
from jobqueue.keys import Key, parse

ROOT = Path(__file__).parents[2]
FIRST = Key("k3v7tq2m", "a2b3c4d5" * 6 + "e6f7")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def file(folder: Path) -> Path:
    return folder / "keys.yaml"


def new(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, standard output and standard error."""
    try:
        code = main(["key", "new", *argv])
    except SystemExit as ended:
        code = int(ended.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def made(out: str) -> Key:
    key = parse(out.rstrip("\n"))
    assert key is not None
    return key


def auth_of(file: Path) -> AuthSettings:
    return load(None, environ={"JOBQUEUE_AUTH__KEYS_FILE": str(file)}).auth


def test_standard_output_has_the_key_alone_and_standard_error_its_settings(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    code, out, err = new(capsys, "ci", "--scope", "submit,read")

    assert code == 0
    key = made(out)
    assert key.secret not in err
    settings = err[err.index("auth:") :]
    (folder / "config.yaml").write_text(settings)
    assert yaml.safe_load(settings)["auth"]["keys"]["ci"]["sha256"] == key.digest
    entry = KeySettings(id=key.id, sha256=key.digest, scopes=("read", "submit"))
    assert load(folder / "config.yaml", environ={}).auth.keys == {"ci": entry}


def test_every_key_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    keys = {new(capsys, "ci", "--scope", "admin")[1] for _ in range(5)}
    assert len({made(out).secret for out in keys}) == len({made(out).id for out in keys}) == 5


def test_a_key_is_added_to_a_file_that_is_made_with_mode_0600(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    mask = os.umask(0)
    try:
        code, out, err = new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))
    finally:
        os.umask(mask)

    assert code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert auth_of(file).keys["ci"].sha256 == made(out).digest
    assert "Added to" in err
    assert made(out).secret not in file.read_text() + err


def test_an_existing_file_keeps_its_content_and_its_mode(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    before = (
        f"# The keys.\nfirst: {{id: {FIRST.id}, sha256: {FIRST.digest}, scopes: [admin]}}"  # no line break at its end
    )
    file.write_text(before)
    file.chmod(0o640)

    assert new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))[0] == 0

    assert file.read_text().startswith(f"{before}\nci:\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert set(auth_of(file).keys) == {"first", "ci"}
    assert os.listdir(file.parent) == ["keys.yaml"]


def test_an_empty_file_gets_its_first_key(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.write_text("# None yet.\n")
    assert new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))[0] == 0
    assert set(auth_of(file).keys) == {"ci"}


def test_a_symbolic_link_stays_one(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    target = file.with_name("of-today.yaml")
    file.symlink_to(target.name)
    assert new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))[0] == 0
    assert file.is_symlink()
    assert set(auth_of(target).keys) == {"ci"}


def test_a_taken_name_is_an_error_and_changes_nothing(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))
    before = file.read_bytes()

    code, out, err = new(capsys, "ci", "--scope", "read", "--keys-file", str(file))

    assert (code, out) == (2, "")
    assert err == f"{file}: the name ci is taken: choose another, or remove its entry first\n"
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("ci: {id: x}\n", "ci.id: must be "),
        ("ci: [\n", "keys.yaml:"),
        (f"{{first: {{id: {FIRST.id}, sha256: {FIRST.digest}, scopes: [admin]}}}}\n", "add the entry by hand"),
        (f"first: {{id: {FIRST.id}, sha256: {FIRST.digest}, scopes: [admin]}}\n...\n", "add the entry by hand"),
        ("first: # its id\n  id: x\n  bytes: \x00\n", "keys.yaml:"),
    ],
)
def test_a_file_that_can_not_be_added_to_is_left_as_it_is(
    capsys: pytest.CaptureFixture[str], file: Path, content: str, error: str
) -> None:
    file.write_text(content)

    code, out, err = new(capsys, "new", "--scope", "submit", "--keys-file", str(file))

    assert (code, out) == (2, "")
    assert error in err
    assert ".keys.yaml" not in err
    assert file.read_text() == content
    assert os.listdir(file.parent) == ["keys.yaml"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/dev/null", "--keys-file: /dev/null is not a regular file"),
        (".", "is not a regular file"),
        ("missing/keys.yaml", "missing/keys.yaml: can't be written: No such file or directory"),
        ("~nobody-of-this-name/keys.yaml", "--keys-file: ~nobody-of-this-name is not a home folder"),
    ],
)
def test_a_path_of_no_file_is_an_error_of_one_line(capsys: pytest.CaptureFixture[str], path: str, error: str) -> None:
    code, out, err = new(capsys, "ci", "--scope", "submit", "--keys-file", path)
    assert (code, out) == (2, "")
    assert error in err
    assert err.count("\n") == 1


def test_a_file_with_write_access_for_all_is_an_error(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.touch()
    file.chmod(0o666)
    code, out, err = new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))
    assert (code, out) == (2, "")
    assert "all users may write" in err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root, to give files away")
def test_a_file_of_another_user_keeps_its_owner(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    file.touch()
    os.chown(file, 12345, 54321)
    assert new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))[0] == 0
    assert (file.stat().st_uid, file.stat().st_gid) == (12345, 54321)


def test_keys_that_are_added_at_once_are_all_kept(file: Path) -> None:
    scopes = keys_of_cli.scopes_in("submit")
    names = [f"n{number}" for number in range(20)]
    threads = [threading.Thread(target=keys_of_cli.new, args=(name, scopes, file)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(auth_of(file).keys) == sorted(names)


def test_a_lock_that_is_never_released_is_an_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: Path
) -> None:
    monkeypatch.setattr(keys_of_cli, "LOCK_S", 0.01)
    with locked(file.parent, wait_s=5):
        code, out, err = new(capsys, "ci", "--scope", "submit", "--keys-file", str(file))
    assert (code, out) == (2, "")
    assert "another process holds the lock of its folder" in err
    assert not file.exists()


def test_the_file_is_whole_at_each_instant(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    scopes = keys_of_cli.scopes_in("submit")
    keys_of_cli.new("first", scopes, file)
    seen = []

    def fsync(descriptor: int) -> None:
        seen.append(set(auth_of(file).keys))

    monkeypatch.setattr(os, "fsync", fsync)
    keys_of_cli.new("second", scopes, file)
    assert seen == [{"first"}, {"first", "second"}]  # the file before the rename, the folder after it


@pytest.mark.parametrize(
    ("argv", "error"),
    [
        ((), "the following arguments are required: NAME, --scope"),
        (("ci",), "the following arguments are required: --scope"),
        (("ci", "--scope", "submit,reed"), "--scope: 'reed' is no scope, did you mean 'read'?"),
        (("ci", "--scope", "root"), "--scope: 'root' is no scope; there are submit, read, operate, admin"),
        (("ci", "--scope", ""), "--scope: a scope is empty; there are submit, read, operate, admin"),
        (("ci", "--scope", "submit,"), "--scope: a scope is empty"),
        (("CI", "--scope", "submit"), "'CI' is not a valid key name; use up to 64 of a-z, 0-9, - and _"),
        (("a\nb", "--scope", "submit"), "'a\\nb' is not a valid key name"),
        (("a" * 65, "--scope", "submit"), "is not a valid key name"),
        (("ci", "--scope", "submit", "--key-file", "k"), "did you mean '--keys-file'?"),
    ],
)
def test_a_wrong_command_line_is_an_error_of_one_line(
    capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], error: str
) -> None:
    code, out, err = new(capsys, *argv)
    assert (code, out) == (2, "")
    assert error in err
    assert err.count("\n") == 1


def test_scopes_are_in_one_order_without_repetition() -> None:
    assert keys_of_cli.scopes_in("read, submit,read") == ("submit", "read")


def test_serve_does_not_import_the_command() -> None:
    script = (
        "import sys, jobqueue.cli.main as cli; print(cli.main(['serve', 'no.such']), 'jobqueue.cli.key' in sys.modules)"
    )
    child = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert child.stdout == "2 False\n"
