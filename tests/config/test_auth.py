"""The settings of API keys, and the file of keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.config import AuthSettings, KeySettings
from jobqueue.config.load import KEYS_MAX, differences, load, trace
from jobqueue.errors import ConfigError
from jobqueue.keys import Key, new_key

if TYPE_CHECKING:
    from pathlib import Path

# Fixed, since they are in the names of tests, which all test processes must agree on.
ONE, OTHER = Key("k3v7tq2m", "a2b3c4d5" * 6 + "e6f7"), Key("m7q2t5x3", "x7y6z5w4" * 6 + "v3u2")


def entry(key: Key, *scopes: str) -> str:
    return f"{{id: {key.id}, sha256: {key.digest}, scopes: [{', '.join(scopes)}]}}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def auth_of(folder: Path, text: str, keys: str | None = None) -> AuthSettings:
    (folder / "config.yaml").write_text(text)
    if keys is not None:
        (folder / "keys.yaml").write_text(keys)
    return load(folder / "config.yaml", environ={}).auth


def faults_of(folder: Path, text: str, keys: str | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        auth_of(folder, text, keys)
    return [fault.removeprefix(f"{folder}/") for fault in caught.value.faults]


def test_without_keys_none_is_required(folder: Path) -> None:
    auth = auth_of(folder, "")
    assert auth == AuthSettings()
    assert not auth.required


def test_keys_stand_in_the_settings(folder: Path) -> None:
    auth = auth_of(folder, f"auth: {{keys: {{ci: {entry(ONE, 'submit', 'read')}}}, shared: true}}")
    assert auth.keys == {"ci": KeySettings(id=ONE.id, sha256=ONE.digest, scopes=("read", "submit"))}
    assert auth.required
    assert auth.shared


@pytest.mark.parametrize("scopes", ["submit,read", "[submit, read]"])
def test_keys_stand_in_the_environment(scopes: str) -> None:
    environ = {
        "JOBQUEUE_AUTH__KEYS__CI__ID": ONE.id,
        "JOBQUEUE_AUTH__KEYS__CI__SHA256": ONE.digest,
        "JOBQUEUE_AUTH__KEYS__CI__SCOPES": scopes,
    }
    assert load(None, environ=environ).auth.keys == {
        "ci": KeySettings(id=ONE.id, sha256=ONE.digest, scopes=("read", "submit")),
    }


def test_keys_of_the_file_are_added_to_those_of_the_settings(folder: Path) -> None:
    text = f"auth: {{keys: {{ci: {entry(ONE, 'submit')}}}, keys_file: keys.yaml}}"
    auth = auth_of(folder, text, f"ops: {entry(OTHER, 'admin')}\n")
    assert list(auth.keys) == ["ci", "ops"]
    assert auth.keys["ops"].id == OTHER.id


def test_a_file_without_keys_opens_nothing(folder: Path) -> None:
    assert auth_of(folder, "auth: {keys_file: keys.yaml}", "").required


def test_shown_settings_with_keys_load_as_the_same_settings(folder: Path) -> None:
    auth_of(folder, "", f"ops: {entry(OTHER, 'admin')}\n")
    (folder / "config.yaml").write_text(f"auth: {{keys: {{ci: {entry(ONE, 'submit')}}}, keys_file: keys.yaml}}")
    loaded = trace(folder / "config.yaml", environ={})
    (folder / "shown.yaml").write_text(loaded.show())
    assert load(folder / "shown.yaml", environ={}) == loaded.settings


def test_differences_name_the_keys_that_changed(folder: Path) -> None:
    before = load(None, environ={})
    (folder / "config.yaml").write_text(f"auth: {{keys: {{ci: {entry(ONE, 'submit')}}}}}")
    first = load(folder / "config.yaml", environ={})
    (folder / "config.yaml").write_text(f"auth: {{keys: {{ci: {entry(ONE, 'submit', 'read')}}}}}")
    assert differences(before, first) == {"auth.keys.ci": "added"}
    assert differences(first, before) == {"auth.keys.ci": "removed"}
    assert differences(first, load(folder / "config.yaml", environ={})) == {
        "auth.keys.ci.scopes": '["submit"] -> ["read", "submit"]'
    }
    (folder / "config.yaml").write_text(f"auth: {{keys: {{ci: {entry(OTHER, 'submit')}}}}}")
    assert differences(first, load(folder / "config.yaml", environ={})) == {
        "auth.keys.ci.id": "changed",
        "auth.keys.ci.sha256": "changed",
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            f"ci: {{id: abc, sha256: {ONE.digest}, scopes: [read]}}",
            "keys.yaml:1:10: ci.id: must be a string of 8 characters, such as k3v7tq2m, not 'abc'",
        ),
        (
            f"ci: {{id: {ONE.id}, sha256: {ONE.digest}, scopes: [reed]}}",
            "keys.yaml:1:102: ci.scopes: must be a list of admin, operate, read, submit, such as [submit, read], "
            "not 'reed', did you mean 'read'?",
        ),
        (
            f"ci: {{id: {ONE.id}, sha256: {ONE.digest}, scopes: []}}",
            "keys.yaml:1:102: ci.scopes: must be a list of admin, operate, read, submit, such as [submit, read], "
            "not empty",
        ),
        (f"ci: {{id: {ONE.id}, scopes: [read]}}", "keys.yaml:1:6: auth.keys.ci: lacks sha256"),
        ("ci:", "auth.keys.ci: lacks id and sha256 and scopes"),
        ("ci: 3", "keys.yaml:1:5: ci: is a section; set what is in it (id, sha256, scopes"),
        ("CI: {}", "keys.yaml:1:1: CI: 'CI' is not a valid key name; use up to 64 of a-z, 0-9, - and _"),
        ("ci: {idd: 3}", "keys.yaml:1:6: ci.idd: unknown setting, did you mean 'ci.id'?"),
        ("- ci", "keys.yaml:1:1: the file must be a mapping of keys by name, such as `ci:`"),
        ("ci: [", "keys.yaml:"),
        (
            f"ci: {entry(ONE, 'read')}\nci: {entry(OTHER, 'read')}",
            "keys.yaml:2:1: ci: duplicate key, first on line 1",
        ),
        (
            f"ci: {entry(ONE, 'read')}\nco: {entry(ONE, 'read')}",
            "keys.yaml:2:10: co.id: is the id of the key ci, too: each key has its own",
        ),
    ],
)
def test_a_fault_in_the_file_of_keys_has_its_place(folder: Path, text: str, fault: str) -> None:
    assert faults_of(folder, "auth: {keys_file: keys.yaml}", text)[0].startswith(fault)


def test_a_name_has_one_place(folder: Path) -> None:
    text = f"auth: {{keys: {{ci: {entry(ONE, 'submit')}}}, keys_file: keys.yaml}}"
    assert faults_of(folder, text, f"ci: {entry(OTHER, 'admin')}\n") == [
        "keys.yaml:1:1: ci: is a name in auth.keys, too: a key has one place"
    ]


def test_a_missing_file_of_keys_is_reported_at_the_setting(folder: Path) -> None:
    assert faults_of(folder, "auth: {keys_file: nope.yaml}") == [
        "config.yaml:1:19: auth.keys_file: nope.yaml can't be read: No such file or directory"
    ]


def test_a_folder_is_no_file_of_keys(folder: Path) -> None:
    assert faults_of(folder, "auth: {keys_file: .}") == ["config.yaml:1:19: auth.keys_file: . is not a regular file"]


def test_a_file_of_keys_with_write_permission_for_all_is_refused(folder: Path) -> None:
    auth_of(folder, "", f"ci: {entry(ONE, 'read')}\n")
    (folder / "keys.yaml").chmod(0o646)
    assert faults_of(folder, "auth: {keys_file: keys.yaml}") == [
        "config.yaml:1:19: auth.keys_file: all users may write to keys.yaml, and so add keys: run `chmod o-w keys.yaml`"
    ]


def test_auth_none_contradicts_keys(folder: Path) -> None:
    assert faults_of(folder, f"auth: {{none: true, keys: {{ci: {entry(ONE, 'read')}}}}}") == [
        "config.yaml:1:14: auth.none: must not be true where there are keys: it says that there are none"
    ]


def test_there_is_a_maximum_of_keys(folder: Path) -> None:
    many = "".join(f"key{number}: {entry(new_key(), 'read')}\n" for number in range(KEYS_MAX + 1))
    assert faults_of(folder, "auth: {keys_file: keys.yaml}", many) == [
        f"auth.keys: {KEYS_MAX + 1} are configured, and at most {KEYS_MAX} are allowed"
    ]


@pytest.mark.parametrize("place", ["id", "sha256", "scopes", "note"])
def test_no_message_has_the_secret_that_was_pasted_into_a_setting(folder: Path, place: str) -> None:
    for pasted in (ONE.text, f"Bearer {ONE.text}", ONE.secret if place == "sha256" else ONE.text):
        told = faults_of(folder, f"auth: {{keys: {{ci: {{{place}: {pasted}}}}}}}")
        assert told
        assert ONE.secret not in "".join(told)
