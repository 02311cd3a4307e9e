"""The fast path against the stock path where requests need keys: the same streams give the same bytes and state.

As `test_fast_path`, over streams whose requests have keys: right, wrong, missing, foreign, without the scope, and
changed by a reload between two requests.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue.config import AuthSettings
from jobqueue.handlers import Submission
from tests.http.keyed import ANN, BOB, OPS, READER, STRANGER, SUB, auth
from tests.http.serving import post
from tests.http.transport.test_fast_path import CUT, END, LATER, SETTINGS, SHORT, Pair, head, held, same_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.held_time import HeldTime
    from tests.http.serving import Serving

ON_EACH_BACKEND = True

__all__ = ["held"]  # the fixture

KEYS = (ANN, BOB, OPS, READER, SUB, STRANGER)
LINES: tuple[tuple[str, ...], ...] = (
    (),
    *((f"Authorization: Bearer {key.text}",) for key in KEYS),
    (f"authorization: bearer  {ANN.text}",),
    (f"Authorization: Bearer {ANN.text}", f"Authorization: Bearer {OPS.text}"),
    (f"Authorization: Basic {ANN.text}",),
    (f"Authorization: Bearer {ANN.text[:-1]}",),
    ("Authorization: Bearer \udcff",),
)
JOBS = ("{MINE}", "{OVER}", "{PAST}", "{DONE}", "{GONE}", "0" * 22, "nope")


def requests(*lines: str) -> list[bytes]:
    """Return requests of each kind that the fast path answers, with further headers."""
    reads = [head(method, f"/v1/jobs/{job}", *lines) for method in ("HEAD", "GET") for job in JOBS]
    waits = [head(method, f"/v1/jobs/{job}", "Prefer: wait=1", *lines) for method in ("HEAD", "GET") for job in JOBS]
    return [
        *reads,
        *waits,
        head("GET", "/v1/jobs/{OVER}", 'If-None-Match: W/"2"', *lines),
        head("GET", "/v1/jobs?ids={MINE},{OVER},{DONE},{GONE},nope", "Prefer: wait=1", *lines),
        head("HEAD", "/v1/jobs?ids={OVER},{DONE}", "Prefer: wait=1", *lines),
        post(LATER, *lines),
        post(SHORT, "Prefer: wait=1", *lines),
        post(LATER, "Idempotency-Key: a", *lines),
        post(SHORT, "Idempotency-Key: a", *lines),
        post(SHORT, "Idempotency-Key: b", "Prefer: wait=1", *lines),
        post(b"{", *lines),
        post(b'{"type":"nope"}', *lines),
        post(b'{"type":"echo","delay_s":864000,"unique":"u"}', *lines),
        head("POST", "/v1/jobs/{MINE}:run", *lines),
    ]


class KeyedPair(Pair):
    async def prepare(self) -> None:
        """Make jobs of the application, and of a key: one that lives, one that is over, one that is gone."""
        await super().prepare()
        for serving in self.both:
            named = {}
            for name, fields in (("MINE", {"delay_s": 864000}), ("OVER", {}), ("PAST", {})):
                given = msgspec.convert({"type": "echo", **fields}, Submission)
                submitted = await serving.service.accept(given, caller="key:ann", owner="key:ann")
                named[b"{%b}" % name.encode()] = submitted.job.id.encode()
            backend = serving.service.backend
            for name in (b"{OVER}", b"{PAST}"):
                await backend.wait(named[name].decode())
            await backend.delete(named[b"{PAST}"].decode())
            assert {**self.jobs, **named} == {**named, **self.jobs}, "both issue the same ids"
            self.jobs |= named

    async def reload(self, section: dict[str, Any]) -> None:
        for serving in self.both:
            settings = msgspec.structs.replace(serving.service.settings, auth=msgspec.convert(section, AuthSettings))
            await serving.queue.reload(settings)


@pytest.fixture
async def pair(start: Callable[..., Awaitable[Serving]], held: HeldTime) -> KeyedPair:
    pair = KeyedPair(
        await start(same_ids, **SETTINGS, auth=auth()),
        await start(same_ids, **SETTINGS, auth=auth(), server={"fast_path": False}, spool={"dir": None}),
        held,
    )
    await pair.prepare()
    return pair


@pytest.mark.parametrize("number", range(len(LINES)))
async def test_both_paths_answer_a_key_alike_before_and_after_its_head_is_cached(pair: KeyedPair, number: int) -> None:
    for request in requests(*LINES[number]):
        for _ in range(2):
            raw = await pair.same(request + CUT + END, turns=30)
            assert raw.startswith(b"HTTP/1.")


@pytest.mark.parametrize("seed", range(6))
async def test_both_paths_answer_streams_of_several_keys_alike_while_these_change(pair: KeyedPair, seed: int) -> None:
    rng = random.Random(seed)
    corpus = [request for lines in LINES for request in requests(*lines)]
    sections = [
        auth(),
        auth("ann", "ops"),
        auth("bob", "reader", "sub"),
        auth(ann=["submit"], sub=["read"]),
        auth(shared=True),
        {"keys_file": "keys.yaml"},
        {},
    ]
    for _ in range(25):
        await pair.reload(rng.choice(sections))
        for _ in range(2):
            pieces = rng.choices(corpus, k=rng.randint(1, 6))
            joined = (CUT if rng.random() < 0.6 else b"").join(pieces)
            await pair.same(joined + CUT + END, turns=rng.choice([3, 30]))
