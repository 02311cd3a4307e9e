"""Handlers that block, crash and hang, for the tests of the pools; processes import them from here."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import msgspec

from jobqueue.context import JobContext  # a JobQueue reads the annotations
from jobqueue.core.report import Success
from jobqueue.errors import InvalidSubmission, JobQueueError, Reject, Retry
from jobqueue.runtime.pools import child as child_module


def echo(value: Any = None) -> Any:
    return value


def describe(ctx: JobContext) -> dict[str, Any]:
    return {
        "job_id": ctx.job_id,
        "attempt": ctx.attempt,
        "group": ctx.group,
        "text": ctx.files["text"].read_text(),
        "file": [ctx.files["text"].filename, ctx.files["text"].media_type, ctx.files["text"].size_bytes],
        "pid": os.getpid(),
    }


def write_result(ctx: JobContext) -> None:
    ctx.result_file("text/plain").write_text("twelve bytes")


def submit(ctx: JobContext, type: str, options: dict[str, Any], args: dict[str, Any] | None = None) -> str:
    """Submit a job of a type, and return its id."""
    return str(ctx.submit(type, args, **options))


def publish(ctx: JobContext, topic: str, data: Any) -> list[str]:
    """Publish data, and return the ids of the jobs."""
    ids: list[str] = ctx.publish(topic, data)
    return ids


def publish_wrongly(ctx: JobContext) -> list[str]:
    """Publish what is rejected, and return the pointers."""
    pointers = []
    for topic, data, key in (("a..b", 1, None), ("a" * 300_000, 1, None), ("a", object(), None), ("a", 1, "é")):
        try:
            ctx.publish(topic, data, key=key)
        except InvalidSubmission as error:
            pointers.append(error.errors[0].pointer)
    return pointers


def submit_many(ctx: JobContext, count: int) -> list[str]:
    """Submit from two threads at a time, and return the ids."""
    with ThreadPoolExecutor(2) as threads:
        return [*threads.map(lambda number: str(ctx.submit("echo", {"value": number})), range(count))]


_late: list[tuple[threading.Thread, threading.Event, list[str]]] = []


def leave_thread(ctx: JobContext) -> None:
    """Leave a thread behind that submits when it is told to."""

    def submit_late() -> None:
        told.wait()
        try:
            ctx.submit("echo")
        except RuntimeError as error:
            heard.append(str(error))

    told, heard = threading.Event(), list[str]()
    thread = threading.Thread(target=submit_late, daemon=True)
    thread.start()
    _late.append((thread, told, heard))


def hear_thread() -> list[str]:
    """Let the thread that a job of before has left behind submit, and return what that raised."""
    thread, told, heard = _late.pop()
    told.set()
    thread.join()
    return heard


def read_parents(ctx: JobContext) -> dict[str, Any]:
    """Return for each parent its result, and the text of its result file."""
    return {
        name: [parent.result, None if parent.file is None else parent.file.read_text()]
        for name, parent in ctx.parents.items()
    }


def caught(ctx: JobContext, type: str, options: dict[str, Any]) -> dict[str, Any]:
    """Submit a job of a type that is refused, and describe the error."""
    try:
        ctx.submit(type, None, **options)
    except JobQueueError as error:
        return {
            "kind": type_name(error),
            "text": str(error),
            "pointers": [fault.pointer for fault in getattr(error, "errors", ())],
            "retry_after_s": getattr(error, "retry_after_s", None),
            "job_id": getattr(error, "job_id", None),
        }
    raise AssertionError("it was accepted")


def type_name(value: object) -> str:
    return type(value).__name__


def report(ctx: JobContext, times: int) -> str:
    for n in range(1, times + 1):
        ctx.progress(n / times, f"step {n}")
    return "reported"


def report_and_wait(ctx: JobContext, path: str) -> None:
    """Report twice in a row, then wait until the file is removed."""
    ctx.progress(0.1, "first")
    ctx.progress(0.2, "second")
    while os.path.exists(path):
        time.sleep(0.001)


def hang(ctx: JobContext) -> NoReturn:
    """Report the pid, and never return."""
    ctx.progress(0.0, str(os.getpid()))
    while True:
        time.sleep(3600)


def hang_with_a_child(ctx: JobContext) -> None:
    with subprocess.Popen(["sleep", "3600"]) as child:
        ctx.progress(0.0, str(child.pid))


def fork_a_child_and_die(ctx: JobContext) -> None:
    """Leave a child behind that holds all descriptors of this process, its connection included."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    ctx.progress(0.0, str(pid))
    os._exit(1)


def answer_and_die(ctx: JobContext) -> str:
    """Return; then exit before the next call."""
    ctx.progress(0.0, str(os.getpid()))
    threading.Timer(0.05, os._exit, [1]).start()
    return "answered"


