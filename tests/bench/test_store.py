"""A store of one's own: found, started, killed, frozen, and removed with its files."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from bench import store
from bench.store import MISSING, NotStarted, Store, executable, free_ports, is_taken

needs_store = pytest.mark.skipif(executable() is None, reason=MISSING)


def ask(place: Store, *words: str) -> bytes:
    """Return the answer to one command."""
    kind, address = (socket.AF_INET, ("127.0.0.1", place.port)) if place.port else (socket.AF_UNIX, str(place.socket))
    with socket.socket(kind) as wire:
        wire.settimeout(5.0)
        wire.connect(address)
        wire.sendall(" ".join(words).encode() + b"\r\n")
        return wire.recv(4096)


@needs_store
@pytest.mark.parametrize("by_port", [False, True])
def test_a_store_answers_and_ends_with_its_block(by_port: bool) -> None:
    port = free_ports(1)[0] if by_port else None
    with Store(port=port) as place:
        assert ask(place, "SET", "a", "1") == b"+OK\r\n"
        assert place.url.startswith("redis://127.0.0.1:" if by_port else "unix://")
        assert port is None or is_taken(port)
        folder = place.folder
    assert not folder.exists()
    assert port is None or not is_taken(port)


@needs_store
def test_a_killed_store_starts_again_on_its_files(tmp_path: Path) -> None:
    with Store("--appendonly", "yes", "--appendfsync", "always", folder=tmp_path) as place:
        ask(place, "SET", "kept", "1")
        place.kill()
        place.start()
        assert ask(place, "GET", "kept") == b"$1\r\n1\r\n"
    assert tmp_path.exists()


@needs_store
def test_a_frozen_store_answers_once_it_is_thawed() -> None:
    with Store() as place:
        place.freeze()
        with socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(0.1)
            wire.connect(str(place.socket))
            wire.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                wire.recv(64)
            place.thaw()
            wire.settimeout(5.0)
            assert wire.recv(64) == b"+PONG\r\n"
        place.stop()


@needs_store
def test_an_error_at_the_start_has_the_end_of_the_log(tmp_path: Path) -> None:
    with (
        pytest.raises(NotStarted, match=r"-server ended with 1: .*no-such-flag"),
        Store("--no-such-flag", folder=tmp_path),
    ):
        pass


def test_without_a_program_the_error_names_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "executable", lambda: None)
    with pytest.raises(NotStarted, match="install valkey-server or redis-server"):
        Store()
