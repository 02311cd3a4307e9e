"""The page of the backends: what it says is refused is refused, and what it names is there."""

from __future__ import annotations

from typing import get_args

import pytest

from jobqueue.config.backend import UNSHARED
from jobqueue.config.load import Override, load
from jobqueue.config.valkey import Durability
from jobqueue.core.policy import Discipline
from jobqueue.errors import ConfigError
from tests.docs.tables import codes, page, rows, section

PAGE = page("backends.md")

FEATURES = {cells[0]: cells[1:] for cells in rows(section(PAGE, "## Features"), columns=4)}
REFUSED = [
    codes(f"{setting} {value}") for setting, value, _ in rows(section(PAGE, "## Refused with a store"), columns=3)
]


def loaded_with(setting: str, value: str) -> None:
    given = {"backend": "valkey", setting: value}
    load(None, environ={}, overrides=[Override(f"--set={name}={text}", name, text) for name, text in given.items()])


@pytest.mark.parametrize(("setting", "value"), REFUSED)
def test_a_setting_of_the_table_is_refused_with_a_store(setting: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting}.*does not fit backend: valkey"):
        loaded_with(setting, value)


def test_the_table_has_every_discipline_that_a_store_has_not() -> None:
    named = {value for setting, value in REFUSED if setting == "queues.default.discipline"}
    assert named == {str(discipline) for discipline in UNSHARED}


@pytest.mark.parametrize("discipline", Discipline)
def test_each_discipline_is_there_where_the_page_says(discipline: Discipline) -> None:
    (cells,) = (cells for feature, cells in FEATURES.items() if codes(feature)[:1] == [str(discipline)])
    told = [cell.partition(";")[0] for cell in cells]
    assert told == ["yes", "yes", "no" if discipline in UNSHARED else "yes"]
    if discipline not in UNSHARED:
        loaded_with("queues.default.discipline", str(discipline))


def test_each_durability_has_its_row() -> None:
    assert [codes(cells[0])[0] for cells in rows(section(PAGE, "## Durability of a store"), columns=3)] == list(
        get_args(Durability)
    )


def test_every_feature_has_a_word_for_each_backend() -> None:
    assert len(FEATURES) > 25
    assert all(all(cells) for cells in FEATURES.values())