def terminate_a_child() -> int:
    """Return the exit code of a child that got SIGTERM."""
    with subprocess.Popen(["sleep", "3600"]) as child:
        child.terminate()
    return child.returncode


def hold_the_interpreter(ctx: JobContext) -> None:
    """Keep a core busy in C, so that no other thread of this process runs."""
    ctx.progress(0.0, str(os.getpid()))
    sum(range(10**13))


def wait_until_cancelled(ctx: JobContext) -> str:
    ctx.progress(0.0, "waiting")
    while not ctx.cancelled:
        time.sleep(0.001)
    return "seen"


def wait_for(ctx: JobContext, path: str) -> str:
    """Wait until the file exists, ignoring cancellation."""
    ctx.progress(0.0, "waiting")
    while not os.path.exists(path):
        time.sleep(0.001)
    ctx.progress(1.0, "over")
    return "returned"


def be_signalled(ctx: JobContext) -> str:
    for signum in (signal.SIGINT, signal.SIGTERM):
        os.kill(os.getpid(), signum)
    return "still here"


def fail() -> NoReturn:
    raise LookupError("no such colour")


def ask_for_a_retry() -> NoReturn:
    raise Retry(7.5, "busy")


def reject() -> NoReturn:
    raise Reject("no good")


def leave() -> NoReturn:
    sys.exit(4)


def interrupt() -> NoReturn:
    raise KeyboardInterrupt


def exit_at_once(code: int) -> NoReturn:
    os._exit(code)


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def read_invalid_memory() -> None:
    ctypes.string_at(0)


def close_everything() -> None:
    os.closerange(3, 4096)
    time.sleep(3600)


def numbers_of(size: int) -> list[complex]:
    """Return values that JSON can't represent."""
    return [complex(0, n) for n in range(size)]


def list_files(ctx: JobContext) -> dict[str, list[Any]]:
    return {
        name: [[file.filename, file.media_type, file.size_bytes, file.read_text()] for file in ctx.files.getall(name)]
        for name in ctx.files
    }


def log_something(ctx: JobContext) -> None:
    logging.getLogger("app.audio").info("%s of %d", "one", 2)
    logging.info("at the root")
    ctx.log.warning("by the context")
    logging.getLogger("app").debug("too little")
    try:
        raise LookupError("no such colour")
    except LookupError:
        logging.exception("with its traceback")
    threading.Thread(target=logging.info, args=("from a thread",)).start()


def log_a_flood(records: int) -> None:
    for n in range(records):
        logging.info("record %d", n)


def log_invalid_records(ctx: JobContext) -> None:
    logging.info("%d", "no number")
    logging.info("x" * 100_000)
    logging.getLogger("y" * 1000).info("\udcff")
    ctx.log.info("with more", extra={"rows": 5})


def complain_and_exit() -> NoReturn:
    print("a first line\nno more colours", file=sys.stderr)
    os._exit(5)


def write_to_own_sockets(data: bytes) -> None:
    """Write to every socket that this process holds, its connection to the pool among them."""
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            if stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.write(fd, data)
        except OSError:
            continue


def answer_itself(result: bytes = b'"forged"') -> str:
    """Send a forged answer to the pool, and then return."""
    (process,) = (each for each in gc.get_objects() if isinstance(each, child_module._Process))
    process._send(b"s", msgspec.msgpack.encode(Success(result)))
    return "genuine"


def leave_descendants(ctx: JobContext, then: str) -> None:
    """Start a program in a session of its own, and an orphan; report all pids."""
    one = subprocess.Popen(["sleep", "3600"], start_new_session=True, stdout=subprocess.DEVNULL)
    shell = ["sh", "-c", "setsid sleep 3600 >/dev/null & echo $!"]
    other = subprocess.run(shell, stdout=subprocess.PIPE, text=True, check=True).stdout
    ctx.progress(0.0, f"{os.getpid()} {one.pid} {other}")
    if then == "fails":
        raise LookupError
    if then != "ends":
        time.sleep(3600)


def see_surroundings() -> list[Any]:
    umask = os.umask(0)
    os.umask(umask)
    return [os.getcwd(), umask, signal.getitimer(signal.ITIMER_REAL), str(signal.getsignal(signal.SIGTERM))]


def change_surroundings() -> None:
    os.chdir("/")
    os.umask(0o123)
    signal.setitimer(signal.ITIMER_REAL, 1000.0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def trace(ctx: JobContext) -> str | None:
    ctx.log.warning("from the process")
    return ctx.traceparent


def due(ctx: JobContext) -> tuple[str, str | None] | None:
    schedule = ctx.schedule
    return schedule and (schedule.name, schedule.due_at and schedule.due_at.isoformat())
