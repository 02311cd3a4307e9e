"""Settings: their types, and how they are read, shown and changed.

`settings` has the structs, `load` reads them from their sources, `reload` reads them again.
"""

from jobqueue.config.auth import AuthSettings, KeySettings
from jobqueue.config.callers import CallerLimits, LimitsOfCallers
from jobqueue.config.console import ConsoleSettings
from jobqueue.config.journal import JournalSettings
from jobqueue.config.limits import LIMITS_FIXED, LimitsSettings
from jobqueue.config.metrics import MetricsSettings
from jobqueue.config.otel import OtelSettings
from jobqueue.config.schedules import ScheduleSettings
from jobqueue.config.section import MIB
from jobqueue.config.settings import (
    LogSettings,
    QueueSettings,
    RuntimeSettings,
    ServerSettings,
    Settings,
    SpoolSettings,
    StatsSettings,
    StatusesSettings,
    reloads_live,
)
from jobqueue.config.valkey import ValkeySettings
from jobqueue.config.webhooks import EndpointSettings, WebhooksSettings

__all__ = [
    "LIMITS_FIXED",
    "MIB",
    "AuthSettings",
    "CallerLimits",
    "ConsoleSettings",
    "EndpointSettings",
    "JournalSettings",
    "KeySettings",
    "LimitsOfCallers",
    "LimitsSettings",
    "LogSettings",
    "MetricsSettings",
    "OtelSettings",
    "QueueSettings",
    "RuntimeSettings",
    "ScheduleSettings",
    "ServerSettings",
    "Settings",
    "SpoolSettings",
    "StatsSettings",
    "StatusesSettings",
    "ValkeySettings",
    "WebhooksSettings",
    "reloads_live",
]
