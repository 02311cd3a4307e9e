"""Makes the calls of a store from its settings. The client library is imported here, by a server that needs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.errors import ConfigError
from jobqueue.extras import MissingExtra, extra

if TYPE_CHECKING:
    from jobqueue.backend.valkey.store_calls import StoreCalls
    from jobqueue.config.valkey import ValkeySettings


def store_calls(settings: ValkeySettings) -> StoreCalls:
    """Return the calls of a store, to be opened within the loop that it is made in.

    Raises:
        ConfigError: The extra `valkey` is not installed.
    """
    try:
        with extra("valkey", "backend: valkey"):
            from jobqueue.backend.valkey.address import Address
            from jobqueue.backend.valkey.store_calls import StoreCalls
    except MissingExtra as error:
        raise ConfigError(str(error)) from None
    return StoreCalls(Address(settings), settings)
