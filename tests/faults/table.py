"""The table of faults: what is injected, what must hold, and the tests that show it.

A fault that had a test elsewhere before is not tested twice: its row names that test.
"""

from __future__ import annotations

from typing import NamedTuple

_HERE = "tests/faults/"
_SERVER = "tests/e2e/test_server.py::"


class Fault(NamedTuple):
    """A row: the fault, what must hold, and its tests."""

    title: str
    holds: str
    tests: tuple[str, ...]


FAULTS: dict[str, Fault] = {
    "raises": Fault(
        "handlers raise 1,000 times: Exception, BaseException, SystemExit, KeyboardInterrupt, GeneratorExit, "
        "CancelledError, MemoryError, groups; on the loop, in threads, in processes",
        "each fails its own job, is counted once and logged once",
        (f"{_HERE}test_handlers.py::test_a_thousand_exceptions_of_all_kinds_fail_their_own_jobs_alone",),
    ),
    "swallows": Fault(
        "a handler swallows its cancellation",
        "its job times out, its worker is replaced, the log has its stack",
        (f"{_HERE}test_handlers.py::test_a_swallowed_cancellation_costs_its_job_alone",),
    ),
    "blocks": Fault(
        "a handler blocks the loop for 5 s",
        "reported while it lasts, with its stack; nothing is lost",
        (
            f"{_HERE}test_handlers.py::"
            "test_a_handler_that_blocks_the_loop_for_five_seconds_delays_answers_and_loses_nothing",
        ),
    ),
    "process_killed": Fault(
        "a handler process is killed (SIGKILL), 100 times under load",
        "its job fails as `worker_crashed` or gets its next attempt; the pool is whole again at once",
        ("tests/e2e/test_kill9.py::test_a_hundred_kills_under_load_crash_exactly_a_hundred_jobs",),
    ),
    "thread_stuck": Fault(
        "a thread is stuck at the drain",
        "the exit doesn't wait for it; its job is counted as lost",
        (f"{_HERE}test_handlers.py::test_a_thread_that_is_stuck_at_the_drain_does_not_delay_the_exit",),
    ),
    "memory_error": Fault(
        "MemoryError in a handler (a limit on the address space)",
        "fails its own job",
        (f"{_HERE}test_handlers.py::test_a_memory_error_fails_its_job_alone",),
    ),
    "client_gone": Fault(
        "clients reset their connection within a POST, or right after it",
        "no job of a part, at most one of a whole; no descriptor left",
        (
            f"{_HERE}test_clients.py::test_clients_gone_in_the_middle_of_a_post_or_after_it_leave_no_job_half_done",
            "tests/http/request/test_callers.py::"
            "test_a_submission_over_a_connection_that_is_reset_is_of_no_other_caller",
        ),
    ),
    "sigterm_idle": Fault(
        "SIGTERM while idle",
        "exit 0 at once, without linger",
        (f"{_SERVER}test_an_idle_server_without_clients_exits_without_linger",),
    ),
    "sigterm_full": Fault(
        "SIGTERM with a full queue and too short a drain",
        "accepted = succeeded + counted as lost; every end is readable",
        (f"{_HERE}test_stops.py::test_sigterm_with_a_full_queue_loses_jobs_beyond_the_drain_and_counts_each",),
    ),
    "sigterm_storm": Fault(
        "SIGTERM in a storm of 40 clients",
        "503 at once, no accepted job lost, exit 0",
        (f"{_HERE}test_stops.py::test_sigterm_in_a_storm_loses_no_accepted_job",),
    ),
    "sigterm_first_process": Fault(
        "the same as the first process of a container (PID 1)",
        "as above, without zombies",
        (
            f"{_HERE}test_stops.py::test_sigterm_in_a_storm_loses_no_accepted_job",
            "tests/e2e/test_first_process.py::test_orphans_of_handlers_do_not_become_zombies",
        ),
    ),
    "sigterm_twice": Fault(
        "SIGTERM twice",
        "exit 1 at once, each lost job counted",
        (
            f"{_HERE}test_stops.py::test_a_second_sigterm_in_a_storm_ends_the_server_and_counts_each_lost_job",
            f"{_SERVER}test_jobs_lost_by_an_abort_are_counted_by_state",
            f"{_SERVER}test_a_second_signal_aborts_the_server_while_a_handler_blocks_the_loop",
        ),
    ),
    "sigterm_start": Fault(
        "SIGTERM during the start, also as PID 1",
        "exit 0, nothing on standard error",
        (f"{_SERVER}test_sigterm_during_the_start_stops_the_server",),
    ),
    "sigkill": Fault(
        "SIGKILL in a storm, and a restart",
        "what was live is lost, and each old id says so: 410 earlier-run",
        (
            f"{_HERE}test_stops.py::test_sigkill_in_a_storm_loses_jobs_and_the_next_run_says_so_for_each",
            f"{_SERVER}test_after_sigkill_the_next_run_answers_410_for_earlier_ids",
        ),
    ),
    "sigstop": Fault(
        "SIGSTOP, 10 s, SIGCONT",
        "no running attempt times out for it",
        (
            f"{_HERE}test_stops.py::test_a_suspension_of_ten_seconds_times_no_job_out",
            f"{_SERVER}test_suspension_of_the_process_extends_the_deadlines_of_running_attempts",
        ),
    ),
    "wall_clock": Fault(
        "the wall clock is set by 1 h, forward and back (`time.time` of the server's process)",
        "no delay, timeout or TTL changes; documents show the new time",
        (f"{_HERE}test_stops.py::test_steps_of_the_wall_clock_change_no_deadline",),
    ),
    "few_descriptors": Fault(
        "64 open files, 200 sockets",
        "open connections are served as before; the rest gets 503, or waits in the backlog",
        (
            f"{_HERE}test_shortage.py::test_two_hundred_sockets_at_sixty_four_descriptors_hurt_no_open_connection",
            f"{_SERVER}test_exhausted_file_descriptors_do_not_spin_the_loop_or_stop_open_connections",
        ),
    ),
    "stderr_unread": Fault(
        "standard error is never read: the pipe is full",
        "answers go on; log lines without room are dropped and counted",
        (f"{_SERVER}test_a_stuck_log_pipe_does_not_stop_the_server",),
    ),
    "slowloris": Fault(
        "500 connections that never end their request's head",
        "each is cut after the idle timeout; honest clients don't notice",
        (f"{_HERE}test_clients.py::test_five_hundred_slowloris_connections_are_cut_and_hurt_only_themselves",),
    ),
    "slow_bodies": Fault(
        "200 bodies of one byte per second",
        "408 for each, none runs",
        (f"{_HERE}test_clients.py::test_bodies_of_one_byte_per_second_get_408_and_hurt_only_themselves",),
    ),
    "slow_readers": Fault(
        "20 clients pipeline 10,000 GETs each, and read slowly or not at all",
        "slow ones get all answers, the others are cut; memory stays bounded",
        (f"{_HERE}test_clients.py::test_slow_readers_of_ten_thousand_pipelined_answers_get_all_or_are_cut",),
    ),
    "resets": Fault(
        "a proxy resets 30 % of the requests; clients repeat them under their Idempotency-Key",
        "each job is accepted once, and runs once",
        (f"{_HERE}test_network.py::test_resets_of_a_third_of_the_requests_lose_and_double_no_job",),
    ),
    "slices": Fault(
        "a proxy passes on one byte at a time",
        "the same answers",
        (f"{_HERE}test_network.py::test_slices_of_one_byte_change_no_answer",),
    ),
    "disk_full": Fault(
        "the spool's disk is full (1 MiB)",
        "503 spool-full; accepted files are whole; other jobs go on",
        (f"{_HERE}test_shortage.py::test_a_full_disk_rejects_uploads_and_spoils_no_accepted_file",),
    ),
    "store_full": Fault(
        "the job store is full of live jobs",
        "503 statuses-full; no live record is evicted",
        (f"{_HERE}test_shortage.py::test_a_job_store_full_of_live_jobs_rejects_and_evicts_none_of_them",),
    ),
    "herd": Fault(
        "100 clients that ignore Retry-After, against 4 workers",
        "the workers stay busy; no rejected job runs",
        (f"{_HERE}test_overload.py::test_a_herd_that_ignores_retry_after_does_not_take_the_goodput",),
    ),
    "elephant": Fault(
        "one caller takes all it can, beside 50 modest ones",
        "no modest caller is rejected; the greedy one gets 429",
        (f"{_HERE}test_overload.py::test_an_elephant_does_not_crowd_out_fifty_mice",),
    ),
    "port_taken": Fault(
        "the port is taken, or the address is another machine's",
        "exit 1 with the reason and a correction",
        (
            f"{_SERVER}test_a_port_in_use_fails_the_start_with_its_reason",
            f"{_SERVER}test_an_address_of_another_machine_fails_the_start_with_its_reason",
        ),
    ),
    "bad_config": Fault(
        "settings or a target that can't be used",
        "exit 2 with place and reason, no traceback",
        (f"{_HERE}test_start.py::test_a_faulty_start_ends_with_its_reason",),
    ),
    "no_c_parser": Fault(
        "aiohttp without its C parser (AIOHTTP_NO_EXTENSIONS)",
        "exit 1 with the reason",
        (f"{_SERVER}test_the_server_does_not_start_without_the_c_parser",),
    ),
}
