"""Ids of jobs that several processes share: which of them were issued, without asking the store.

Rules:

1. The processes of a deployment share a secret, and each has a run of its own, both from the store. The secret of a
   run's ids is made of both: else ids of one run would tell the tags of another's.
2. An id without a right check (for this owner, or any) is asked for nowhere. The tag is looked at where the store has
   no record.
3. A tag that is right proves that a process of this deployment issued the id: if there is no record, it was evicted. A
   check that is right, of an id with another tag, tells of an earlier deployment. All others were never issued.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from jobqueue.core.ids import RUNS, IdIssuer, Origin, has_check, is_well_formed, run_of

if TYPE_CHECKING:
    from jobqueue.core.job import JobId

_KNOWN_RUNS: Final = 64
"""Other processes whose secrets are kept at hand."""


class FleetIds:
    """Issues the ids of one process, and verifies those of all processes of its deployment.

    Args:
        secret: The deployment's, at least 16 bytes.
        run: That of this process, one of `RUNS`.
    """

    def __init__(self, secret: bytes, run: int) -> None:
        self._secret = secret
        self._own = IdIssuer(secret=self._secret_of(run), run=run)
        self._issuer_of = lru_cache(_KNOWN_RUNS)(self._issuer)

    @property
    def run(self) -> str:
        """The first characters of the ids of this process."""
        return self._own.run

    def issue(self, owner: str | None = None) -> JobId:
        """Return the next id, of a job with this owner."""
        return self._own.issue(owner)

    def may_exist(self, text: str, owner: str | None = None) -> bool:
        """Whether a record may have this id, by a check that costs little: of others, one in 4,096 passes.

        Args:
            owner: As of `origin`.
        """
        if is_well_formed(text) is None:
            return False
        return has_check(text, owner) or (owner is None and self.origin(text) is Origin.THIS_RUN)

    def origin(self, text: str, owner: str | None = None) -> Origin:
        """Return where an id comes from, by its tag and check alone.

        Args:
            owner: For others than the id's owner it was never issued; None: for all owners.

        Returns:
            `THIS_RUN`: a process of this deployment issued it. `EARLIER_RUN`: one of an earlier deployment.
        """
        run = run_of(text)
        if run is None or run not in RUNS:
            return Origin.NEVER
        if self._issuer_of(run).may_have_issued(text, owner):
            return Origin.THIS_RUN
        return Origin.EARLIER_RUN if has_check(text, owner) else Origin.NEVER

    def _issuer(self, run: int) -> IdIssuer:
        return IdIssuer(secret=self._secret_of(run), run=run)

    def _secret_of(self, run: int) -> bytes:
        return hashlib.blake2b(run.to_bytes(4, "big"), key=self._secret[:64], digest_size=32).digest()
