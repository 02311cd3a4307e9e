"""Deliveries of webhooks: the rules across the section `webhooks` and the other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobqueue.config.webhooks import WEBHOOKS
from jobqueue.core.topics import pattern_fault
from jobqueue.webhooks.addresses import ENTRY_EXPECTED, Allowed
from jobqueue.webhooks.signature import SECRET_EXPECTED, keys_of
from jobqueue.webhooks.url import fault_of_url, host_of_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jobqueue.config.settings import Settings
    from jobqueue.config.webhooks import WebhooksSettings

    Places = Mapping[tuple[str, ...], str]


def faults_of_webhooks(settings: Settings, places: Places) -> Iterator[str]:
    """Yield what is wrong with settings that are valid alone. Args: places: As in `listening`."""
    webhooks = settings.webhooks

    def at(*path: str) -> str:
        return places.get(("webhooks", *path), ".".join(("webhooks", *path)))

    try:
        allowed = Allowed(webhooks.allow)
    except ValueError as error:
        yield f"{at('allow')}: {str(error)[:60]!r} must be {ENTRY_EXPECTED}"
        return
    yield from _faults_of_callbacks(webhooks, at("callbacks"), at("callback_hosts"))
    if webhooks.secret is not None:
        yield from _faults_of_secret(webhooks.secret, at("secret"))
    for name, endpoint in webhooks.endpoints.items():
        if (fault := fault_of_url(endpoint.url, allowed)) is not None:
            yield f"{at('endpoints', name, 'url')}: {fault}"
        if not endpoint.events and not endpoint.topics:
            yield f"{at('endpoints', name)}: lists neither events nor topics, so nothing would be sent"
        for pattern in endpoint.topics:
            if (fault := pattern_fault(pattern)) is not None:
                yield f"{at('endpoints', name, 'topics')}: {fault}"
        for queue in endpoint.queues:
            if queue not in settings.queues:
                yield f"{at('endpoints', name, 'queues')}: no such queue: {queue}"
        if webhooks.secret_of(endpoint) is None:
            yield f"{at('endpoints', name)}: lacks a secret: {SECRET_EXPECTED}; or set webhooks.secret for all"
        if endpoint.secret is not None:
            yield from _faults_of_secret(endpoint.secret, at("endpoints", name, "secret"))
    if webhooks.wanted:
        yield from _faults_of_place(settings, places)


def _faults_of_callbacks(webhooks: WebhooksSettings, at: str, at_hosts: str) -> Iterator[str]:
    for host in webhooks.callback_hosts:
        if host_of_place(host) is None:
            expected = "the name of a host in lower case, or an address, with or without a port, such as crm:8443"
            yield f"{at_hosts}: {host[:60]!r} must be {expected}"
    if webhooks.callbacks and not webhooks.callback_hosts:
        yield f"{at}: needs webhooks.callback_hosts: a callback goes to no other host"
    if webhooks.callbacks and webhooks.secret is None:
        yield f"{at}: needs webhooks.secret, which signs callbacks: {SECRET_EXPECTED}"


def _faults_of_secret(secret: str, at: str) -> Iterator[str]:
    try:
        keys_of(secret)
    except ValueError as error:
        yield f"{at}: must be {SECRET_EXPECTED}, not {error}"


def _faults_of_place(settings: Settings, places: Places) -> Iterator[str]:
    """Yield why deliveries can't be jobs where the settings keep jobs."""
    queue = settings.queues.get(WEBHOOKS)
    if queue is not None and queue.retry_budget != 0:
        at = places.get(("queues", WEBHOOKS, "retry_budget"), f"queues.{WEBHOOKS}.retry_budget")
        yield f"{at}: must be 0: else a receiver that is down would put the deliveries to all others into quarantine"
    if settings.backend == "valkey":
        yield (
            "webhooks.callbacks, webhooks.endpoints: does not fit backend: valkey: the end of a job and its delivery "
            "could not be kept together; read an event stream, or use one server with a journal"
        )
