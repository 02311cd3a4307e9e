"""The floor of a store: what an HSET of eight fields costs it in a pipeline."""

from __future__ import annotations

import socket

from bench.measure.meter import cpu_s
from bench.store import Store

COUNT, PIPELINE = 20_000, 32


def measure_pipelined() -> float:
    """Return the CPU of a store for one, in microseconds; each is of another key, as jobs are."""
    with Store() as store, socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(store.socket))
        _write(wire, 0, COUNT // 10)
        before = cpu_s(store.pid)
        _write(wire, COUNT, COUNT)
        return (cpu_s(store.pid) - before) / COUNT * 1e6


def _write(wire: socket.socket, first: int, count: int) -> None:
    replies = wire.makefile("rb")
    for start in range(first, first + count, PIPELINE):
        wire.sendall(b"".join(_hset(number) for number in range(start, start + PIPELINE)))
        for _ in range(PIPELINE):
            replies.readline()


def _hset(number: int) -> bytes:
    words = [b"HSET", b"job:%d" % number]
    for field in range(8):
        words += [b"field%d" % field, b"value %d" % field]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
