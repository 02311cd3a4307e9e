"""Imports without garbage collections."""

from __future__ import annotations

import gc

import pytest

from jobqueue.process.imports import without_collections


def test_no_collection_begins_meanwhile_and_they_go_on_afterwards() -> None:
    assert gc.isenabled()
    with without_collections():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_collections_go_on_after_an_error() -> None:
    with pytest.raises(ImportError), without_collections():
        raise ImportError
    assert gc.isenabled()


def test_a_program_without_collections_keeps_it_so() -> None:
    gc.disable()
    try:
        with without_collections():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
