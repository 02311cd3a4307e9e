"""The corpus of each parser is replayed, and some inputs made from it are tried; `make fuzz` tries many."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.kept import corpus_of
from tests.fuzz.mutations import inputs
from tests.fuzz.targets import TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_each_property_holds_for_the_corpus(target: str) -> None:
    for data in corpus_of(target):
        TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_each_property_holds_for_inputs_made_from_the_corpus(target: str) -> None:
    @settings(max_examples=200, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(target))
    def tried(data: bytes) -> None:
        TARGETS[target](data)

    tried()
