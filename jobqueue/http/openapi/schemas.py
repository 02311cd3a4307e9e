"""Schemas: the documents of requests and answers as JSON Schema, in the components of the description.

Rules:

1. msgspec makes a schema from a type; here is only what it does not know: names, words, and types without a schema.
2. A document is a struct or a TypedDict. Its component has its name, without the ending `Document` (`NAMES` has the
   others), the first sentences of its docstring, and for each member the line of it below `Attributes:`.
3. A member may carry the rest itself: `msgspec.Meta` with bounds, a description or `extra_json_schema`.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from jobqueue.api_limits import BATCH_MAX, FLOW_GRAPH_MAX
from jobqueue.handlers import PlainSubmission, Submission
from jobqueue.handlers.flow_submission import FlowSubmission, NamedSubmission
from jobqueue.http.request.batch import Batch

REF = "#/components/schemas/{name}"
NULL = {"type": "null"}

NAMES = {
    "AliveDocument": "Liveness",
    "AttemptDocument": "FailedAttempt",
    "BatchDocument": "BatchResult",
    "BatchItemDocument": "BatchItem",
    "BulkDocument": "BulkResult",
    "DescriptionDocument": "ApiDescription",
    "ListDocument": "JobList",
    "QuarantinedDocument": "QuarantinedType",
    "QueuesDocument": "QueueList",
    "ProblemTypeDocument": "ProblemType",
    "ProblemTypesDocument": "ProblemTypeList",
    "ReadyDocument": "Readiness",
    "WaitingDocument": "WaitingFor",
}
"""Names of components that differ from those of their classes, beside the ending `Document`."""

_PRECISE: dict[tuple[type, str], Any] = {
    (Submission, "args"): dict[str, Any],
    (PlainSubmission, "args"): dict[str, Any],
    (NamedSubmission, "args"): dict[str, Any],
    (FlowSubmission, "jobs"): Annotated[list[NamedSubmission], msgspec.Meta(min_length=1, max_length=FLOW_GRAPH_MAX)],
    (Batch, "jobs"): Annotated[list[Submission], msgspec.Meta(max_length=BATCH_MAX)],
}
"""Members that the server decodes later than the rest, so that their own type says nothing."""

# Its exact form, one of all conditions (`anyOf` with `required`), is no type to generators.
_MORE: dict[str, dict[str, Any]] = {"BulkFilter": {"minProperties": 1}}
"""What the code checks beside the types of the members, by the name of the component."""

_ATTRIBUTE = re.compile(r"^ {4}(\w+): ?(.*)$")


class Schemas:
    """The schemas of some documents.

    Args:
        kinds: The types of the documents.

    Attributes:
        components: The schemas that others refer to, by name.
    """

    def __init__(self, kinds: typing.Iterable[Any]) -> None:
        self._twins: dict[Any, Any] = {}
        self._taken: dict[str, dict[str, Any]] = {}
        asked = {kind: self._twin_of(kind) for kind in kinds}
        wanted = [*asked.values(), *self._twins.values()]  # members of a union are met by their twins alone
        schemas, self.components = msgspec.json.schema_components(wanted, ref_template=REF)
        self._by_kind = dict(zip(asked, schemas, strict=False))
        for name, schema in self.components.items():
            finish(schema)
            schema |= _MORE.get(name, {})

    def of(self, kind: Any) -> dict[str, Any]:
        """Return the schema of a document: a reference, if it has a name."""
        schema: dict[str, Any] = self._by_kind[kind]
        return schema

    def members(self, kind: Any) -> dict[str, Any]:
        """Return a document's schema itself, out of the components: it is used in parts."""
        name = name_of(kind)
        if name in self.components:
            self._taken[name] = self.components.pop(name)
        return self._taken[name]

    def _twin_of(self, hint: Any) -> Any:
        """Return a type with the same schema that msgspec can read, every document in it under its component's name."""
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is Annotated:
            return Annotated[(self._twin_of(args[0]), *args[1:])]
        if origin in (typing.Union, types.UnionType):
            return self._twin_of_union([self._twin_of(arg) for arg in args])
        if origin is not None and origin is not typing.Literal:
            return origin[tuple(arg if arg is Ellipsis else self._twin_of(arg) for arg in args)]
        if hint is msgspec.Raw:
            return Any
        if hint in self._twins:
            return self._twins[hint]
        if not is_document(hint):
            return hint
        twin = self._twins[hint] = self._document_twin(hint)
        return twin

    def _twin_of_union(self, options: list[Any]) -> Any:
        documents = [option for option in options if is_document(option)]
        if len(documents) > 1:  # msgspec: one at most
            refs = [{"$ref": REF.format(name=each.__name__)} for each in documents]
            any_of = Annotated[Any, msgspec.Meta(extra_json_schema={"anyOf": refs})]
            options = [any_of, *(option for option in options if option not in documents)]
        return typing.Union[tuple(options)]  # noqa: UP007  # made at run time

    def _document_twin(self, kind: Any) -> type[msgspec.Struct]:
        summary, attributes = docstring_of(kind)
        fields: list[tuple[str, Any, Any]] = []
        for name, encoded, hint, default in _members(kind):
            twin = self._twin_of(hint)
            if name in attributes:
                twin = Annotated[twin, msgspec.Meta(description=attributes[name])]
            fields.append((name, twin, msgspec.field(default=default, name=encoded)))
        strict = bool(getattr(kind, "__struct_config__", None) and kind.__struct_config__.forbid_unknown_fields)
        return msgspec.defstruct(
            name_of(kind),
            fields,
            kw_only=True,
            forbid_unknown_fields=strict,
            namespace={"__doc__": summary},
        )


