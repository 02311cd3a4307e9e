"""Mutants of what is published and delivered: each breaks one promise of topics or webhooks, as those in `mutants`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec

from jobqueue.backend.memory import MemoryBackend
from jobqueue.config.webhooks import WEBHOOK
from jobqueue.core.admission import AdmissionControl
from jobqueue.core.topics import TopicIndex
from jobqueue.errors import QueueFull
from jobqueue.publishing import Publication, Published, Publishing
from jobqueue.runtime import webhooks
from jobqueue.runtime.webhook_target import Target, TopicSubscription
from jobqueue.runtime.webhooks import Webhooks
from tests.simulation.mutants import mutant

# -- publishes


@mutant(TopicIndex, "of")
def a_subscriber_is_left_out(of: Any) -> Any:
    return lambda self, topic: of(self, topic)[:2]


@mutant(TopicIndex, "of")
def a_subscriber_with_two_patterns_gets_two_jobs(of: Any) -> Any:
    def found(self: TopicIndex[Any], topic: str) -> list[Any]:
        subscribers = of(self, topic)
        return [*subscribers, *(each for each in subscribers if len(each.patterns) > 1)]

    return found


@mutant(AdmissionControl, "admit_together")
def jobs_of_a_publish_are_accepted_beyond_the_capacity(admit: Any) -> Any:
    def admitted(self: AdmissionControl, many: Any, *, now: float) -> None:
        with suppress(QueueFull):
            admit(self, many, now=now)

    return admitted


@mutant(MemoryBackend, "submit_together")
def a_publish_without_slots_for_all_makes_some_jobs(submit_together: Any) -> Any:
    async def submitted(self: MemoryBackend, many: Any, *args: Any, **given: Any) -> Any:
        try:
            return await submit_together(self, many, *args, **given)
        except QueueFull:
            await submit_together(self, many[:1], *args, **given)
            raise

    return submitted


@mutant(Publishing, "_earlier")
def the_key_of_a_publish_is_not_found(earlier: Any) -> Any:
    return lambda self, caller, key: {}


@mutant(Publishing, "_keys_of")
def the_key_of_a_publish_is_that_of_its_first_job_alone(keys_of: Any) -> Any:
    return lambda self, key: [key]


@mutant(Publishing, "publish")
def a_repeated_publish_is_told_as_a_new_one(publish: Any) -> Any:
    async def published(self: Publishing, topic: str, data: bytes, **given: Any) -> Publication:
        done: Publication = await publish(self, topic, data, **given)
        return msgspec.structs.replace(done, duplicate=False)

    return published


@mutant(Publishing, "publish")
def listeners_hear_of_rejected_data(publish: Any) -> Any:
    async def published(self: Publishing, topic: str, data: bytes, **given: Any) -> Publication:
        for listener in self._listeners:
            listener(Published(topic, data, 0.0, None))
        listeners, self._listeners = self._listeners, ()
        try:
            done: Publication = await publish(self, topic, data, **given)
        finally:
            self._listeners = listeners
        return done

    return published


# -- deliveries


@mutant(Webhooks, "_tell_ends")
def an_end_makes_two_deliveries(tell_ends: Any) -> Any:
    def told(self: Webhooks) -> None:
        self._ended += self._ended
        tell_ends(self)

    return told


@mutant(Webhooks, "_tell_ends")
def the_second_end_of_a_step_makes_no_delivery(tell_ends: Any) -> Any:
    def told(self: Webhooks) -> None:
        del self._ended[1:]
        tell_ends(self)

    return told


@mutant(Webhooks, "_on_ended")
def the_end_of_a_delivery_makes_one(on_ended: Any) -> Any:
    def ended(self: Webhooks, event: Any) -> None:
        on_ended(self, event)
        if event.job.spec.type == WEBHOOK:
            target = next(iter(self._targets.values()))
            self._ended.append((event.job, [target]))
            self._tell_ends()

    return ended


@mutant(Webhooks, "_disable")
def an_endpoint_that_wants_no_more_goes_on_getting_messages(disable: Any) -> Any:
    return lambda self, target: None


@mutant(Target, "refusal")
def a_receiver_may_have_any_number_of_live_deliveries(refusal: Any) -> Any:
    return lambda self: self.disabled


@mutant(Target, "dropped")
def dropped_events_are_not_counted(dropped: Any) -> Any:
    return lambda self, reason: None


@mutant(Target, "go_on_from")
def a_reload_that_changes_nothing_enables_an_endpoint(go_on_from: Any) -> Any:
    def gone_on(self: Target, before: Target) -> None:
        go_on_from(self, before)
        self.disabled = None

    return gone_on


@mutant(Target, "wants_end_of")
def an_endpoint_gets_ends_of_all_types(wants_end_of: Any) -> Any:
    def wants(self: Target, job: Any) -> bool:
        types, self._types = self._types, frozenset()
        wanted: bool = wants_end_of(self, job)
        self._types = types
        return wanted

    return wants


@mutant(Target, "arguments")
def a_callback_goes_to_an_endpoint(arguments: Any) -> Any:
    return lambda self, event, url=None: arguments(self, event)


@mutant(TopicSubscription, "left_out")
def data_that_is_dropped_is_not_counted(left_out: Any) -> Any:
    return lambda self: None


@mutant(Webhooks, "_message")
def a_message_is_signed_without_its_body(message: Any) -> Any:
    def made(self: Webhooks, target: Target, job_id: str, body: bytes, url: str | None) -> Any:
        made = message(self, target, job_id, body, url)
        other = message(self, target, job_id, b"{}", url)
        return msgspec.structs.replace(made, headers=other.headers)

    return made


@mutant(webhooks, "Retry")
def the_pause_of_a_receiver_is_not_kept(retry: Any) -> Any:
    return lambda after_s=None, message="": retry(None, message)


@mutant(AdmissionControl, "drain")
def a_drain_admits_no_delivery(drain: Any) -> Any:
    def drained(self: AdmissionControl) -> None:
        drain(self)
        self.follow_ups = frozenset({"none of the types"})

    return drained


@mutant(MemoryBackend, "call_after_events")
def a_delivery_is_submitted_before_all_have_heard_of_the_end(call_after_events: Any) -> Any:
    return lambda self, act: act()
