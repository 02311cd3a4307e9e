"""The auditor's account of deliveries: of what happened, which receiver gets it, in which attempts, and what is shown.

Rules:

1. The end of a job makes one delivery for each endpoint that lists it, and one for its callback, at once. It makes none
   where the endpoint is disabled or has its maximum of live deliveries, or where there is no room: these are counted.
2. The end of a delivery makes none.
3. Each attempt sends one message, signed, to its receiver; and it ends as the answer says.
4. An endpoint that has answered 410 gets nothing more, until its settings change.
5. Live deliveries, dropped ones and the results of attempts are shown as they are.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
from standardwebhooks import Webhook

from jobqueue.config.webhooks import WEBHOOK, WEBHOOKS
from jobqueue.core.events import BackedOff, Ended, Requeued, Retried, RunNow, Submitted
from jobqueue.core.job import JobState
from jobqueue.errors import Reject, Retry
from jobqueue.webhooks.message import AddressRefused, Answer, Undelivered
from tests.simulation.limits import EPSILON_S
from tests.simulation.receivers import CALLBACK_HOST, CALLBACKS, SECRET
from tests.simulation.subscribers import hears

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobqueue.app import JobQueue
    from jobqueue.config import EndpointSettings
    from jobqueue.context import JobContext
    from jobqueue.core.events import Event
    from jobqueue.core.job import Job
    from jobqueue.webhooks.message import Message
    from tests.simulation.auditor import Auditor
    from tests.simulation.known import Known

OF_CALLBACKS = f"@{CALLBACK_HOST}"
DELIVERY_BYTES = 2500
"""No delivery is larger: with less room in the job store, one may be dropped."""

GONE = 410


class Deliveries:
    """Hears of all ends and deliveries of a run, and of all messages."""

    def __init__(self, queue: JobQueue, auditor: Auditor) -> None:
        self._queue, self._auditor = queue, auditor
        self._wanted = False

    def begin(self) -> None:
        """Reset the account for a queue that has just started."""
        wiring = self._queue.service._wiring
        assert wiring is not None
        self._wanted = wiring.webhooks is not None
        if wiring.webhooks is None:
            return
        self._due: Counter[tuple[str, str]] = Counter()
        self._made: Counter[tuple[str, str]] = Counter()
        self._touched: list[tuple[str, str]] = []
        self._live: dict[str, str] = {}
        self._ends: list[tuple[str, Job]] = []
        self._disabled: set[str] = set()
        self._counts: Counter[tuple[str, str]] = Counter()
        self._attempts: dict[str, tuple[int, EndpointSettings | None]] = {}
        self._answers: dict[tuple[str, int], tuple[float, Answer | Undelivered]] = {}
        self._not_before: dict[str, float] = {}
        handler = wiring.webhooks.handler
        self._deliver, handler.func = handler.func, self._audited
        self._auditor.backend.subscribe(self._on_live, Submitted, Retried)
        self._auditor.backend.subscribe(self._on_ended, Ended)
        self._auditor.backend.subscribe(self._on_backed_off, BackedOff)
        self._auditor.backend.subscribe(self._on_hurried, Retried, RunNow, Requeued)

    # -- from what happened to deliveries

    def published(self, n: int, topic: str) -> None:
        """Data was accepted, and its jobs are held."""
        if self._wanted:
            for name, endpoint in self._endpoints.items():
                if hears(endpoint.topics, topic):
                    self._is_due(name, f"n{n}", excused=self._takes_none(name))

    def _on_ended(self, event: Ended) -> None:
        job = event.job
        if job.spec.type == WEBHOOK:
            to = self._live.pop(job.id)
            self._counts[to, "failed"] += job.state is JobState.FAILED and to in self._receivers
            return
        for name, endpoint in self._endpoints.items():
            of_type = not endpoint.types or job.spec.type in endpoint.types
            of_queue = not endpoint.queues or job.spec.queue in endpoint.queues
            if f"job.{job.state}" in endpoint.events and of_type and of_queue:
                self._ends.append((name, job))
        if job.spec.callback is not None:
            self._ends.append((OF_CALLBACKS, job))
        if self._ends:
            self._auditor.backend.call_after_events(self._check_ends)

    def _check_ends(self) -> None:
        """Check that the ends of one step have made their deliveries, now that these are submitted."""
        ends, self._ends = self._ends, []
        for to, job in ends:
            caller = job.caller if to == OF_CALLBACKS else None
            self._is_due(to, job.id, excused=self._takes_none(to) or self._no_room(caller))

    def _is_due(self, to: str, source: str, *, excused: bool) -> None:
        """Expect a delivery, which was made just before, or is dropped."""
        self._due[to, source] += 1
        if self._made[to, source] < self._due[to, source]:
            self._auditor.check(excused, f"{self._called(source)} made no delivery to {to}")
            self._due[to, source] -= 1
            self._counts[to, "dropped"] += 1
            self._auditor.counts["dropped delivery"] += 1

    def _takes_none(self, to: str) -> bool:
        endpoint = self._endpoints.get(to)
        pending_max = 1000 if endpoint is None else endpoint.pending_max
        return to in self._disabled or self._pending(to) >= pending_max

    def _no_room(self, caller: str | None) -> bool:
        engine, bounds = self._auditor.engine, self._queue.settings.statuses
        queue_state, store = engine.queue_states[WEBHOOKS], engine.store
        return (
            queue_state.live >= queue_state.policy.capacity
            or store.live >= bounds.jobs_max
            or store.live_bytes + DELIVERY_BYTES > bounds.bytes_max
            or not engine.admission.follow_ups  # the drain is over
            or (caller is not None and store.quotas.any)
        )

    def _on_live(self, event: Submitted | Retried) -> None:
        job = event.job
        if job.spec.type != WEBHOOK:
            return
        args = json.loads(job.args)
        to, told = args["to"], args["event"]
        self._live[job.id] = to
        if isinstance(event, Retried):
            return
        check, counts = self._auditor.check, self._auditor.counts
        source = f"n{told['data']['n']}" if "n" in told["data"] else told["data"]["id"]
        of_end = told["type"].startswith("job.")
        counts["callback" if "url" in args else "delivery"] += 1
        check(to == job.spec.group, f"a delivery to {to} is of group {job.spec.group}")
        check(told["data"].get("type") != WEBHOOK, f"the end of a delivery made one to {to}")
        check(not of_end or told["type"] == f"job.{told['data']['state']}", f"an event is told as {told['type']}")
        check(to not in self._disabled, f"{to} is disabled, and {self._called(source)} made a delivery to it")
        endpoint = self._endpoints.get(to)
        if endpoint is not None:
            pending = self._pending(to)
            check(pending <= endpoint.pending_max, f"{pending} deliveries to {to}, of {endpoint.pending_max}")
        self._made[to, source] += 1
        self._touched.append((to, source))

    # -- attempts

    async def _audited(self, ctx: JobContext, **given: Any) -> dict[str, int | float]:
        """Carry out a delivery, and compare its outcome with the answer."""
        known = self._auditor.known[ctx.job_id]
        with self._auditor.attempts.run(known, ctx.attempt, 0) as attempt:
            try:
                result: dict[str, int | float] = await self._deliver(ctx=ctx, **given)
            except Exception as error:
                self._check_outcome(known, error)
                raise
            attempt.result = msgspec.json.encode(result)
            self._check_outcome(known, None)
            return result

    def _check_outcome(self, known: Known, error: Exception | None) -> None:
        to = known.job.spec.group or ""
        answered = self._answers.get((known.job.id, known.attempt))
        if answered is None:
            unsent = to in self._disabled or to not in self._receivers
            self._auditor.check(isinstance(error, Reject) and unsent, f"{known} to {to} sent nothing, and {error!r}")
            return
        match answered[1]:
            case Answer(status, _) if 200 <= status < 300:
                fits = error is None
            case AddressRefused() | Answer(status=410):
                fits = isinstance(error, Reject)
            case _:
                fits = isinstance(error, Retry)
        self._auditor.check(fits, f"{known} to {to} got {answered[1]!r}, and ends with {error!r}")

    def sent(self, message: Message) -> str:
        """Check a message; return its receiver."""
        check, job_id = self._auditor.check, message.headers["webhook-id"].removeprefix("msg_")
        known = self._auditor.known.get(job_id)
        if known is None or known.job.spec.type != WEBHOOK or not known.running:
            check(False, f"a message is sent for {known}, which is no running delivery")
            return ""
        args = json.loads(known.job.args)
        to, now = args["to"], self._auditor.backend.now()
        attempt, endpoint = known.attempt, self._endpoints.get(to)
        check(self._attempts.get(job_id, (0, None))[0] != attempt, f"attempt {attempt} of {known} sends two messages")
        self._attempts[job_id] = attempt, endpoint
        check(to not in self._disabled, f"{to} is disabled, and gets {known}")
        check(now >= self._not_before.get(job_id, 0.0) - EPSILON_S, f"{known} is sent to {to} before its Retry-After")
        check(endpoint is None or message.url == endpoint.url, f"{known} to {to} goes to {message.url}")
        check(endpoint or message.url == args.get("url") in CALLBACKS, f"{known} to {to} goes to {message.url}")
        check(json.loads(message.body) == args["event"], f"{known} to {to} sends something else")
        at = datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC)
        signed = Webhook(SECRET).sign(f"msg_{job_id}", at, message.body.decode())
        check(message.headers["webhook-signature"] == signed, f"{known} to {to} is not signed")
        return to

    def answered(self, message: Message, outcome: Answer | Undelivered) -> None:
        """Note the answer to a message, or that there is none."""
        known = self._auditor.known.get(message.headers["webhook-id"].removeprefix("msg_"))
        if known is None:
            return
        job_id, to = known.job.id, known.job.spec.group or ""
        attempt, asked = self._attempts[job_id]
        status = outcome.status if isinstance(outcome, Answer) else "unanswered"
        self._auditor.note(to, f"{known}: {status}")
        self._auditor.counts["delivered" if status in range(200, 300) else str(status)] += 1
        self._answers[job_id, attempt] = self._auditor.backend.now(), outcome
        self._counts[to, "delivered" if status in range(200, 300) else "attempts failed"] += to in self._receivers
        if status == GONE and asked is not None and asked == self._endpoints.get(to):
            self._disabled.add(to)

    def _on_backed_off(self, event: BackedOff) -> None:
        job = event.job
        at, outcome = self._answers.get((job.id, job.attempt), (0.0, None))
        if isinstance(outcome, Answer) and outcome.retry_after_s is not None:
            due_at = self._not_before[job.id] = at + max(1.0, outcome.retry_after_s)
            self._auditor.check(job.run_at >= due_at - EPSILON_S, f"a delivery to {job.spec.group} comes too early")
            self._auditor.counts["pause of a receiver"] += 1

    def _on_hurried(self, event: Event) -> None:
        """Forget the pause that a receiver asked for: an operator, or the death of a worker, ends it."""
        self._not_before.pop(event.job.id, None)  # type: ignore[union-attr]  # the events of this listener have a job

    # -- settings and figures

    @property
    def _endpoints(self) -> Mapping[str, EndpointSettings]:
        return self._queue.settings.webhooks.endpoints

    @property
    def _receivers(self) -> set[str]:
        callbacks = {OF_CALLBACKS} if self._queue.settings.webhooks.callbacks else set()
        return {*self._endpoints, *callbacks}

    def has_left(self, known: Known) -> bool:
        """Return whether a job is a delivery to an endpoint that is not there any more, or hears of no topic."""
        endpoint = self._endpoints.get(known.job.spec.group or "")
        return known.job.spec.type == WEBHOOK and (endpoint is None or not endpoint.topics)

    def reloaded(self, before: Mapping[str, EndpointSettings], after: Mapping[str, EndpointSettings]) -> None:
        """Note changed settings: an endpoint with other ones is not disabled any more, and a new one begins anew."""
        for name in {*before, *after}:
            if before.get(name) != after.get(name):
                self._disabled.discard(name)
                self._auditor.counts["endpoint changed"] += 1
                self._auditor.note("receivers", f"settings of {name} change")
            if name not in before or name not in after:
                for key in [key for key in self._counts if key[0] == name]:
                    del self._counts[key]

    def check(self) -> None:
        """Check that nothing was delivered twice; cheap enough for every loop iteration."""
        if self._wanted and self._touched:
            for to, source in self._touched:
                due, made = self._due[to, source], self._made[to, source]
                self._auditor.check(made <= due, f"{self._called(source)} made {made} deliveries to {to}, for {due}")
            self._touched.clear()

    def check_figures(self) -> None:
        """Compare what is shown of each receiver."""
        if not self._wanted:
            return
        for shown in self._queue.service.webhooks:
            to = shown.name
            ours = (
                self._pending(to),
                *(self._counts[to, what] for what in ("delivered", "failed", "attempts failed", "dropped")),
                to in self._disabled,
            )
            theirs = (
                shown.pending,
                *(shown.delivered_total, shown.failed_total, shown.attempts_failed_total, shown.dropped_total),
                shown.disabled is not None,
            )
            what = "pending, delivered, failed, attempts failed, dropped, disabled"
            self._auditor.check(ours == theirs, f"{to}: {what}: {theirs} are shown, {ours} by the account")

    def _pending(self, to: str) -> int:
        return sum(each == to for each in self._live.values())

    def _called(self, source: str) -> str:
        known = self._auditor.known.get(source) or self._auditor.gone.get(source)
        return f"the publish of {source}" if known is None else f"the end of {known}"
