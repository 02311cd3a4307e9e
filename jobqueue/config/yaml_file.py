"""A YAML file as a flat list of settings, each with its line and column.

Syntax errors, duplicate keys, and features that a settings file has no use for (anchors, tags,
several documents) are faults. Names and values are checked later: the reader returns texts, each with
its YAML type.

It reads the parser's events, not nodes: nothing is expanded or constructed, so no file can
make it use more memory than its own size.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import yaml
from yaml import events

from jobqueue.config.units import Tag
from jobqueue.keys import masked

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX = 256 * 2**10
DEPTH_MAX = 8

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
"""What YAML counts as the end of a line."""

_TAGS: dict[str, Tag] = {f"tag:yaml.org,2002:{tag}": tag for tag in ("str", "int", "float", "bool", "null")}


Form = Literal["text", "mapping", "list"]
Source = Literal["file", "environment", "flag"]


def dotted(path: Sequence[str]) -> str:
    """Spell a path of names as files and flags do: `server.port`."""
    return ".".join(path)


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in a source.

    Attributes:
        path: The names that lead to it, outermost first.
        form: A text, or the kind of node instead of a text.
        text: The value as written; empty unless `form` is text.
        items: The texts of a list; None unless `form` is list, and all of its items are texts.
        tag: The text's type in the source, if it has types.
        name_at, value_at: The position of the name, or the value, with which a fault begins.
        origin: The position, for `config show`.
        source: The kind of the source.
        spell: Writes a path of names as this source does, for suggestions.
    """

    path: tuple[str, ...]
    form: Form = "text"
    text: str = ""
    items: tuple[str, ...] | None = None
    tag: Tag | None = None
    name_at: str
    value_at: str
    origin: str
    source: Source = "file"
    spell: Callable[[Sequence[str]], str] = dotted


class Reading(NamedTuple):
    """The settings in a file, and its YAML faults."""

    given: list[Given]
    faults: list[str]


def shown(text: str) -> str:
    """Return a text for a message: one line, of bounded length, printable, and without the secret of a key."""
    text = masked(text)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return short if short.isprintable() else repr(short)[1:-1]


