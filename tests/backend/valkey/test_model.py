"""The model test: the store's functions against the engine, by random operations, with the audit after each.

The short form is in `make test`; `make test-valkey` runs the long one, and the mutants: each breaks one check of the
library, and the model test must notice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jobqueue.backend.valkey import library
from jobqueue.build import build
from jobqueue.core.job import RUNNING, JobSpec
from tests.backend.valkey.twin import Mismatch, Twin
from tests.backend.valkey.twin_configs import CONFIGS
from tests.backend.valkey.twin_operations import Operations
from tests.stores import FunctionError, Functions

if TYPE_CHECKING:
    import redis

OPERATIONS = 300
SEEDS_OF_MUTANT = 20

pytestmark = pytest.mark.skipif(
    build() == "compiled", reason="the twin replaces methods of the engine, which compiled classes forbid"
)


def run(client: redis.Redis, config: str, seed: int, operations: int, text: str | None = None) -> Twin:
    client.flushall()
    client.function_flush()
    twin = Operations(Functions(client, text=text), CONFIGS[config](), seed)
    twin.run(operations)
    return twin


@pytest.mark.parametrize("config", CONFIGS)
def test_the_functions_do_as_the_engine(client: redis.Redis, config: str) -> None:
    twin = run(client, config, 1, OPERATIONS)
    assert twin.operations == OPERATIONS
    assert twin.engine.totals().accepted > 30


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_the_functions_do_as_the_engine_for_long(
    client: redis.Redis, config: str, capsys: pytest.CaptureFixture[str]
) -> None:
    operations = calls = accepted = 0
    for seed in range(100, 125):
        twin = run(client, config, seed, 2 * OPERATIONS)
        operations += twin.operations
        calls += twin.store.calls
        accepted += twin.engine.totals().accepted
    with capsys.disabled():
        print(f"\nmodel {config}: {operations} operations, {accepted} jobs, {calls} calls, no difference")


class Given(Operations):
    """A twin that submits what it is given: groups, each with a start-by in seconds, to one queue."""

    submissions: list[tuple[str, float | None]]

    def draw_submission(self) -> tuple[JobSpec, None, bytes]:
        group, start_by_s = self.submissions.pop(0)
        return JobSpec(type="echo", queue="a", start_by_s=start_by_s, group=group), None, b"x"


@pytest.mark.parametrize(
    "submissions",
    [
        pytest.param([("g", None), ("g", 0.5), ("g", None)], id="of its own group"),
        pytest.param([("g", None), ("h", 0.5), ("g", None)], id="of another group"),
    ],
)
def test_a_lease_before_the_tick_may_pass_over_a_job_that_is_too_late(
    client: redis.Redis, submissions: list[tuple[str, float | None]]
) -> None:
    config = CONFIGS["fair"]()
    config.queues, config.moving = {"a": config.queues["a"]}, True
    twin = Given(Functions(client), config, 1)
    twin.submissions = list(submissions)
    for operation, times in (("submit", 3), ("lease", 1), ("late_lease", 1)):
        config.operations = {operation: 1}
        twin.run(times)
    assert twin.engine.queue_states["a"].counts[RUNNING] == 2


MUTANTS = {
    "a verdict of another attempt counts": (
        "plain",
        "job.s == 'r' and job.a == attempt and job.w",
        "job.s == 'r' and job.w",
    ),
    "a verdict of another process counts": (
        "plain",
        "job.a == attempt and job.w == process then",
        "job.a == attempt then",
    ),
    "a verdict leaves no mark": ("plain", "job.k = job.a\n", "\n"),
    "a lost lease is not answered again": ("plain", "if number ~= '0' and known[3] == number then", "if false then"),
    "a call of an operator is not remembered": (
        "plain",
        "if token ~= '' then\n    redis.call('SET'",
        "if false then\n redis.call('SET'",
    ),
    "a resent submission is a new one": (
        "plain",
        "if there then",
        "if false then",
    ),
    "one job over the capacity": ("plain", "and 1 or 0) >= queue.capacity", "and 1 or 0) > queue.capacity"),
    "one attempt over the workers": (
        "plain",
        "workers = workers,",
        "workers = workers + 1,",
    ),
    "a unique value stays after the end": (
        "plain",
        "== job.id then\n      redis.call('HDEL', u.prefix .. 'u', name)",
        "== job.id then\n",
    ),
    "a key stays after its record": (
        "plain",
        "uniqueness.forget(u, job, job.kind.claims)\n  unit.remove",
        "unit.remove",
    ),
    "a key of another submission is taken for the same": (
        "plain",
        "fingerprint ~= (claims.fingerprint or '')",
        "false",
    ),
    "an attempt given back is charged": ("plain", "job.n = job.n + 1", ""),
    "a job starts after its start-by": ("plain", "job.t and u.now >= job.t and job.a == 0", "false"),
    "a retry is still among the failed ones": (
        "plain",
        "unit.remove(u, u.prefix .. 'f', job.id)\n  unit.remove(u, u.prefix .. 'ce:'",
        "unit.remove(u, u.prefix .. 'ce:'",
    ),
    "a paused queue is leased": ("plain", "queue.known and queue.paused_at < 0", "queue.known"),
    "lifo is fifo": ("plain", "return -number", "return number"),
    "a lost attempt is not charged": (
        "plain",
        "transitions.to_queued(u, job, true)\n      job.rc",
        "transitions.give_back(u, job)\n      job.rc",
    ),
    "a beat revives a lost process": (
        "plain",
        "function processes.is_alive(u, process)\n",
        "function processes.is_alive(u, process)\n  if true then return true end\n",
    ),
    "a cancelled attempt may fail": (
        "plain",
        "    if job.st == 'cancelled' then\n      transitions.finish(u, job, 'c')\n      return DONE\n    elseif",
        "    if",
    ),
    "a sublist is not brought up to date": (
        "plain",
        "redis.call('ZREM', active, sublist)\n    end\n    return",
        "end\n    return",
    ),
    "no bound of concurrency": ("limited", "room = gate.concurrency - gate.running", "room = 1"),
    "a token is never taken": ("limited", "gate.tat = math.max(gate.tat, u.us) + limits.token_us(gate)", ""),
    "a permit is never given back": ("limited", "gate.running = math.max(0, gate.running - 1)", ""),
    "a type that time opens stays shut": (
        "limited",
        "for _, type_name in ipairs(names) do\n    u.gates[type_name] = true",
        "for _, type_name in ipairs(names) do",
    ),
    "no bound of a group's concurrency": ("grouped", "concurrency = bounds.concurrency,", "concurrency = 0,"),
    "a permit of a group is never given back": (
        "grouped",
        "gate.running = true, math.max(0, gate.running - 1)",
        "gate.running = true, gate.running",
    ),
    "groups of two owners are one": ("grouped", "(owner and '=' .. owner or '')", "''"),
    "a group that time opens stays shut": ("grouped", "groups.touch(u, sublist)\n    u.readied", "u.readied"),
    "the groups of a type that opens stay shut": ("grouped", "groups.touch_bundle(u, of_groups, type_name)", ""),
    "a group is not sorted in again": (
        "grouped",
        "set_one_aside(u, generation, queue_name, sublist .. popped[index])",
        "local _ = generation",
    ),
    "a group has all its jobs in a row": ("fair", "take_turns(u, queue, turns, names[at - 1])", ""),
    "a group has a turn for each of its sublists": (
        "fair_wide",
        "move(u, queue, turns)\n    redis.call(",
        "redis.call('ZADD', fair.ring_key(u, queue.name, '~'), 'XX', num(turns[name]), name)\n    redis.call(",
    ),
    "a group that is new in a sublist is the last there": (
        "fair_wide",
        "num(turn_of(u, queue, name) or next_",
        "num(next_",
    ),
    "a group without jobs stays in its ring": (
        "fair",
        "== 0 then\n    leave_ring(u, queue_name, sublist, name, key)",
        "== 1 then\n",
    ),
    "a line is last in, first out": ("fair", "'ZPOPMIN', unit.written(u, key))", "'ZPOPMAX', unit.written(u, key))"),
    "a ring is not set aside": ("fair", "set_one_aside(u, generation, queue.name, fair.ring(sublist))", ""),
    "a job that is sorted in stays in a line": ("fair", "if line ~= job.b then", "if false then"),
    "jobs in lines of a type are not counted": ("fair_grouped", "count_ready(u, queue_name, line, -count)", ""),
    "a type in quarantine starts": (
        "quarantined",
        "if gate.probe ~= '' or u.now < gate['until'] then\n      return 0",
        "if false then\n      return 0",
    ),
    "two probes at once": ("quarantined", "gate.probe = attempt", ""),
    "a success does not end the row of failures": (
        "quarantined",
        "gate.fails > 0 and started >= gate.counts_from",
        "false",
    ),
    "the wait of a probe never grows": ("quarantined", "math.min(PROBE_MS_MAX, 2 * gate.wait)", "gate.wait"),
    "an outcome of before a release counts": ("quarantined", "elseif started >= gate.counts_from then", "else"),
    "live bytes only grow": (
        "bounded",
        "caller.live_bytes, caller.changed = caller.live - 1, caller.live_bytes - job.z, true",
        "caller.live_bytes, caller.changed = caller.live - 1, caller.live_bytes, true",
    ),
    "no bound of a caller's bytes": (
        "bounded",
        "elseif claims.bytes_max and live_bytes > claims.bytes_max then",
        "elseif false then",
    ),
    "no room is made": ("bounded", "while count < EVICTIONS_MAX do", "while false do"),
    "one failed record too many": ("crowded", "- store.failed_max", "- store.failed_max - 1"),
    "a result over the bound is kept": (
        "crowded",
        "local fits = store.live_bytes + more <= store.bytes_max\n  if fits",
        "local fits = true\n  if fits",
    ),
}
"""What each mutant breaks: the config that notices it, the check in the library, and what stands in its place."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_the_model_notices_a_broken_check(client: redis.Redis, name: str) -> None:
    config, check, broken = MUTANTS[name]
    text = library.text(test=True)
    assert text.count(check) == 1
    noticed = False
    for seed in range(SEEDS_OF_MUTANT):
        try:
            run(client, config, seed, OPERATIONS, text.replace(check, broken))
        except (Mismatch, FunctionError):
            noticed = True
            break
    assert noticed
