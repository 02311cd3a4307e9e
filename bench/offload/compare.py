"""Compare pools that run blocking handlers in killable processes: ours, anyio.to_process, Pebble.

    python -m bench.offload.compare [--size 2] [--json]

Each candidate runs in a fresh interpreter. One that isn't installed is skipped with a message (neither
is a dependency: `pip install anyio pebble`). Not compared: frozen programs, other systems than Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psutil

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 500
KILLS = 10
IDLE_S = 3.0
CANDIDATES = {"jobqueue": "jobqueue", "anyio": "anyio.to_process", "pebble": "pebble"}


def echo(value: int) -> int:
    return value


def hang(path: str) -> None:
    """Write the pid, then keep a core busy."""
    Path(path).write_text(str(os.getpid()))
    while True:
        pass


def nap(path: str) -> str:
    Path(path).write_text(str(os.getpid()))
    time.sleep(0.3)
    return "woke"


def meet(folder: str) -> None:
    """Wait until the number of processes in the folder's name have arrived."""
    place = Path(folder)
    (place / str(os.getpid())).touch()
    while len(list(place.iterdir())) < int(place.suffix[1:]):
        time.sleep(0.0005)


class Candidate(Protocol):
    async def run(self, func: Callable[..., Any], arg: Any) -> Any: ...

    async def close(self) -> None: ...


class _Jobqueue:
    def __init__(self, size: int) -> None:
        from jobqueue.runtime.pools.processes import ProcessPool

        self._pool = ProcessPool(size=size)

    async def run(self, func: Callable[..., Any], arg: Any) -> Any:
        from jobqueue.core.report import Failure
        from jobqueue.runtime.pools.call import Call

        name = func.__code__.co_varnames[0]
        call = Call(
            func=func,
            kwargs={name: arg},
            context_name=None,
            job_id="j",
            type="t",
            attempt=1,
            group=None,
            files={},
            folder="unused",
            result_bytes_max=1000,
        )
        outcome = await self._pool.run(call, on_progress=lambda fraction, note: None)
        if isinstance(outcome, Failure):
            raise RuntimeError(outcome.message)
        return json.loads(outcome.result)

    async def close(self) -> None:
        await self._pool.close()


class _Anyio:
    def __init__(self, size: int) -> None:
        from anyio import CapacityLimiter

        self._limiter = CapacityLimiter(size)

    async def run(self, func: Callable[..., Any], arg: Any) -> Any:
        from anyio import to_process

        try:
            return await to_process.run_sync(func, arg, cancellable=True, limiter=self._limiter)
        except KeyboardInterrupt as error:  # from a task, it would end this program
            raise RuntimeError("KeyboardInterrupt, raised in the server") from error

    async def close(self) -> None:
        pass  # its processes are killed when the loop's main task ends


class _Pebble:
    def __init__(self, size: int) -> None:
        import multiprocessing

        import pebble

        # Not fork: a server has threads, and their locks would be copied as they are.
        self._pool = pebble.ProcessPool(max_workers=size, context=multiprocessing.get_context("spawn"))

    async def run(self, func: Callable[..., Any], arg: Any) -> Any:
        return await asyncio.wrap_future(self._pool.schedule(func, args=[arg]))

    async def close(self) -> None:
        self._pool.stop()
        self._pool.join()


def make(name: str, size: int) -> Candidate:
    candidates: dict[str, Callable[[int], Candidate]] = {"jobqueue": _Jobqueue, "anyio": _Anyio, "pebble": _Pebble}
    return candidates[name](size)


async def measure(name: str, size: int, folder: Path) -> dict[str, object]:
    # Under their importable name, because the processes must find them too.
    from bench.offload import compare as jobs

    pool = make(name, size)
    figures: dict[str, object] = {"first call, ms": await _ms(pool.run(jobs.echo, 1))}
    await asyncio.gather(*(pool.run(jobs.echo, n) for n in range(size)))
    figures["per call, µs"] = round(await _ms(_many(pool, jobs.echo)) / CALLS * 1000)
    figures |= await _idle()
    figures |= _memory()
    figures |= await _killed(pool, jobs, size, folder)
    figures |= await _cancelled(pool, jobs, folder)
    figures["SIGINT to a busy process"] = await _interrupted(pool, jobs, folder)
    await pool.close()
    return figures


async def _ms(awaitable: Awaitable[object]) -> float:
    started = time.perf_counter()
    await awaitable
    return round((time.perf_counter() - started) * 1000, 2)


async def _many(pool: Candidate, func: Callable[..., Any]) -> None:
    for n in range(CALLS):
        await pool.run(func, n)


async def _idle() -> dict[str, object]:
    await asyncio.sleep(0.5)
    everyone = [psutil.Process(), *psutil.Process().children(recursive=True)]

    def spent() -> tuple[float, int]:
        cpu = sum(sum(p.cpu_times()[:2]) for p in everyone)
        return cpu, sum(_wake_ups(p.pid) for p in everyone)

    cpu, switches = spent()
    await asyncio.sleep(IDLE_S)
    cpu_after, switches_after = spent()
    return {
        "idle CPU, ms/s": round((cpu_after - cpu) / IDLE_S * 1000, 1),
        "idle wake-ups/s": round((switches_after - switches) / IDLE_S, 1),
    }


