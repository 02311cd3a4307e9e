"""API keys: their form, and what never shows."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import pytest

from jobqueue import keys

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_new_key_has_a_public_id_and_a_secret_of_256_random_bits() -> None:
    key, other = keys.new_key(), keys.new_key()
    assert re.fullmatch("jq_[a-z2-7]{8}_[a-z2-7]{52}", key.text)
    assert key.id != other.id
    assert key.secret != other.secret
    assert keys.parse(key.text) == key


def test_the_settings_hold_the_sha256_of_the_secret() -> None:
    key = keys.new_key()
    assert key.digest == hashlib.sha256(key.secret.encode()).hexdigest()
    assert keys.digest_of(key.secret).hex() == key.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.upper(),
        lambda text: text.replace("jq_", "jk_"),
        lambda text: text[:3] + "1" + text[4:],
        lambda text: text[:-1] + "0",
        lambda text: text[:-1] + "á",
        lambda text: text * 1000,
    ],
)
def test_a_text_of_another_form_is_no_key(change: Callable[[str], str]) -> None:
    assert keys.parse(change(keys.new_key().text)) is None


def test_a_secret_shows_neither_in_a_key_nor_in_a_masked_text() -> None:
    key = keys.new_key()
    assert key.secret not in repr(key)
    assert key.secret not in f"{key!r}"
    assert keys.masked(f"key: '{key.text}' and {key.text}x, jq_ab_C0FFEE") == (
        f"key: 'jq_{key.id}_***' and jq_{key.id}_***, jq_ab_***"
    )


def test_operate_includes_read_and_admin_includes_all() -> None:
    implied = {scope: sorted(scopes) for scope, scopes in keys.IMPLIED.items()}
    assert implied == {
        "submit": ["submit"],
        "read": ["read"],
        "operate": ["operate", "read"],
        "admin": ["admin", "operate", "read", "submit"],
    }
    assert set(implied) == set(keys.SCOPES)
