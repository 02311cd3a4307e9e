"""Loading of settings: merges the sources, collects their faults, shows the result.

Sources, the later one winning: defaults, the YAML file, `JOBQUEUE_SECTION__KEY` in the environment,
flags. Every source gives texts; one table of kinds turns a text into a value, so that `1MiB` means
the same in all of them.

Every fault is collected with its position, and all are raised at once.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, inspect

from jobqueue.config.auth import EXPOSED, is_exposed
from jobqueue.config.backend import faults_of_keeping
from jobqueue.config.console import faults_of_console
from jobqueue.config.deliveries import faults_of_webhooks
from jobqueue.config.environment import read_environment
from jobqueue.config.journal import faults_of_journal
from jobqueue.config.keys_file import read_keys
from jobqueue.config.listening import faults_of_listening
from jobqueue.config.metrics import faults_of_metrics
from jobqueue.config.schedules import faults_of_missing, faults_of_schedules
from jobqueue.config.settings import QUEUE_NAME, Settings
from jobqueue.config.units import Kind, is_value
from jobqueue.config.valkey import HIDDEN, URL_EXPECTED, shown_url
from jobqueue.config.webhooks import faults_of_names, read_secret
from jobqueue.config.yaml_file import Given, Source, read_file, shown
from jobqueue.errors import ConfigError

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Container, Iterator, Mapping, Sequence

Path = tuple[str, ...]
"""The names that lead to a setting."""

QUEUES_MAX = 100
KEYS_MAX = 1000
KEYS: Path = ("auth", "keys")
KEYS_FILE: Path = ("auth", "keys_file")
URL_OF_STORE: Path = ("valkey", "url")
PASSWORDS: frozenset[Path] = frozenset({("valkey", "password"), ("valkey", "sentinel_password")})
"""Settings that are never shown, nor is what is wrong with them; as the secrets of webhooks."""
WEBHOOKS: Path = ("webhooks",)

RENAMED: dict[Path, Path] = {
    ("limits", "body_s"): ("limits", "body_timeout_s"),
    ("limits", "caller_queued"): ("limits", "caller_jobs_max"),
    ("limits", "lag_s"): ("limits", "loop_lag_max_s"),
    ("limits", "reader_s"): ("limits", "write_timeout_s"),
    ("limits", "silent_s"): ("limits", "idle_timeout_s"),
    ("limits", "wait_s"): ("limits", "long_poll_max_s"),
    ("limits", "waiters"): ("limits", "long_polls_max"),
    ("server", "fast_lane"): ("server", "fast_path"),
}
"""Settings that had another name, with the present one: the old name is a fault that says so, whatever its source."""


class Override(Struct, frozen=True):
    """A setting from the command line: the flag as typed, the setting's dotted name, the text."""

    flag: str
    setting: str
    text: str


class Origin(Struct, frozen=True):
    """Where a setting was given: the kind of source, and the position in it, the variable, or the flag."""

    source: Source
    at: str


class Loaded(Struct, frozen=True):
    """Settings, the origin of each one that is no default, by path, and all sources in words.

    Attributes:
        keys_of_file: The names of the keys that `auth.keys_file` has.
    """

    settings: Settings
    origins: dict[Path, Origin] = {}
    sources: str = ""
    keys_of_file: frozenset[str] = frozenset()

    def show(self, *, changed: bool = False) -> str:
        """Render the settings as YAML that means the same, each with its source.

        Args:
            changed: Only those that are not at their defaults.
        """
        return "".join(self._lines(self._changed() if changed else None))

    def _changed(self) -> set[Path]:
        """Return the settings that are not at their defaults, and the sections above them."""
        at_default = dict(texts(Settings()))
        paths = [path for path, text in texts(self.settings) if text != at_default.get(path)]
        return {path[:depth] for path in paths for depth in range(1, len(path) + 1)}

    def _lines(self, wanted: set[Path] | None) -> Iterator[str]:
        for path, text in texts(self.settings, without_keys=self.keys_of_file):
            if wanted is not None and path not in wanted:
                continue
            name = f"{'  ' * (len(path) - 1)}{path[-1]}:"
            if text is None:
                yield f"{name}\n"
            else:
                origin = self.origins.get(path)
                yield f"{f'{name} {text}':<40}  # {'default' if origin is None else origin.at}\n"


