"""Descriptors of files that are sent: how many may be open at once, beside one for each connection.

A download keeps its file open for as long as its client takes, so slow ones could use up the process's open files, and
then no connection could be accepted. What is left for files is decided where the limit is known: at the server's start.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from jobqueue.http.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES_MAX = 256
"""For a host application's server: its limits are not known here."""


class Descriptors:
    """The count of files that are being sent.

    Attributes:
        files_max: How many files may be open.
        open: How many are.
    """

    def __init__(self) -> None:
        self.files_max = FILES_MAX
        self.open = 0

    @contextmanager
    def file(self) -> Iterator[None]:
        """Count one more file for the time of the block. Raises Overloaded."""
        if self.open >= self.files_max:
            raise Overloaded("too many files are being sent at the same time", retry_after_s=2.0)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


DESCRIPTORS = web.AppKey("descriptors", Descriptors)
"""Under which an application holds its descriptors, for the server that knows how many there may be."""