def read_file(path: Path, holds: str = "sections, such as `server:`") -> Reading:
    """Read a settings file; a file that can't be read at all is one fault.

    Args:
        holds: What the file is a mapping of.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as failure:
        return Reading([], [f"{path}: can't be read: {failure.strerror}"])
    if len(data) > FILE_BYTES_MAX:
        return Reading([], [f"{path}: is larger than {FILE_BYTES_MAX} bytes, the maximum of a settings file"])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as failure:
        # Positions count from after the byte order mark, in `failure.object`.
        line, column = _position(failure.object[: failure.start].decode())
        return Reading([], [f"{path}:{line}:{column}: is not UTF-8 (byte 0x{failure.object[failure.start]:02x})"])
    return _Reader(str(path), text, holds).read()


def _position(before: str) -> tuple[int, int]:
    lines = _LINE_BREAK.split(before)
    return len(lines), len(lines[-1]) + 1


class _Reader:
    """One pass over the events of one file."""

    def __init__(self, file: str, text: str, holds: str) -> None:
        self._holds = holds
        self._file = file
        self._text = text
        self._given: list[Given] = []
        self._faults: list[str] = []

    def read(self) -> Reading:
        try:
            # Not CSafeLoader: this one is fast enough for a page of settings, and can't take the process down.
            self._loader = yaml.SafeLoader(self._text)
            self._stream()
        except yaml.reader.ReaderError as failure:
            line, column = _position(self._text[: failure.position])
            self._faults.append(
                f"{self._file}:{line}:{column}: holds U+{failure.character:04X}, which YAML does not allow"
            )
        except yaml.MarkedYAMLError as failure:
            mark = failure.problem_mark or failure.context_mark
            self._faults.append(f"{self._at(mark)}: {_sentence(failure)}{self._lacking_space(mark)}")
        return Reading(self._given, self._faults)

    def _lacking_space(self, mark: Any) -> str:
        """Mention the line before a fault if a colon in it lacks its space."""
        if mark is None or mark.line == 0:
            return ""
        glued = re.match(r"\s*([a-z_]+):\S", _LINE_BREAK.split(self._text)[mark.line - 1])
        return f"; line {mark.line} has no space after `{glued[1]}:`" if glued else ""

    def _next(self) -> Any:
        return self._loader.get_event()  # type: ignore[no-untyped-call]  # the stubs leave it untyped

    def _stream(self) -> None:
        documents = 0
        while not isinstance(event := self._next(), events.StreamEndEvent):
            if isinstance(event, events.DocumentStartEvent):
                documents += 1
            if documents > 1:
                return self._fault(event, (), "a second document starts here; a settings file has one document")
            if isinstance(event, events.NodeEvent):
                self._root(event)
        return None

    def _root(self, event: Any) -> None:
        if isinstance(event, events.MappingStartEvent):
            self._checked(event, ())
            self._mapping(())
        elif not (isinstance(event, events.ScalarEvent) and self._tag(event) == "null"):
            self._fault(event, (), f"the file must be a mapping of {self._holds}")
            self._skip(event)

    def _mapping(self, path: tuple[str, ...]) -> None:
        lines: dict[str, int] = {}
        while not isinstance(key := self._next(), events.MappingEndEvent):
            if not isinstance(key, events.ScalarEvent):
                self._fault(key, path, "a setting's name must be a plain string")
                self._skip(key)
                self._skip(self._next())
                continue
            self._checked(key, path)
            at = (*path, key.value)
            if key.value in lines:
                self._fault(key, at, f"duplicate key, first on line {lines[key.value]}")
            mark: Any = key.start_mark
            lines.setdefault(key.value, mark.line + 1)
            self._value(at, key, self._next())

    def _value(self, path: tuple[str, ...], key: Any, value: Any) -> None:
        usable = self._checked(value, path)
        form: Form = "text"
        text, tag, items = "", None, None
        if isinstance(value, events.MappingStartEvent):
            form = "mapping"
        elif isinstance(value, events.ScalarEvent):
            text, tag = value.value, self._tag(value)
        else:
            form = "list"
            items = self._items(value)
        if usable:
            given = Given(
                path=path,
                form=form,
                text=text,
                items=items,
                tag=tag,
                name_at=self._place(key, path),
                value_at=self._place(value, path),
                origin=f"{self._file}:{key.start_mark.line + 1}",
            )
            self._given.append(given)
        if form == "text":
            self._skip(value)
        elif form == "mapping" and len(path) < DEPTH_MAX:
            self._mapping(path)
        elif form == "mapping":
            raise _too_deep(value)

    def _items(self, event: Any) -> tuple[str, ...] | None:
        """Return the texts of a list; None if the node is none, or anything else stands in it."""
        if not isinstance(event, events.SequenceStartEvent):
            self._skip(event)
            return None
        items: list[str] = []
        plain = True
        while not isinstance(item := self._next(), events.SequenceEndEvent):
            if isinstance(item, events.ScalarEvent) and item.tag is None and self._tag(item) == "str":
                items.append(item.value)
            else:
                self._skip(item)
                plain = False
        return tuple(items) if plain else None

    def _skip(self, event: Any) -> None:
        """Pass over the rest of a node; the depth is bounded, as the parser grows slow with it."""
        depth = 0
        while True:
            depth += isinstance(event, events.CollectionStartEvent)
            depth -= isinstance(event, events.CollectionEndEvent)
            if depth > DEPTH_MAX:
                raise _too_deep(event)
            if depth <= 0:
                return
            event = self._next()

    def _checked(self, event: Any, path: tuple[str, ...]) -> bool:
        """Whether settings may use this kind of node; records a fault, if not."""
        if isinstance(event, events.AliasEvent):
            self._fault(event, path, "aliases (`*name`) can't be used here; write the value itself")
        elif event.tag is not None:
            self._fault(event, path, f"tags (`{shown(event.tag)}`) can't be used here; write the plain value")
        else:
            return True
        return False

    def _tag(self, event: Any) -> Tag:
        tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]  # as above
        return _TAGS.get(tag, "other")

    def _at(self, mark: Any) -> str:
        return f"{self._file}:{mark.line + 1}:{mark.column + 1}" if mark else self._file

    def _place(self, event: Any, path: tuple[str, ...]) -> str:
        at = self._at(event.start_mark)
        return f"{at}: {shown('.'.join(path))}" if path else at

    def _fault(self, event: Any, path: tuple[str, ...], text: str) -> None:
        self._faults.append(f"{self._place(event, path)}: {text}")


def _too_deep(event: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=f"nested over {DEPTH_MAX} levels deep", problem_mark=event.start_mark)


def _sentence(failure: yaml.MarkedYAMLError) -> str:
    if failure.problem and "'\\t'" in failure.problem:
        return "not YAML: lines are indented with spaces, not with tabs"
    return "not YAML: " + " ".join(shown(part) for part in (failure.context, failure.problem) if part)