def name_of(kind: Any) -> str:
    """Return the name of a document's component."""
    name: str = kind.__name__
    return NAMES.get(name, name.removesuffix("Document"))


def is_document(kind: Any) -> bool:
    """Whether a type is a JSON object with members."""
    return typing.is_typeddict(kind) or (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def docstring_of(kind: Any) -> tuple[str, dict[str, str]]:
    """Return the first paragraph of a class's docstring, and the words about each attribute."""
    head, _, below = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")
    head = head.partition("\n\n")[0]  # further paragraphs are for readers of the code
    attributes: dict[str, str] = {}
    for base in kind.__bases__:
        if is_document(base) and base is not msgspec.Struct:
            attributes |= docstring_of(base)[1]
    name = ""
    for line in below.splitlines():
        if line and not line.startswith(" "):  # another section
            break
        if found := _ATTRIBUTE.match(line):
            name, attributes[found[1]] = found[1], _sentence(found[2])
        elif name and line.strip():
            attributes[name] += f" {line.strip()}"
    return " ".join(head.split()), attributes


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _members(kind: Any) -> typing.Iterator[tuple[str, str, Any, Any]]:
    """Yield the members of a document: the name of each in Python and in JSON, its type and its default."""
    hints = typing.get_type_hints(kind, include_extras=True)
    if typing.is_typeddict(kind):
        for name, hint in hints.items():
            if typing.get_origin(hint) is typing.NotRequired:
                yield name, name, typing.get_args(hint)[0] | UnsetType, UNSET
            else:
                yield name, name, hint, msgspec.NODEFAULT
        return
    for field in msgspec.structs.fields(kind):
        default = field.default
        if isinstance(default, msgspec.Raw):
            default = msgspec.json.decode(default)
        yield field.name, field.encode_name, _PRECISE.get((kind, field.name), hints[field.name]), default


def finish(schema: dict[str, Any]) -> None:
    """Bring a component into the form of hand-written ones."""
    schema.pop("title", None)
    if "enum" in schema:
        schema["type"] = "string"
    if not schema.get("required", True):
        del schema["required"]
    for name, member in schema.get("properties", {}).items():
        schema["properties"][name] = _flat(member)


def _flat(member: dict[str, Any]) -> dict[str, Any]:
    """Write `null` into the type of a plain value: generators know that form best."""
    if "enum" in member:
        return {"type": "string", **member}
    options = member.get("anyOf", ())
    if len(options) != 2 or NULL not in options:
        return member
    (other,) = (option for option in options if option != NULL)
    rest = {key: value for key, value in member.items() if key != "anyOf"}
    if not other:  # any value, null too
        return rest
    if not isinstance(other.get("type"), str) or "enum" in other:
        return member
    return {**other, **rest, "type": [other["type"], "null"]}