def differences(before: Settings, after: Settings) -> dict[str, str]:
    """Return the differences, by dotted name: `{"queues.default.workers": "256 -> 8", "queues.mail": "added"}`.

    Of ids and digests of keys they say only that they have changed.
    """
    was, now = (dict(texts(settings)) for settings in (before, after))
    had_values, values = (dict(_texts((), _ROOT, settings, masked=False)) for settings in (before, after))
    told: dict[str, str] = {}
    for section, had, has in (
        ("queues", before.queues, after.queues),
        ("auth.keys", before.auth.keys, after.auth.keys),
        ("schedules", before.schedules, after.schedules),
    ):
        told |= {f"{section}.{name}": "removed" for name in had if name not in has}
        told |= {f"{section}.{name}": "added" for name in has if name not in had}
    return told | {
        ".".join(path): "changed" if is_secret(path) or was[path] == now[path] else f"{was[path]} -> {now[path]}"
        for path in now
        if had_values.get(path, values[path]) != values[path]
    }


def is_secret(path: Path) -> bool:
    """Whether a setting identifies a key, is a password, or may have one: what tells of it leaves its value out."""
    return (path[:2] == KEYS and path[-1] in ("id", "sha256")) or _is_password(path) or _may_have_password(path)


def _may_have_password(path: Path) -> bool:
    """Whether it is the URL of a receiver, which often has a token of it."""
    return path[:1] == WEBHOOKS and path[-1] == "url"


def _is_password(path: Path) -> bool:
    return path in PASSWORDS or (path[:1] == WEBHOOKS and path[-1] == "secret")


def texts(settings: Settings, *, without_keys: Container[str] = ()) -> Iterator[tuple[Path, str | None]]:
    """Yield each setting with its value as a file has it, and each section, with None, before its settings.

    Args:
        without_keys: Names of keys that are left out: those of `auth.keys_file`, which stands for them.
    """
    for path, text in _texts((), _ROOT, settings):
        if path[:2] != KEYS or path[2:3] == () or path[2] not in without_keys:
            yield path, text


def _texts(path: Path, fields: Fields, section: object, *, masked: bool = True) -> Iterator[tuple[Path, str | None]]:
    """Yield each setting with its value's text, and each section, with None, before its settings.

    Args:
        masked: Passwords are not in the texts.
    """
    for name, field in fields.items():
        at = (*path, name)
        value = section[name] if isinstance(section, dict) else getattr(section, name)
        if isinstance(field, Kind):
            yield at, field.write(_without_password(at, value) if masked else value)
        else:
            yield at, None
            inner: Fields = field if isinstance(field, dict) else dict.fromkeys(value, field.fields)
            yield from _texts(at, inner, value, masked=masked)


def _without_password(path: Path, value: object) -> object:
    if _is_password(path) and value is not None:
        return HIDDEN
    return shown_url(str(value)) if path == URL_OF_STORE else value


def load(file: pathlib.Path | None, *, environ: Mapping[str, str], overrides: Sequence[Override] = ()) -> Settings:
    """Read the settings of a process from every source; as `trace`, without their positions."""
    return trace(file, environ=environ, overrides=overrides).settings


def trace(file: pathlib.Path | None, *, environ: Mapping[str, str], overrides: Sequence[Override] = ()) -> Loaded:
    """Read the settings of a process from every source, the later one winning, with the source of each.

    Args:
        file: The YAML file; None for none. An empty file sets nothing.
        environ: Variables such as `JOBQUEUE_QUEUES__DEFAULT__WORKERS`; other names are passed over.
        overrides: The settings of flags.

    Raises:
        ConfigError: With every fault of every source.
    """
    given, faults = read_file(file) if file is not None else ([], [])
    variables, misspelt = read_environment(environ, SETTINGS)
    merge = _Merge([*faults, *misspelt])
    merge.take(given)
    merge.take(variables)
    merge.take([_from_flag(override) for override in overrides])
    merge.take_keys()
    merge.take_secrets()
    counts = {"environment variable": len(variables), "flag": len(overrides)}
    read = [f"{count} {what}{'s' if count > 1 else ''}" for what, count in counts.items() if count]
    return merge.finish(", ".join([str(file) if file is not None else "no file", *read]))


