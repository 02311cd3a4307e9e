"""The Unix socket: its file, from bind to removal.

Rules:

1. A socket file that no process listens on is replaced: a server that was killed leaves one behind. One in use, and a
   file of any other kind, is a fault.
   Of servers that start at once, one at a time looks and binds, and it listens before the next one looks.
2. The file has its mode before a client can connect. Its folder decides, too: clients need to search it.
3. A stop removes the file, unless another server has put its own there meanwhile.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import ExitStack, suppress

from jobqueue.errors import ConfigError
from jobqueue.folder_lock import locked
from jobqueue.paths import written_path

PATH_BYTES_MAX = 107
"""The kernel's bound (unix(7)), without the zero at the end."""

LOCK_S = 1.0
"""How long to wait for other servers that start; then without: any user that may read the folder can hold its lock."""


class UnixSocket:
    """A Unix socket that listens; connections wait until a server takes it.

    Raises:
        ConfigError: There can be no socket at this path.
    """

    def __init__(self, text: str, mode: int) -> None:
        try:
            self.path = os.path.abspath(written_path(text))
        except ValueError as error:
            raise ConfigError(f"server.socket: {text}: {error}") from None
        size_bytes = len(os.fsencode(self.path))
        if size_bytes > PATH_BYTES_MAX:
            raise self._fault(f"the path has {size_bytes} bytes, and a socket's may have {PATH_BYTES_MAX}")
        with ExitStack() as stack:
            with suppress(OSError):  # the folder may be one that can't be read
                stack.enter_context(locked(os.path.dirname(self.path), wait_s=LOCK_S))
            self._bind(mode)

    def _bind(self, mode: int) -> None:
        self._remove_stale()
        self.wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.wire.setblocking(False)
            mask = os.umask(0o177)  # so that the file is never open to more than its owner, until its mode is set
            try:
                self.wire.bind(self.path)
            finally:
                os.umask(mask)
            os.chmod(self.path, mode)
            state = os.lstat(self.path)
            self.wire.listen()
        except OSError as error:
            self.wire.close()
            raise self._fault(_told(error)) from None
        self._file = (state.st_dev, state.st_ino)

    def remove(self) -> None:
        """Remove the file, if it is still this socket's."""
        with suppress(OSError):
            state = os.lstat(self.path)
            if (state.st_dev, state.st_ino) == self._file:
                os.unlink(self.path)

    def _remove_stale(self) -> None:
        try:
            state = os.lstat(self.path)
            if not stat.S_ISSOCK(state.st_mode):
                raise self._fault("exists, and is no socket: it is not overwritten")
            if self._is_in_use():
                raise self._fault("is in use: another server listens there")
            os.unlink(self.path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._fault(_told(error)) from None

    def _is_in_use(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a full backlog would block it
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                return False
            except BlockingIOError:
                return True
            except OSError as error:
                if error.errno == errno.EPROTOTYPE:  # of another type, such as a datagram socket: of another program
                    return True
                raise
        return True

    def _fault(self, what: str) -> ConfigError:
        return ConfigError(f"server.socket: {self.path}: {what}")


def _told(error: OSError) -> str:
    return f"can't be made: {error.strerror or error}"
