"""Builders of flows: `chain`, `group` and `flow` make graphs of submissions, to be submitted as a whole.

A graph is a value in Python, without a queue: `JobQueue.submit_flow` and `Client.submit_flow` take it. It is checked
where it is submitted, by one set of rules.

Rules:

1. A part of a graph is a submission (a mapping with `type`, `args` and the options of a job; a text is a type without
   arguments) or another graph. Parts are copied: a graph that was put into another one stays as it is.
2. A job without a `name` of its own gets its type's. Where a name is taken, the later job gets a number: `resize-2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from jobqueue.duration import as_seconds
from jobqueue.encoder import encode

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Part: TypeAlias = "str | Mapping[str, Any] | Graph"


class Graph:
    """A graph of submissions, by names: `jobs` in the order in which they were added.

    Attributes:
        jobs: The members of each job: `name`, `type`, `args`, `after` (names) and the options of a submission.
    """

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self._names: dict[str, str] = {}  # without the number that was added
        self._numbers: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Graph of {len(self.jobs)} jobs: {', '.join(str(job['name']) for job in self.jobs[:8])}>"

    def job(
        self,
        type: str,
        args: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        after: str | Iterable[str] = (),
        **options: Any,
    ) -> str:
        """Add a job, and return its name, for the `after` of others.

        Args:
            type: Type of a registered handler.
            args: Its arguments, by name. Defaults to none.
            name: Names the job in this graph, and its result in the `ctx.parents` of its children. Defaults to the
                type, with a number if that is taken.
            after: Names of the jobs that must have succeeded before, or ids of jobs that exist. Defaults to none.
            options: Those of a submission, and `on_failure`.

        Raises:
            ValueError: The name is taken.
        """
        if name is not None and name in self._names:
            raise ValueError(f"the graph has a job {name!r} already")
        return self._append(type if name is None else name, type, args, after, options)

    def first(self) -> list[str]:
        """Return the names of the jobs without parents in the graph."""
        return [job["name"] for job in self.jobs if not any(parent in self._names for parent in job["after"])]

    def last(self) -> list[str]:
        """Return the names of the jobs without children."""
        parents = {name for job in self.jobs for name in job["after"]}
        return [job["name"] for job in self.jobs if job["name"] not in parents]

    def add(self, part: Part, *, after: Iterable[str] = ()) -> list[str]:
        """Add a copy of a part; return the names of its last jobs in this graph.

        Args:
            after: Names of jobs in this graph, after which the first jobs of the part come.

        Raises:
            TypeError: It is no part.
        """
        parents = [*after]
        if isinstance(part, str):
            return [self.job(part, after=parents)]
        if not isinstance(part, Graph):
            return [self._submission(part, parents)]
        renamed: dict[str, str] = {}
        for job in part.jobs:
            renamed[job["name"]] = self._take(part._names[job["name"]])
        for job in part.jobs:
            before = [] if any(each in renamed for each in job["after"]) else parents
            after = [*before, *(renamed.get(each, each) for each in job["after"])]
            self.jobs.append({**job, "name": renamed[job["name"]], "after": after})
        return [renamed[name] for name in part.last()]

    def fields(self) -> dict[str, Any]:
        """Return the graph as the fields of a flow: arguments as values, durations in seconds."""
        jobs = [
            {key: as_seconds(value) if key.endswith("_s") else value for key, value in job.items()} for job in self.jobs
        ]
        return {"jobs": jobs}

    def encoded(self) -> bytes:
        """Return the graph as the JSON of a flow. Raises ValueError where JSON can't say it."""
        return encode(self.fields())

    def _submission(self, part: Mapping[str, Any], parents: list[str]) -> str:
        try:
            members = dict(part)
            kind, args = members.pop("type"), members.pop("args", None)
        except (TypeError, ValueError, KeyError):
            expected = "a type, a mapping with a type, or a graph"
            raise TypeError(f"a part of a graph is {expected}, got {part!r:.200}") from None
        name = members.pop("name", None)
        own = members.pop("after", ())
        after = [*parents, *([own] if isinstance(own, str) else own)]
        return self._append(kind if name is None else name, kind, args, after, members)

    def _append(
        self, name: str, kind: str, args: Mapping[str, Any] | None, after: str | Iterable[str], options: dict[str, Any]
    ) -> str:
        parents = [after] if isinstance(after, str) else [*after]
        named = self._take(name)
        self.jobs.append({"name": named, "type": kind, "args": args or {}, "after": parents, **options})
        return named

    def _take(self, name: str) -> str:
        """Take a name that is free: this one, or one with a number."""
        free = name
        while free in self._names:
            self._numbers[name] = number = self._numbers.get(name, 1) + 1
            free = f"{name}-{number}"
        self._names[free] = name
        return free


def flow() -> Graph:
    """Return an empty graph, to be filled by `job`."""
    return Graph()


def chain(*parts: Part) -> Graph:
    """Return a graph in which each part starts after the last jobs of the part before it.

    Raises:
        TypeError: One is no part.
    """
    graph = Graph()
    last: list[str] = []
    for part in parts:
        last = graph.add(part, after=last) or last
    return graph


def group(*parts: Part) -> Graph:
    """Return a graph of parts that don't wait for each other.

    Raises:
        TypeError: One is no part.
    """
    graph = Graph()
    for part in parts:
        graph.add(part)
    return graph