def _from_flag(override: Override) -> Given:
    flag = override.flag
    path = tuple(override.setting.split("."))
    return Given(path=path, text=override.text, name_at=flag, value_at=flag, origin=flag, source="flag")


class _Merge:
    """The merged sources; a faulty setting is reported once, not again for settings below it."""

    def __init__(self, faults: Sequence[str]) -> None:
        self._faults = list(faults)
        self._tree: dict[str, Any] = {}
        self._given: dict[Path, Given] = {}
        self._keys_of_file: frozenset[str] = frozenset()

    def take(self, source: Sequence[Given]) -> None:
        broken: set[Path] = set()
        for given in source:
            if not any(given.path[:depth] in broken for depth in range(len(given.path))):
                fault = self._put(given)
                if fault is not None:
                    self._faults.append(fault)
                    broken.add(given.path)

    def take_keys(self) -> None:
        """Read the file of keys, if the other sources name one; each of its names must be new."""
        given = self._given.get(KEYS_FILE)
        if given is None or (path := self._tree["auth"]["keys_file"]) is None:
            return
        keys, faults = read_keys(path, given.value_at)
        self._faults += faults
        had = self._tree["auth"].get("keys", {})
        twice = [key.path[2] for key in keys if len(key.path) == 3 and key.path[2] in had]
        for key in keys:
            if len(key.path) == 3 and key.path[2] in twice:
                self._faults.append(f"{key.name_at}: is a name in auth.keys, too: a key has one place")
        self._keys_of_file = frozenset(key.path[2] for key in keys if len(key.path) > 2)
        self.take([key for key in keys if key.path[2] not in twice])

    def take_secrets(self) -> None:
        """Read the files with the secrets of webhooks, if the other sources name any."""
        for path, given in [*self._given.items()]:
            section = self._at(path[:-1])
            if path[:1] != WEBHOOKS or path[-1] != "secret_file" or section["secret_file"] is None:
                continue
            if section.get("secret") is not None:
                self._faults.append(f"{given.value_at}: {'.'.join(path[:-1])}.secret is set, too: remove one of them")
                continue
            try:
                text = read_secret(section["secret_file"])
            except ValueError as error:
                self._faults.append(f"{given.value_at}: {error}")
            else:
                self.take([msgspec.structs.replace(given, path=(*path[:-1], "secret"), text=text, tag=None)])

    def finish(self, sources: str) -> Loaded:
        self._check_keys()
        self._faults.extend(faults_of_missing(self._tree.get("schedules", {})))
        self._faults.extend(faults_of_names(self._tree.get("webhooks", {}).get("endpoints", {}), self._faults))
        if not self._faults:
            self._check_together()
        if self._faults:
            raise ConfigError(*self._faults)
        origins = {path: Origin(given.source, given.origin) for path, given in self._given.items()}
        return Loaded(msgspec.convert(self._tree, Settings), origins, sources, self._keys_of_file)

    def _put(self, given: Given) -> str | None:
        """Keep one value; return the fault, if it is one."""
        field: Fields | Named | Kind = _ROOT
        for depth, name in enumerate(given.path):
            if isinstance(field, Named):
                if not re.fullmatch(QUEUE_NAME, name):
                    return (
                        f"{given.name_at}: '{shown(name)}' is not a valid {field.what} name; use up to 64 of a-z, 0-9, "
                        "- and _"
                    )
                field = field.fields
            elif isinstance(field, dict) and name in field:
                field = field[name]
            elif (renamed := RENAMED.get(given.path)) is not None:
                return f"{given.name_at}: renamed to {given.spell(renamed)}"
            else:
                return f"{given.name_at}: unknown setting{_hint(given, depth, field)}"
        if isinstance(field, Kind):
            return self._put_value(given, field)
        if given.form != "mapping" and given.tag != "null":
            return f"{given.value_at}: is a section; {_section_hint(given, field)}"
        self._at(given.path)
        return None

    def _put_value(self, given: Given, kind: Kind) -> str | None:
        items = given.items if kind.is_list else None
        text = given.text if items is None else ", ".join(items)
        got = f"'{shown(text)}'" if given.form == "text" or items is not None else f"a {given.form}"
        is_url = given.path == URL_OF_STORE or _may_have_password(given.path)
        if (is_url or kind.is_digest or _is_password(given.path)) and given.form == "text" and text:
            got = f"a string of {len(text)} characters"  # it may be the secret itself
        if given.form == "list" and kind.is_list:
            got = got if items is not None else "a list of other items than strings"
        try:
            if items is not None:
                value: object = kind.read_items(items)
            elif given.form == "text":
                value = kind.read(given.text, given.tag)
            else:
                raise ValueError(got)
        except ValueError:
            told = "empty" if got == chr(39) * 2 else got
            hint = _quotes_hint(given, kind) or _word_hint(items, kind)
            expected = URL_EXPECTED if given.path == URL_OF_STORE else kind.expected
            return f"{given.value_at}: must be {expected}, not {told}{hint}"
        self._at(given.path[:-1])[given.path[-1]] = value
        self._given[given.path] = given
        return None

    def _at(self, path: Path) -> dict[str, Any]:
        section = self._tree
        for name in path:
            section = section.setdefault(name, {})
        return section

    def _check_keys(self) -> None:
        """Find keys that lack a setting, or share an id, and more of them than there may be."""
        auth = self._tree.get("auth", {})
        keys: dict[str, dict[str, Any]] = auth.get("keys", {})
        by_id: dict[str, str] = {}
        for name, key in keys.items():
            missing = [setting for setting in ("id", "sha256", "scopes") if setting not in key]
            if missing and not any(f"{name}." in fault for fault in self._faults):
                at = next((given.name_at for path, given in self._given.items() if path[:3] == (*KEYS, name)), None)
                where = f"{at.rpartition(': ')[0] or at}: auth.keys.{name}" if at else f"auth.keys.{name}"
                self._faults.append(f"{where}: lacks {' and '.join(missing)}; `jobqueue key new` prints all of a key")
            if (other := by_id.setdefault(key.get("id", name), name)) != name:
                given = self._given[*KEYS, name, "id"]
                self._faults.append(f"{given.value_at}: is the id of the key {other}, too: each key has its own")
        if len(keys) > KEYS_MAX:
            self._faults.append(f"auth.keys: {len(keys)} are configured, and at most {KEYS_MAX} are allowed")
        if auth.get("none") and (keys or auth.get("keys_file")):
            place = self._given["auth", "none"].value_at
            self._faults.append(f"{place}: must not be true where there are keys: it says that there are none")

    def _check_together(self) -> None:
        """Find settings that are valid alone, but together reject every job, or let everything in."""
        settings = msgspec.convert(self._tree, Settings)
        for small, large in WITHIN:
            if _value(settings, small) > _value(settings, large):
                given = self._given.get(small) or self._given[large]
                bound = f"over {'.'.join(large)}" if small in self._given else f"under {'.'.join(small)}"
                self._faults.append(
                    f"{given.value_at}: must not be {bound}: a value that the one allows must fit into the other"
                )
        if settings.server.port is not None and is_exposed(settings.server.host, settings.auth):
            given = self._given["server", "host"]
            self._faults.append(f"{given.value_at}: {EXPOSED}")
        places = {path: given.value_at for path, given in self._given.items()}
        self._faults.extend(faults_of_listening(settings.server, places))
        self._faults.extend(faults_of_metrics(settings.metrics, settings.auth, places))
        self._faults.extend(faults_of_console(settings.console, settings.metrics, places))
        spool_dir = settings.spool.dir if settings.backend == "memory" else None  # which fits no other
        self._faults.extend(faults_of_journal(settings.journal, spool_dir, places))
        self._faults.extend(faults_of_keeping(settings, places))
        self._faults.extend(faults_of_webhooks(settings, places))
        self._faults.extend(faults_of_schedules(settings.schedules, places))
        if len(settings.queues) > QUEUES_MAX:
            self._faults.append(f"queues: {len(settings.queues)} are configured, and at most {QUEUES_MAX} are allowed")


