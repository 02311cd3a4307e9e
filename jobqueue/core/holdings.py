"""Holdings: what each caller holds of the job store, and which caller holds most.

Rules:

1. A holding counts a caller's records, live and terminal, and their bytes. It exists while there are any.
2. The fair share of a bound is the same for all callers, so the largest holding is furthest beyond it.
3. A caller with less than one part in `PARTS` of a bound is small. Small callers are not told apart, so at
   most `PARTS` holdings are ranked, however many callers there are.
4. No operation takes time in proportion to the number of callers.

A ranking is a heap with upper bounds as keys: a holding may grow up to its key without being moved, so most
submissions only compare two numbers. The key of the first one is made exact before it is used.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, final

from mypy_extensions import mypyc_attr

from jobqueue.core.record import MutableRecord

if TYPE_CHECKING:
    from array import array

    from jobqueue.core.job import Job, JobId

PARTS: Final = 1024

UNRANKED: Final = 2**60
"""The key of a holding without terminal records: it may grow without being ranked."""

_PRUNED_AT: Final = 4

RECORDS: Final = 0
BYTES: Final = 1
FAILED: Final = 2
"""What holdings are ranked by."""


@final
@mypyc_attr(acyclic=True)
class Holding(MutableRecord):
    """What one caller holds.

    Attributes:
        caller: Its name; None: the application itself.
        records: Number of its records; `terminal` of them are terminal.
        size_bytes: Their bytes; `terminal_bytes` are those of the terminal ones.
        records_key, bytes_key, failed_key: What it may grow to without being ranked anew.
        failed: The ids of its failed records, oldest first; None: there was none.
        latest: The number of the expiry bucket of its last terminal record; 0: none is known.
        buckets: The numbers of all such buckets, oldest first; None: there was one only. No list, which the garbage
            collector would traverse.
        passed: How many of them, from the first on, have none of its records any more.
        pruned_at: The number of buckets at which those that are gone are forgotten.
    """

    caller: str | None
    records: int
    terminal: int
    size_bytes: int
    terminal_bytes: int
    records_key: int
    bytes_key: int
    failed_key: int
    failed: OrderedDict[JobId, None] | None
    latest: int
    buckets: array[int] | None
    passed: int
    pruned_at: int

    def __init__(
        self,
        caller: str | None,
        records: int = 0,
        terminal: int = 0,
        size_bytes: int = 0,
        terminal_bytes: int = 0,
        records_key: int = 0,
        bytes_key: int = 0,
        failed_key: int = 0,
        failed: OrderedDict[JobId, None] | None = None,
        latest: int = 0,
        buckets: array[int] | None = None,
        passed: int = 0,
        pruned_at: int = _PRUNED_AT,
    ) -> None:
        self.caller = caller
        self.records = records
        self.terminal = terminal
        self.size_bytes = size_bytes
        self.terminal_bytes = terminal_bytes
        self.records_key = records_key
        self.bytes_key = bytes_key
        self.failed_key = failed_key
        self.failed = failed
        self.latest = latest
        self.buckets = buckets
        self.passed = passed
        self.pruned_at = pruned_at


class Largest:
    """Finds the holding with the most records, bytes or failed records, of those with terminal records.

    Args:
        holdings: All of them, by caller.
        all_live: Callers without terminal records that would be ranked with them: so they are with their first one.
        kind: What it ranks by.
        bound: The bound of the store.

    Attributes:
        small_max: The largest amount of a small caller.
    """

    def __init__(
        self, holdings: dict[str | None, Holding], all_live: set[str | None], *, kind: int, bound: int
    ) -> None:
        self._holdings = holdings
        self._all_live = all_live
        self._kind = kind
        self.small_max = bound // PARTS
        # Negative keys: the first one is the largest; of equal ones that which was ranked first. An entry counts while
        # its key is that of the holding.
        self._heap: list[tuple[int, int, str | None]] = []
        self._ranked = 0
        self._compacted_at = 64

    def rank(self, holding: Holding) -> None:
        """Rank a holding that has grown beyond its key, or has its first terminal record."""
        amount = self._amount(holding)
        if amount <= self.small_max:
            self._set_key(holding, self.small_max)
            return
        key = amount + amount // 4 + 8
        self._set_key(holding, key)
        self._ranked += 1
        heapq.heappush(self._heap, (-key, self._ranked, holding.caller))
        if len(self._heap) > self._compacted_at:
            self._heap = [entry for entry in self._heap if self._counts(entry)]
            heapq.heapify(self._heap)
            self._compacted_at = 2 * len(self._heap) + 64

    def clear(self) -> None:
        """Forget all entries, as no caller has records."""
        self._heap.clear()

    def first(self) -> Holding | None:
        """Return the largest holding with terminal records; None: all callers with such records are small."""
        heap = self._heap
        while heap:
            key, ranked, caller = heap[0]
            holding = self._holdings.get(caller)
            if holding is None or self._key(holding) != -key:
                heapq.heappop(heap)
                continue
            amount = self._amount(holding)
            if amount <= self.small_max:
                heapq.heappop(heap)
                self._set_key(holding, self.small_max)
            elif not holding.terminal:
                heapq.heappop(heap)
                self._set_key(holding, UNRANKED)
                self._all_live.add(holding.caller)
            elif amount < -key:
                self._set_key(holding, amount)
                heapq.heapreplace(heap, (-amount, ranked, caller))
            else:
                return holding
        return None

    def ranked(self) -> list[str | None]:
        """Return the callers that are ranked, largest upper bounds first; small ones are not."""
        return [entry[2] for entry in sorted(self._heap) if self._counts(entry)]

    def _counts(self, entry: tuple[int, int, str | None]) -> bool:
        holding = self._holdings.get(entry[2])
        return holding is not None and self._key(holding) == -entry[0]

    def _amount(self, holding: Holding) -> int:
        if self._kind == RECORDS:
            return holding.records
        if self._kind == BYTES:
            return holding.size_bytes
        return 0 if holding.failed is None else len(holding.failed)

    def _key(self, holding: Holding) -> int:
        if self._kind == RECORDS:
            return holding.records_key
        return holding.bytes_key if self._kind == BYTES else holding.failed_key

    def _set_key(self, holding: Holding, key: int) -> None:
        if self._kind == RECORDS:
            holding.records_key = key
        elif self._kind == BYTES:
            holding.bytes_key = key
        else:
            holding.failed_key = key


class Holdings:
    """The holdings of all callers of a store, which counts new and terminal records itself, since a call takes longer.

    Attributes:
        by_caller: None: the application itself.
    """

    def __init__(self, *, jobs_max: int, bytes_max: int, failed_max: int) -> None:
        self.by_caller: dict[str | None, Holding] = {}
        self.all_live: set[str | None] = set()
        self.by_records = Largest(self.by_caller, self.all_live, kind=RECORDS, bound=jobs_max)
        self.by_bytes = Largest(self.by_caller, self.all_live, kind=BYTES, bound=bytes_max)
        self.by_failed = Largest(self.by_caller, self.all_live, kind=FAILED, bound=failed_max)

    def __len__(self) -> int:
        return len(self.by_caller)

    def of(self, job: Job) -> Holding:
        """Return the holding that a record is part of."""
        uniqueness = job.uniqueness
        return self.by_caller[None if uniqueness is None else uniqueness.caller]

    def live_of(self, caller: str | None) -> tuple[int, int]:
        """Return the number of a caller's live records, and their bytes."""
        holding = self.by_caller.get(caller)
        if holding is None:
            return 0, 0
        return holding.records - holding.terminal, holding.size_bytes - holding.terminal_bytes

    def add(self, caller: str | None, records: int, size_bytes: int) -> None:
        """Count new records, or the growth of one; negative if it shrank."""
        holding = self.by_caller.get(caller)
        if holding is None:
            holding = self.begin(caller)
        holding.records += records
        if holding.records > holding.records_key:
            self.by_records.rank(holding)
        holding.size_bytes += size_bytes
        if holding.size_bytes > holding.bytes_key:
            self.by_bytes.rank(holding)

    def begin(self, caller: str | None) -> Holding:
        """Return the holding of a caller that has held nothing."""
        holding = self.by_caller[caller] = Holding(
            caller,
            records_key=self.by_records.small_max,
            bytes_key=self.by_bytes.small_max,
            failed_key=self.by_failed.small_max,
        )
        return holding

    def note_terminal(self, holding: Holding) -> None:
        """Rank a holding that had live records only."""
        self.all_live.discard(holding.caller)
        self.by_records.rank(holding)
        self.by_bytes.rank(holding)

    def note_failed(self, holding: Holding, job_id: JobId) -> None:
        """Note that a terminal record is a failed one."""
        if holding.failed is None:
            holding.failed = OrderedDict()
        holding.failed[job_id] = None
        if len(holding.failed) > holding.failed_key:
            self.by_failed.rank(holding)

    def forget_failed(self, job: Job) -> None:
        """Note that a failed record is removed, or retried."""
        failed = self.of(job).failed
        assert failed is not None, "its failed records are noted"
        del failed[job.id]

    def remove(self, holding: Holding, count: int, size_bytes: int) -> None:
        """Count terminal records that are no longer held."""
        holding.records -= count
        holding.terminal -= count
        holding.size_bytes -= size_bytes
        holding.terminal_bytes -= size_bytes
        if not holding.records:
            del self.by_caller[holding.caller]
            self.all_live.discard(holding.caller)
            if not self.by_caller:
                # Spread among the objects of a load, each old entry would keep a 1 MiB arena of CPython in use.
                for largest in (self.by_records, self.by_bytes, self.by_failed):
                    largest.clear()

    def revive(self, job: Job, size_bytes: int) -> None:
        """Count a terminal record that is live again."""
        holding = self.of(job)
        holding.terminal -= 1
        holding.terminal_bytes -= size_bytes