def _wake_ups(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int(line.split()[1]) for t in tasks for line in (t / "status").open() if line.startswith("voluntary"))


def _memory() -> dict[str, object]:
    children = psutil.Process().children(recursive=True)
    pss = sorted((child.memory_full_info().pss >> 10 for child in children), reverse=True)
    return {
        "threads in the server": psutil.Process().num_threads(),
        "processes beside it, PSS KiB": " + ".join(map(str, pss)),
        "PSS in all, MiB": round(sum(pss) / 1024, 1),
    }


async def _killed(pool: Candidate, jobs: Any, size: int, folder: Path) -> dict[str, object]:
    noticed, strong, said = [], [], ""
    for turn in range(KILLS):
        place = folder / f"meet-{turn}.{size}"
        place.mkdir()
        run, pid = await _busy(pool, jobs.hang, folder / f"killed-{turn}")
        started = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        error = await _outcome(run)
        said = str(error) or repr(error)
        noticed.append((time.perf_counter() - started) * 1000)
        await asyncio.gather(*(pool.run(jobs.meet, str(place)) for _ in range(size)))
        strong.append((time.perf_counter() - started) * 1000)
    return {
        "kill -9: noticed after, ms (median, max)": _spread(noticed),
        "kill -9: all processes at work again after, ms": _spread(strong),
        "kill -9: said": said,
    }


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}, {max(values):.1f}"


async def _cancelled(pool: Candidate, jobs: Any, folder: Path) -> dict[str, object]:
    run, pid = await _busy(pool, jobs.hang, folder / "cancelled")
    started = time.perf_counter()
    run.cancel()
    process = psutil.Process(pid)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        await asyncio.sleep(0.001)
        if time.perf_counter() - started > 10:
            return {"cancel: process gone, ms": "not within 10 s"}
    gone = round((time.perf_counter() - started) * 1000, 1)
    await asyncio.gather(run, return_exceptions=True)
    return {"cancel: process gone, ms": gone}


async def _interrupted(pool: Candidate, jobs: Any, folder: Path) -> str:
    run, pid = await _busy(pool, jobs.nap, folder / "interrupted")
    os.kill(pid, signal.SIGINT)
    return repr(await _outcome(run))


async def _outcome(run: asyncio.Task[Any]) -> Any:
    await asyncio.wait([run])
    return run.exception() or run.result()


async def _busy(pool: Candidate, func: Callable[..., Any], path: Path) -> tuple[asyncio.Task[Any], int]:
    """Start a call that writes its pid to `path`; return it with that pid."""
    run = asyncio.ensure_future(pool.run(func, str(path)))
    return run, await asyncio.to_thread(_wait_for_pid, path)


def _wait_for_pid(path: Path) -> int:
    while not (path.exists() and path.read_text()):
        time.sleep(0.002)
    return int(path.read_text())


async def be_killed(name: str, path: Path) -> None:
    from bench.offload import compare as jobs

    await make(name, 1).run(jobs.hang, str(path))


def orphans(name: str, folder: Path) -> str:
    """Kill a server while its process is busy, and see whether the process outlives it."""
    path = folder / "orphan"
    with subprocess.Popen([*_command(name), "--be-killed", str(path)]) as server:
        child = psutil.Process(_wait_for_pid(path))
        server.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        started = time.perf_counter()
        while time.perf_counter() - started < 1.0:
            if child.status() == psutil.STATUS_ZOMBIE:
                break
            time.sleep(0.005)
        else:
            child.kill()
            return "lives on"
    return "is gone within 1 s"


def _command(name: str) -> list[str]:
    return [sys.executable, "-m", "bench.offload.compare", "--only", name]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", choices=CANDIDATES, help=argparse.SUPPRESS)
    parser.add_argument("--be-killed", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_killed:
        asyncio.run(be_killed(options.only, options.be_killed))
        return
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(measure(options.only, options.size, Path(folder)))))
        return
    table: dict[str, dict[str, object]] = {}
    for name, module in CANDIDATES.items():
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            print(f"skipped: {name} is not installed", file=sys.stderr)
            continue
        command = [*_command(name), "--size", str(options.size)]
        output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
        with tempfile.TemporaryDirectory() as folder:
            table[name] = json.loads(output) | {"busy process of a killed server": orphans(name, Path(folder))}
    if options.json:
        print(json.dumps(table))
        return
    print("|", *table, sep=" | ", end=" |\n")
    print("|---" * (len(table) + 1) + "|")
    for figure in next(iter(table.values())):
        print("|", figure, *(f"| {figures[figure]}" for figures in table.values()), "|")


if __name__ == "__main__":
    main()
