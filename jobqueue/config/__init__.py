"""Settings: their types, and how they are read, shown and changed.

`settings` has the structs, `load` reads them from their sources, `reload` reads them again.
"""

from jobqueue.config.access import AuthSettings, KeySettings
from jobqueue.config.settings import (
    LIMITS_FIXED,
    MIB,
    LimitsSettings,
    LogSettings,
    QueueSettings,
    RuntimeSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    StatusesSettings,
    reloads_live,
)

__all__ = [
    "LIMITS_FIXED",
    "MIB",
    "AuthSettings",
    "KeySettings",
    "LimitsSettings",
    "LogSettings",
    "QueueSettings",
    "RuntimeSettings",
    "ServerSettings",
    "Settings",
    "SpoolSettings",
    "StatusesSettings",
    "reloads_live",
]