def _hint(given: Given, depth: int, field: Fields | Kind) -> str:
    """Suggest a similar name beside the one at `depth`, or else a setting of another section.

    It is given in full, in its source's spelling.
    """
    if isinstance(field, Kind):
        return ": the name before it is a setting, not a section"
    before, name, after = given.path[:depth], given.path[depth], given.path[depth + 1 :]
    if near := difflib.get_close_matches(name, field, n=1):
        meant = (*before, near[0], *after)
        return f", did you mean '{given.spell(meant if _is_setting(meant) else meant[: depth + 1])}'?"
    elsewhere: dict[str, Path] = {}
    for path in SETTINGS:
        elsewhere.setdefault(path[-1], path)
    if near := difflib.get_close_matches(name, elsewhere, n=1, cutoff=0.8):
        return f", did you mean '{given.spell(elsewhere[near[0]])}'?"
    return f"; known settings: {', '.join(field)}"


def _word_hint(items: Sequence[str] | None, kind: Kind) -> str:
    """Suggest a known word for the first unknown one of a list."""
    unknown = next((item for item in items or () if kind.words and item not in kind.words), None)
    near = difflib.get_close_matches(unknown or "", kind.words, n=1)
    return f", did you mean '{near[0]}'?" if near else ""


def _section_hint(given: Given, field: Fields | Named) -> str:
    """Say how to set a section's settings; a text such as `port:9000` lacks its space."""
    if glued := re.match(r"([A-Za-z_]+):(\S+)", given.text):
        return f"write `{shown(glued[1])}: {shown(glued[2])}`, with a space after the colon"
    return "set what is in it" + ("" if isinstance(field, Named) else f" ({', '.join(field)})")


