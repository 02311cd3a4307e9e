"""Descriptors of files being sent: bounds the open files beside one for each connection.

A download keeps its file open for as long as its client takes, so slow ones could use up the process's open files, and
then no connection could be accepted. The server sets the bound at its start, when it knows the limit.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from jobqueue.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES_MAX = 256
"""Default, for a host application's server with unknown limits."""


class Descriptors:
    """The count of files being sent.

    Attributes:
        files_max: Maximum number of open files.
        open: Number of open files.
    """

    def __init__(self) -> None:
        self.files_max = FILES_MAX
        self.open = 0

    @contextmanager
    def file(self) -> Iterator[None]:
        """Count one more file for the duration of the block. Raises Overloaded."""
        if self.open >= self.files_max:
            raise Overloaded("too many files are being sent at the same time", retry_after_s=2.0)
        self.open += 1
        try:
            yield
        finally:
            self.open -= 1


DESCRIPTORS = web.AppKey("descriptors", Descriptors)
"""The key of an application's descriptors, for the server to set their bound."""
