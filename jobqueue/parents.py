"""Parents: what a handler reads of the jobs that its own job came after (`ctx.parents`).

Rules:

1. The parents are those of the job, in the order of its submission. A result is loaded when it is asked for, and kept
   by its `Parent` from then on.
2. A parent is found by its name in the flow, and by its id. Of several with one name, the first has it.
3. The records of parents are kept as long as the job is live, so that a result that was there at the start is there
   until the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobqueue.core.job import JobState
from jobqueue.core.stored_file import StoredFile  # msgspec reads it from the annotations
from jobqueue.errors import JobFailed, JobGone
from jobqueue.files.uploaded import UploadedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class ParentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A parent without its result.

    Attributes:
        name: Its name in the flow; None: it has none.
        state: None: its record is gone.
        code, message: Its error's; None: it has none.
        file: Its result file; None: it has none.
    """

    id: str
    name: str | None
    type: str
    state: JobState | None
    code: str | None = None
    message: str | None = None
    file: StoredFile | None = None


class Parent:
    """A parent of a job.

    Attributes:
        id: Its id.
        name: Its name in the flow; its id, where it has none.
        type: Its type.
        state: The state in which it ended: `succeeded`, or with `on_failure="run"` any other; None: its record is gone.
        file: A path to its result file, with `media_type` and `size_bytes`, to be read until the job ends; None: it has
            written none.
    """

    __slots__ = ("_error", "_load", "_result", "file", "id", "name", "state", "type")

    def __init__(self, record: ParentRecord, load: Callable[[str], bytes]) -> None:
        self.id = record.id
        self.name = record.id if record.name is None else record.name
        self.type = record.type
        self.state = record.state
        file = record.file
        self.file = (
            None
            if file is None
            else UploadedFile.of(
                file.path, filename=file.filename, media_type=file.media_type, size_bytes=file.size_bytes
            )
        )
        self._error = (record.code, record.message)
        self._load = load
        self._result: Any = msgspec.UNSET

    def __repr__(self) -> str:
        return f"<Parent {self.name!r}, {self.state or 'gone'}>"

    @property
    def result(self) -> Any:
        """Its result, decoded from JSON.

        Raises:
            JobFailed: It failed, was cancelled, or expired, which `on_failure="run"` lets pass; its code and message
                say why.
            JobGone: Its record was evicted before it had to be kept.
        """
        if self.state is None:
            raise JobGone("evicted")
        if self.state is not JobState.SUCCEEDED:
            raise JobFailed(self.state, *self._error)
        if self._result is msgspec.UNSET:
            self._result = msgspec.json.decode(self._load(self.id))
        return self._result


def _nothing(parent_id: str) -> bytes:
    raise JobGone("evicted")


class Parents(Mapping[str, Parent]):
    """The parents of a job, by name; each is found by its id, too."""

    def __init__(self, records: Iterable[ParentRecord] = (), load: Callable[[str], bytes] = _nothing) -> None:
        self._by_name: dict[str, Parent] = {}
        self._by_id: dict[str, Parent] = {}
        for record in records:
            parent = self._by_id[record.id] = Parent(record, load)
            self._by_name[record.id if parent.name in self._by_name else parent.name] = parent

    def __getitem__(self, name: str) -> Parent:
        parent = self._by_name.get(name) or self._by_id.get(name)
        if parent is None:
            known = ", ".join([*self._by_name][:20]) or "none"
            raise KeyError(f"the job has no parent {name!r}; its parents: {known}")
        return parent

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __repr__(self) -> str:
        return f"<Parents: {', '.join([*self._by_name][:20]) or 'none'}>"