def _is_setting(path: Path) -> bool:
    example = "default" if path[0] == "queues" else "name"
    return bool({path, (path[0], example, *path[2:]), (*path[:2], "name", *path[3:])} & set(SETTINGS))


def _quotes_hint(given: Given, kind: Kind) -> str:
    """Say that the value would be valid without its quotes, if so."""
    text = given.text
    if given.tag is None and len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    elif given.tag != "str":
        return ""
    try:
        kind.read(text, None)
    except ValueError:
        return ""
    return ": remove the quotes"


def _paths(path: Path, fields: Fields) -> Iterator[Path]:
    for name, field in fields.items():
        at = (*path, name)
        if isinstance(field, Kind):
            yield at
        elif isinstance(field, dict):
            yield from _paths(at, field)
        else:
            yield from _paths((*at, field.example), field.fields)


def _value(settings: Settings, path: Path) -> int:
    section, name = path
    value = getattr(getattr(settings, section), name)
    assert isinstance(value, int)
    return value


Fields = dict[str, "Kind | Fields | Named"]
"""The settings of a section, by name."""


class Named(Struct, frozen=True):
    """Instead of a section's fields: any name of a queue or a key, each with these fields."""

    fields: Fields
    what: str
    example: str


def _fields(of: inspect.Type) -> Fields:
    assert isinstance(of, inspect.StructType)
    return {field.name: _field(field.name, field.type) for field in of.fields}


def _field(name: str, of: inspect.Type) -> Kind | Fields | Named:
    if isinstance(of, inspect.Metadata) and isinstance(of.type, inspect.DictType):
        of = of.type
    if isinstance(of, inspect.DictType):
        return Named(_fields(of.value_type), *NAMED[name])
    if isinstance(of, inspect.Metadata) and not is_value(of.type):
        of = of.type
    return Kind(name, of) if is_value(of) else _fields(of)


NAMED = {
    "queues": ("queue", "default"),
    "keys": ("key", "name"),
    "endpoints": ("endpoint", "name"),
    "schedules": ("schedule", "name"),
}
"""By section: what a name in it is of, and an example."""

_ROOT = _fields(inspect.type_info(Settings))
SETTINGS = tuple(_paths((), _ROOT))
WITHIN = (
    (("limits", "body_bytes"), ("statuses", "bytes_max")),
    (("limits", "result_bytes"), ("statuses", "bytes_max")),
    (("limits", "files_bytes"), ("spool", "bytes_max")),
)
