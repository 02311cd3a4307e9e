"""The laws of the code, checked on the syntax trees of its files.

Each law is a function from a module to its breaches. It is applied to every file in its scope, and tested with code
that breaks it and code that keeps it.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parent.parent
LINES_MAX = 500


@dataclass(frozen=True)
class Module:
    """A file by its dotted name, with its syntax tree."""

    name: str
    source: str

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)


@dataclass(frozen=True)
class Import:
    """An imported module by its full name; `always`: imported at run time, together with the importer."""

    target: str
    line: int
    always: bool


def modules(*folders: str) -> list[Module]:
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [Module(dotted(path), path.read_text()) for path in paths]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@cache
def imports(module: Module) -> tuple[Import, ...]:
    """Return the imports of a module, `from package import module` resolved to that module."""

    def walk(node: ast.AST, always: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, always)
            elif isinstance(child, ast.ImportFrom):
                assert not child.level, f"{module.name}:{child.lineno}: a relative import"
                for alias in child.names:
                    name = f"{child.module}.{alias.name}"
                    yield Import(name if is_module(name) else str(child.module), child.lineno, always)
            else:
                lazy = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(child)
                yield from walk(child, always and not lazy)

    return (*walk(module.tree, True),)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls of a plain or dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            yield ast.unparse(node.func), node


# Imports run downwards

LAYERS = (
    {
        "api_limits",
        "build",
        "caches",
        "duration",
        "encoder",
        "errors",
        "event_loop",
        "extras",
        "graph",
        "keys",
        "line_rate",
    },
    {"core"},
    {"what_if"},
    {
        "cli.parser",
        "client",
        "config",
        "context",
        "files",
        "folder_lock",
        "handlers",
        "log",
        "log_ring",
        "parents",
        "paths",
        "process",
        "publish_values",
        "sampling",
        "webhooks",
    },
    {"backend"},
    {"runtime"},
    {"not_running", "schedules", "surroundings"},
    {
        "children",
        "flow_handle",
        "flows",
        "handle",
        "journal_wiring",
        "publishing",
        "registration",
        "snapshot",
        "wiring",
    },
    {"service"},
    {"findings", "metrics", "recorder"},
    {"app"},
    {"demo", "http", "testing"},
    {"activation", "certificates", "listening", "metrics_port", "server_metrics", "resources", "server", "terminal"},
    {"cli"},
    {"__main__"},
)
"""Lowest first. The longest matching name decides: `cli.parser` is low, the rest of `cli` high."""


@cache
def layer(name: str) -> int:
    """Return the level of a module of the package. The package itself holds only its version: the lowest level."""
    _, _, inner = name.partition("jobqueue.")
    if not inner:
        return 0
    levels = {part: level for level, parts in enumerate(LAYERS) for part in parts}
    return levels[max((part for part in levels if f"{inner}.".startswith(f"{part}.")), key=len)]


def upward_imports(module: Module) -> Iterator[str]:
    if module.name == "jobqueue":
        return
    for it in imports(module):
        if it.target.split(".")[0] == "jobqueue" and layer(it.target) > layer(module.name):
            yield f"{module.name}:{it.line} imports {it.target}, which is above it"
        if it.target == "jobqueue" and module.name not in ("jobqueue.demo", *FACADE_READERS):
            yield f"{module.name}:{it.line} imports from the package; name the module, which has a layer"


FACADE_READERS = (
    "jobqueue.cli.main",
    "jobqueue.client.transport",
    "jobqueue.http.openapi.document",
    "jobqueue.http.resources.console_files",
    "jobqueue.http.resources.console_session",
    "jobqueue.http.resources.server",
    "jobqueue.metrics.exposition",
    "jobqueue.terminal",
)
"""Command line, clients, description of the API, `/v1/server`, console, metrics and banner import the version."""


def everyday_imports(module: Module) -> Iterator[str]:
    """The `__init__` of the package imports its public names lazily."""
    if module.name == "jobqueue":
        for it in imports(module):
            if it.always and it.target.split(".")[0] == "jobqueue":
                yield f"{module.name}:{it.line} imports {it.target} at once"


def cycle(package: list[Module]) -> list[str]:
    """Return the names along a cycle of imports at load time; empty if there is none."""
    graph = {module.name: {it.target for it in imports(module) if it.always} for module in package}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done or name not in graph:
            return []
        for target in sorted(graph[name]):
            if found := visit(target, [*path, name]):
                return found
        done.add(name)
        return []

    for name in graph:
        if found := visit(name, []):
            return found
    return []


def circles(package: list[Module]) -> Iterator[frozenset[str]]:
    """Yield each largest set of modules that all reach each other by imports of any kind, lazy ones included."""
    graph = {module.name: {it.target for it in imports(module)} for module in package}

    def reached(name: str) -> set[str]:
        found: set[str] = set()
        pending = [name]
        while pending:
            for target in graph[pending.pop()] - found:
                if target in graph:
                    found.add(target)
                    pending.append(target)
        return found

    reach = {name: reached(name) for name in graph}
    together = {frozenset(other for other in reach[name] if name in reach[other]) for name in graph}
    yield from {circle for circle in together if len(circle) > 1}


LEVELS = {
    "jobqueue.http": (
        {"assembly"},
        {"openapi"},
        {
            *("caller_routes", "console_routes", "description_routes", "failure_routes", "server_routes"),
            "flow_routes",
            "schedule_routes",
            "topic_routes",
            "what_if_routes",
            *("route", "routes"),
        },
        {"transport"},
        {"answered", "resources"},
        {"streams"},
        {"request"},
        {"response"},
        {"errors", "in_flight", "cut"},
    ),
    "jobqueue.core": (
        {
            "engine",
            "submit",
            "together",
            *("flow_cancel", "flow_index", "flows", "id_order", "id_pages", "kept_records"),
            "shutdown",
            "admission",
            "caller_holdings",
            "transitions",
            "job_store",
            "expiry_bucket",
            "holdings",
            "pauses",
            "restore",
            "quotas",
            "counting",
        },
        {"limits"},
        {"scheduling"},
        {
            *("attempt_outcome", "histogram"),
            *("attempts", "backoff", "deadlines", "events", "ids", "job", "pause", "policy", "rate", "rate_meter"),
            *("flow", "job_extras", "job_id", "lineage"),
            *("job_view", "record_size", "record", "report", "store_bounds", "stored_file", "struct_record", "tuning"),
            *("failure_groups", "job_filter", "masking", "uniqueness"),
            *("recurrence", "schedule", "schedule_troubles", "schedule_counts", "schedules"),
        },
    ),
    "jobqueue.runtime": (
        {
            *(
                "copying",
                "executor",
                "exits",
                "freed_memory",
                "job_log",
                "kept_spool",
                "no_files",
                "lifespan",
                "loop_monitor",
                "simulator",
                "simulator_child",
                "spool",
                "tracing",
                "wall_clock",
                "webhook_target",
                "webhooks",
            ),
            "workers",
        },
        {"pools"},
        {"cgroup", "exact_clock", "isolation", "progress", "steps"},
    ),
}
"""The levels of a folder, highest first: a module imports from its own level and those below."""


def level(folder: str, name: str) -> int:
    part = name.removeprefix(f"{folder}.").split(".")[0]
    found = [number for number, parts in enumerate(LEVELS[folder]) if part in parts]
    assert found, f"{name} is missing in LEVELS"
    return found[0]


def imports_up_a_folder(module: Module) -> Iterator[str]:
    for folder in LEVELS:
        if not module.name.startswith(f"{folder}."):
            continue
        for it in imports(module):
            if it.target.startswith(f"{folder}.") and level(folder, it.target) < level(folder, module.name):
                yield f"{module.name}:{it.line} imports {it.target}, which is above it in {folder}"


# What is compiled

COMPILED = frozenset(
    path.removesuffix(".py").replace("/", ".")
    for path in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["jobqueue"]["compiled"]
)


def compiled_structs(module: Module) -> Iterator[str]:
    """mypyc drops the options of a struct (`frozen`, `gc`, `kw_only`) and the annotations of a TypedDict silently."""
    if module.name not in COMPILED:
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and any(
            ast.unparse(base).endswith(("Struct", "TypedDict")) for base in node.bases
        ):
            yield f"{module.name}:{node.lineno} is compiled, and defines the document {node.name}"


def records_unlike_their_fields(module: Module) -> Iterator[str]:
    """A record is made from its annotations in pure Python, and by its `__init__` when compiled: both say the same."""
    if "Record)" not in module.source and "Record," not in module.source:
        return
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ClassDef) or {"Record", "MutableRecord"}.isdisjoint(map(ast.unparse, node.bases)):
            continue
        fields = [ast.unparse(part) for part in node.body if isinstance(part, ast.AnnAssign)]
        made = next(part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
        parameters = [*made.args.args[1:], *made.args.kwonlyargs]
        assigned = [f"self.{each.arg} = {each.arg}" for each in parameters]
        if fields != [ast.unparse(each) for each in parameters] or assigned != [*map(ast.unparse, made.body)]:
            yield f"{module.name}:{node.lineno} {node.name} has other fields than its __init__ takes, or assigns"


# What a package may import

CORE_MAY_IMPORT = {
    *("__future__", "array", "binascii", "bisect", "collections", "enum", "hashlib", "heapq", "hmac"),
    *("cronsim", "datetime"),  # of instants that are given: a law below keeps their clocks out
    *(
        "functools",
        "inspect",
        "itertools",
        "math",
        "msgspec",
        "mypy_extensions",
        "operator",
        "random",
        "re",
        "types",
        "typing",
    ),
}


CLOCKS = ("datetime.now", "datetime.utcnow", "datetime.today", "date.today")

PURE = ("jobqueue.core", "jobqueue.what_if")
"""The engine, and the simulations of it."""


def impure_core(module: Module) -> Iterator[str]:
    if not module.name.startswith(PURE):
        return
    for it in imports(module):
        top = it.target.split(".")[0]
        if top not in CORE_MAY_IMPORT and top != "jobqueue":
            yield f"{module.name}:{it.line} imports {it.target}; time, chance and the world are arguments of the core"
    for name, call in calls(module.tree):
        if name in ("open", "print", "input") or (name.startswith("random.") and name != "random.Random"):
            yield f"{module.name}:{call.lineno} calls {name}"
        if name in CLOCKS:
            yield f"{module.name}:{call.lineno} calls {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module == "random" and [a.name for a in node.names] != ["Random"]:
            yield f"{module.name}:{node.lineno} imports global chance"
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield f"{module.name}:{node.lineno} is async"


STDLIB_ONLY = set[str]()
LEAVES = {
    "jobqueue.api_limits": STDLIB_ONLY,
    "jobqueue.cli.parser": STDLIB_ONLY,
    "jobqueue.errors": STDLIB_ONLY,
    "jobqueue.log": {"orjson", "jobqueue.log_ring", "jobqueue.sampling"},
    "jobqueue.log_ring": STDLIB_ONLY,
    "jobqueue.process.first_process": STDLIB_ONLY,
    "packaging.pyinstaller_hook": STDLIB_ONLY,
    "jobqueue.folder_lock": STDLIB_ONLY,
    "jobqueue.paths": STDLIB_ONLY,
    "jobqueue.sampling": STDLIB_ONLY,
    "jobqueue.process.signals": STDLIB_ONLY,
    "jobqueue.process.standard_files": STDLIB_ONLY,
}


def grown_leaves(module: Module) -> Iterator[str]:
    for it in imports(module):
        allowed = LEAVES.get(module.name, set()) | sys.stdlib_module_names
        if module.name in LEAVES and it.target not in allowed and it.target.split(".")[0] not in allowed:
            yield f"{module.name}:{it.line} imports {it.target}, and it is a leaf"


CORE_SEEN_FROM_HTTP = {
    f"jobqueue.core.{part}"
    for part in (
        *(
            "events",
            "ids",
            "job",
            "job_extras",
            "job_filter",
            "job_view",
            "record",
            "limits.limiter_stats",
            "limits.token_bucket",
            "rate",
        ),
        *("report", "stored_file", "scheduling.eta", "scheduling.retry_after", "submit", "uniqueness"),
        *("backoff", "limits.quarantined_type", "pause", "policy", "schedule"),
        *("failure_groups", "flow", "lineage", "masking", "topics"),
        *("histogram", "counting.counts", "counting.history", "counting.series", "counting.stats"),
    )
}
"""The value types of the port, and the two measures of HTTP itself: the rate of a caller, and retry-after."""


def http_behind_the_port(module: Module) -> Iterator[str]:
    for it in imports(module):
        if not module.name.startswith("jobqueue.http"):
            continue
        inside = it.target.startswith("jobqueue.core.") and it.target not in CORE_SEEN_FROM_HTTP
        if inside or it.target.startswith("jobqueue.backend.memory"):
            yield f"{module.name}:{it.line} imports {it.target}; http sees the Backend port"


DOORS = ("jobqueue", "jobqueue.cli.target", "jobqueue.http", "jobqueue.testing")
"""The modules that users hand a JobQueue."""


def facade_behind_the_doors(module: Module) -> Iterator[str]:
    """`JobQueue` is for users: the package itself passes on its service."""
    for it in imports(module):
        if it.target == "jobqueue.app" and module.name not in DOORS:
            yield f"{module.name}:{it.line} imports {it.target}; only {', '.join(DOORS)} do, the rest takes a Service"


CONCRETE = {
    "JournaledBackend",
    "MemoryBackend",
    "Spool",
    "KeptSpool",
    "ThreadPool",
    "ProcessPool",
    "WorkerPool",
    "LoopMonitor",
    "JobServer",
}
ROOTS = ("jobqueue.wiring", "jobqueue.journal_wiring", "jobqueue.server")


def concrete_outside_roots(module: Module) -> Iterator[str]:
    """Only the roots construct concrete classes; other modules use protocols, or import a class for its type."""
    if module.name in ROOTS or not any(f"{name}(" in module.source for name in CONCRETE):
        return
    own = {node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)}
    for name, call in calls(module.tree):
        if name in CONCRETE - own:
            yield f"{module.name}:{call.lineno} makes a {name}; only {' and '.join(ROOTS)} do"


def imported_test_kit(module: Module) -> Iterator[str]:
    for it in imports(module):
        if it.target.startswith("jobqueue.testing"):
            yield f"{module.name}:{it.line} imports the test kit"


CLIENT_MAY_IMPORT = {
    "jobqueue",  # the version
    *(f"jobqueue.{part}" for part in ("api_limits", "errors", "extras", "duration", "encoder", "graph", "keys")),
    *(f"jobqueue.{part}" for part in ("core.job", "core.report", "files.source")),
}


FLEET_MAY_IMPORT = {
    "jobqueue.client",
    "jobqueue.api_limits",
    *(f"jobqueue.{part}" for part in ("cli.parser", "event_loop", "paths", "process.standard_files")),
}
"""The public client, and what the fleet shares with the server: the start of processes and the parser."""


def is_client(name: str) -> bool:
    return name == "jobqueue.client" or name.startswith("jobqueue.client.")


def is_client_command(name: str) -> bool:
    """Whether a module of the command line is for commands that ask a server."""
    return name.startswith("jobqueue.cli.remote.")


def client_stands_apart(module: Module) -> Iterator[str]:
    for it in imports(module):
        if it.target.startswith("jobqueue"):
            if module.name.startswith("clients") and it.target not in FLEET_MAY_IMPORT:
                yield f"{module.name}:{it.line} imports {it.target}; the fleet sees what any client sees"
            if is_client(module.name) and not is_client(it.target) and it.target not in CLIENT_MAY_IMPORT:
                yield f"{module.name}:{it.line} imports {it.target}; a client needs no server"
            of_server = module.name.startswith("jobqueue") and not is_client(module.name)
            if is_client(it.target) and of_server and not is_client_command(module.name):
                yield f"{module.name}:{it.line} imports the client; the server needs none"


# Form

VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}


def vague_names(module: Module) -> Iterator[str]:
    for part in module.name.split("."):
        if VAGUE & set(part.lower().split("_")):
            yield f"{module.name}: {part} is vague; name the noun that the module owns"


def long_files(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > LINES_MAX:
        yield f"{module.name} has {lines} lines, at most {LINES_MAX} are allowed"


def no_docstring(module: Module) -> Iterator[str]:
    if module.source.strip() and ast.get_docstring(module.tree) is None:
        yield f"{module.name} has no docstring"


SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Examples?|Notes?):")


def no_summary(module: Module) -> Iterator[str]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring is not None and (not docstring or SECTION.match(docstring)):
                yield f"{module.name}:{node.lineno}: the docstring of {node.name} opens without a summary line"


def polling(module: Module) -> Iterator[str]:
    """A loop that sleeps should wait for an event instead. Clients are exempt: they have only HTTP.

    A wait for a lock of a file with a bound, too: the kernel has only one without.
    """
    if is_client(module.name) or module.name == "jobqueue.folder_lock" or "sleep" not in module.source:
        return
    for loop in ast.walk(module.tree):
        if isinstance(loop, ast.While):
            for name, call in calls(loop):
                if name.endswith("sleep"):
                    yield f"{module.name}:{call.lineno} polls"


# Tests wait for events

BLOCKING_HANDLERS = "tests.runtime.pools.blocking"
"""Not tests but handlers for threads and processes: they block on purpose."""

SIMULATION = "tests.simulation"
"""Runs on the virtual loop only, so only a blocking sleep counts."""

SOCKET_TESTS = (
    *("tests.http", "tests.cli", "tests.client", "tests.clients", "tests.e2e", "tests.faults", "tests.memory"),
    "tests.prometheus",
    "tests.console",
    "tests.chaos",
    "tests.backend.valkey",
)

LEAK_CHECK = ("tests.leaks", "tests.test_leaks")
"""It has no event for a thread or a descriptor that is about to end."""


def sleeping_tests(module: Module) -> Iterator[str]:
    """Outside socket tests, a test and its handlers sleep on the virtual clock only."""

    def walk(node: ast.AST, virtual: bool) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            inner = virtual
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                decorated = "virtual_time" in [ast.unparse(decorator) for decorator in child.decorator_list]
                inner = decorated or (virtual and not child.name.startswith("test_"))
            if isinstance(child, ast.Call):
                name = ast.unparse(child.func)
                yields = bool(child.args) and ast.unparse(child.args[0]) == "0"
                if name == "time.sleep" or (name == "asyncio.sleep" and not yields and not virtual):
                    yield f"{module.name}:{child.lineno} sleeps; wait for an event, or use the virtual clock"
            yield from walk(child, inner)

    if "sleep" not in module.source:
        return
    if not module.name.startswith(SOCKET_TESTS) and module.name not in (BLOCKING_HANDLERS, *LEAK_CHECK):
        knows = {
            alias.name for node in ast.walk(module.tree) if isinstance(node, ast.ImportFrom) for alias in node.names
        }
        yield from walk(module.tree, "virtual_time" in knows or module.name.startswith(SIMULATION))


PACKAGE = modules("jobqueue")
FLEET = modules("clients")
BENCH = modules("bench")
HOOKS = modules("packaging")
CODE = [*PACKAGE, *FLEET, *BENCH, *HOOKS, *modules("examples")]
TESTS = modules("tests")


@pytest.mark.parametrize(
    ("law", "about"),
    [
        (upward_imports, PACKAGE),
        (imports_up_a_folder, PACKAGE),
        (everyday_imports, PACKAGE),
        (impure_core, PACKAGE),
        (compiled_structs, PACKAGE),
        (records_unlike_their_fields, PACKAGE),
        (grown_leaves, [*PACKAGE, *HOOKS]),
        (http_behind_the_port, PACKAGE),
        (facade_behind_the_doors, PACKAGE),
        (concrete_outside_roots, PACKAGE),
        (imported_test_kit, [*PACKAGE, *FLEET]),
        (client_stands_apart, [*PACKAGE, *FLEET]),
        (vague_names, [*CODE, *TESTS]),
        (long_files, CODE),
        (no_docstring, CODE),
        (no_summary, [*CODE, *TESTS]),
        (polling, PACKAGE),
        (sleeping_tests, TESTS),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_every_module_keeps_the_law(law: Callable[[Module], Iterator[str]], about: list[Module]) -> None:
    assert len(about) > 5
    assert [breach for module in about for breach in law(module)] == []


def test_the_code_has_no_import_cycle() -> None:
    assert cycle(PACKAGE) == []
    assert cycle(FLEET) == []
    assert cycle(BENCH) == []


def test_no_modules_depend_on_each_other_in_a_circle() -> None:
    assert [*circles(PACKAGE), *circles(FLEET), *circles(BENCH)] == []


RECORD = """
class A(Record):
    a: int
    b: int
    def __init__(self, a: int, *, b: int = 0) -> None:
        self.a = a
        self.b = b
"""


@pytest.mark.parametrize(
    ("law", "name", "source"),
    [
        (upward_imports, "jobqueue.core.x", "from jobqueue.handlers import Handler"),
        (upward_imports, "jobqueue.core.x", "def f():\n    import jobqueue.app"),
        (upward_imports, "jobqueue.backend.x", "if TYPE_CHECKING:\n    from jobqueue.runtime import worker"),
        (upward_imports, "jobqueue.core.x", "from jobqueue.what_if.visits import Visits"),
        (upward_imports, "jobqueue.what_if.x", "from jobqueue.config import Settings"),
        (upward_imports, "jobqueue.http.x", "from jobqueue import server"),
        (upward_imports, "jobqueue.config", "from jobqueue import JobQueue"),
        (upward_imports, "jobqueue.cli.parser", "from jobqueue.cli import target"),
        (imports_up_a_folder, "jobqueue.http.streams.x", "from jobqueue.http.resources.jobs import Jobs"),
        (imports_up_a_folder, "jobqueue.http.errors", "from jobqueue.http.response import problems"),
        (imports_up_a_folder, "jobqueue.core.scheduling.x", "from jobqueue.core.limits.limiters import Gates"),
        (imports_up_a_folder, "jobqueue.core.job", "if TYPE_CHECKING:\n    from jobqueue.core.scheduling import order"),
        (imports_up_a_folder, "jobqueue.runtime.pools.x", "from jobqueue.runtime.spool import Spool"),
        (everyday_imports, "jobqueue", "from jobqueue.app import JobQueue"),
        (impure_core, "jobqueue.core.x", "import asyncio"),
        (impure_core, "jobqueue.core.x", "from time import monotonic"),
        (impure_core, "jobqueue.core.x", "def f():\n    import os.path"),
        (impure_core, "jobqueue.core.x", "import random\nrandom.random()"),
        (impure_core, "jobqueue.core.x", "from random import random"),
        (impure_core, "jobqueue.core.x", "open('x')"),
        (impure_core, "jobqueue.core.x", "async def f(): ..."),
        (impure_core, "jobqueue.what_if.x", "import time"),
        (impure_core, "jobqueue.core.x", "from datetime import datetime\ndatetime.now()"),
        (compiled_structs, "jobqueue.core.ids", "class A(msgspec.Struct, frozen=True):\n    a: int"),
        (compiled_structs, "jobqueue.core.ids", "class A(TypedDict):\n    a: int"),
        (records_unlike_their_fields, "jobqueue.x", RECORD.replace("self.b = b", "self.b = a")),
        (records_unlike_their_fields, "jobqueue.x", RECORD.replace("    b: int\n", "")),
        (records_unlike_their_fields, "jobqueue.x", RECORD.replace(", *, b", ", b: int, c")),
        (grown_leaves, "jobqueue.log", "from jobqueue.config import Settings"),
        (grown_leaves, "jobqueue.errors", "import msgspec"),
        (http_behind_the_port, "jobqueue.http.x", "from jobqueue.backend.memory import MemoryBackend"),
        (http_behind_the_port, "jobqueue.http.x", "from jobqueue.backend import memory"),
        (http_behind_the_port, "jobqueue.http.x", "if TYPE_CHECKING:\n    from jobqueue.core import job_store"),
        (facade_behind_the_doors, "jobqueue.server", "from jobqueue.app import JobQueue"),
        (facade_behind_the_doors, "jobqueue.http.x", "if TYPE_CHECKING:\n    from jobqueue.app import JobQueue"),
        (concrete_outside_roots, "jobqueue.http.x", "backend = MemoryBackend()"),
        (imported_test_kit, "jobqueue.x", "from jobqueue import testing"),
        (imported_test_kit, "clients.x", "def f():\n    import jobqueue.testing"),
        (client_stands_apart, "clients.x", "from jobqueue import errors"),
        (client_stands_apart, "clients.x", "import jobqueue"),
        (client_stands_apart, "jobqueue.client", "from jobqueue.app import JobQueue"),
        (client_stands_apart, "jobqueue.client.jobs", "from jobqueue.core.engine import Engine"),
        (client_stands_apart, "jobqueue.http.x", "from jobqueue.client.sse import EventParser"),
        (client_stands_apart, "clients.x", "from jobqueue.client.sse import EventParser"),
        (client_stands_apart, "jobqueue.runtime.x", "from jobqueue import client"),
        (client_stands_apart, "jobqueue.cli.serve", "from jobqueue.client import SyncClient"),
        (vague_names, "tests.http.job_utils", ""),
        (vague_names, "jobqueue.helpers.x", ""),
        (long_files, "jobqueue.x", "\n" * 501),
        (no_docstring, "jobqueue.x", "import os"),
        (no_summary, "jobqueue.x", "class A:\n    \"\"\"\n    Attributes:\n        b: A number.\n    \"\"\""),
        (no_summary, "jobqueue.x", "async def f(a):\n    \"\"\"Args: As `g`.\"\"\""),
        (polling, "jobqueue.x", "async def f():\n    while True:\n        await asyncio.sleep(0.1)"),
        (polling, "jobqueue.x", "while not done():\n    if x:\n        time.sleep(1)"),
        (sleeping_tests, "tests.core.test_x", "def test_a():\n    time.sleep(1)"),
        (sleeping_tests, "tests.runtime.test_x", "async def test_a():\n    await asyncio.sleep(0.1)"),
        (sleeping_tests, "tests.test_x", "async def a_handler():\n    await asyncio.sleep(1)"),
        (
            sleeping_tests,
            "tests.runtime.test_x",
            "from jobqueue.testing import virtual_time\nasync def test_a():\n    await asyncio.sleep(1)",
        ),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value).splitlines()[0] if value else "",
)  # fmt: skip
def test_the_law_detects_a_breach(law: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert list(law(Module(name, source)))


@pytest.mark.parametrize(
    ("law", "name", "source"),
    [
        (compiled_structs, "jobqueue.core.report", "class A(msgspec.Struct, frozen=True):\n    a: int"),
        (records_unlike_their_fields, "jobqueue.x", RECORD),
        (upward_imports, "jobqueue.core.x", "from jobqueue.errors import JobGone\nfrom jobqueue.core.job import Job"),
        (upward_imports, "jobqueue.cli.main", "from jobqueue import __version__, server"),
        (imports_up_a_folder, "jobqueue.core.limits.x", "from jobqueue.core.scheduling.order import Order"),
        (everyday_imports, "jobqueue", "if TYPE_CHECKING:\n    from jobqueue.app import JobQueue"),
        (impure_core, "jobqueue.core.x", "from random import Random\nimport msgspec, heapq\nRandom(1).random()"),
        (facade_behind_the_doors, "jobqueue.http", "if TYPE_CHECKING:\n    from jobqueue.app import JobQueue"),
        (concrete_outside_roots, "jobqueue.runtime.spool", "class Spool: ...\nSpool()"),
        (client_stands_apart, "clients.x", "from jobqueue.client import Client"),
        (client_stands_apart, "jobqueue.client.jobs", "from jobqueue.client.protocol import Steps"),
        (client_stands_apart, "jobqueue.cli.remote.submit", "from jobqueue.client import SyncClient"),
        (vague_names, "jobqueue.communication", ""),
        (no_summary, "jobqueue.x", 'def f(a):\n    """Return it.\n\n    Args:\n        a: It.\n    """'),
        (polling, "jobqueue.x", "async def f():\n    await asyncio.sleep(0.1)"),
        (
            sleeping_tests,
            "tests.runtime.test_x",
            "from jobqueue.testing import virtual_time\n"
            "async def handler():\n    await asyncio.sleep(1)\n"
            "@virtual_time\nasync def test_a():\n    await asyncio.sleep(1)",
        ),
        (sleeping_tests, "tests.runtime.test_x", "async def test_a():\n    await asyncio.sleep(0)"),
        (sleeping_tests, "tests.http.test_x", "async def test_a():\n    await asyncio.sleep(1)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value).splitlines()[0] if value else "",
)
def test_the_law_accepts_permitted_code(law: Callable[[Module], Iterator[str]], name: str, source: str) -> None:
    assert list(law(Module(name, source))) == []


def test_cycle_returns_a_cycle_of_imports_at_load_time() -> None:
    a = Module("jobqueue.app", "import jobqueue.cli")
    b = Module("jobqueue.cli", "import jobqueue.app")
    assert cycle([a, b]) == ["jobqueue.app", "jobqueue.cli", "jobqueue.app"]
    lazy = Module("jobqueue.cli", "def f():\n    import jobqueue.app")
    assert cycle([a, lazy]) == []


def test_circles_include_imports_for_types() -> None:
    a = Module("jobqueue.app", "if TYPE_CHECKING:\n    from jobqueue.cli import main")
    b = Module("jobqueue.cli.main", "import jobqueue.app")
    c = Module("jobqueue.log", "import jobqueue.app")
    assert set(circles([a, b, c])) == {frozenset({"jobqueue.app", "jobqueue.cli.main"})}
