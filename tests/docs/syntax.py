"""The syntax check of each language: by a parser, and by the program itself where it is installed."""

from __future__ import annotations

import ast
import configparser
import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from jobqueue.client import JobDocument
from jobqueue.config.load import load
from jobqueue.handlers import Submission

if TYPE_CHECKING:
    from tests.docs.page import Block


def check(block: Block, folder: Path) -> None:
    """Check a block's syntax, and the names of this project in it. Raises the error of the parser."""
    checks = {
        "python": check_python,
        "json": check_json,
        "yaml": check_yaml,
        "nginx": check_nginx,
        "caddy": check_caddy,
        "ini": check_unit,
        "dockerfile": check_dockerfile,
        "js": check_js,
        "go": check_go,
    }
    if block.language in checks:
        checks[block.language](block, folder)


def check_python(block: Block, folder: Path) -> None:
    """Compile it, and import each name that it imports from this package."""
    tree = ast.parse(block.text, block.place)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jobqueue":
            module = importlib.import_module(node.module or "")
            for name in node.names:
                if not hasattr(module, name.name):
                    importlib.import_module(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                if name.name.split(".")[0] == "jobqueue":
                    importlib.import_module(name.name)


def check_json(block: Block, folder: Path) -> None:
    """Parse it; a job's document, or a submission, is decoded by its struct and has no other members."""
    parsed = json.loads(block.text)
    struct: type[msgspec.Struct] | None = {"job": JobDocument, "submission": Submission}.get(block.verb)
    if struct is None:
        return
    msgspec.convert(parsed, struct, strict=False)
    unknown = set(parsed) - set(struct.__struct_encode_fields__)
    assert not unknown, f"no member of a {block.verb}: {unknown}"


def check_yaml(block: Block, folder: Path) -> None:
    """Load it as a configuration, unless it is another program's."""
    if block.verb == "parsed":
        list(yaml.safe_load_all(block.text))
        return
    file = folder / ".checked.yaml"
    file.write_text(block.text)
    load(file, environ={})


NGINX_LINE = re.compile(r"(?:[^;{}\"'#]|\"[^\"]*\"|'[^']*')+[;{]|\}")


def check_nginx(block: Block, folder: Path) -> None:
    """Check directives and braces. Where nginx is installed, it tests the block, too."""
    rest = re.sub(r"#.*", "", block.text)
    depth = 0
    while rest := rest.strip():
        found = NGINX_LINE.match(rest)
        assert found, f"no directive of nginx: {rest.splitlines()[0]}"
        depth += {"{": 1, "}": -1}.get(found[0][-1], 0)
        assert depth >= 0, "a closing brace too many"
        rest = rest[found.end() :]
    assert depth == 0, "a brace is not closed"
    if nginx := shutil.which("nginx"):
        file = folder / ".checked.conf"
        temporary = "".join(f"{kind}_temp_path temp; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        file.write_text(f"events {{}}\nhttp {{\naccess_log off; {temporary}\n{block.text}\n}}\n")
        _run([nginx, "-t", "-q", "-p", str(folder), "-g", "pid nginx.pid;", "-c", str(file)])


def check_caddy(block: Block, folder: Path) -> None:
    """Check the braces, which end a line or have one of their own. Where caddy is installed, it reads the file, too."""
    depth = 0
    for line in re.sub(r"(^|\s)#.*", "", block.text).splitlines():
        depth += line.rstrip().endswith("{")
        depth -= line.strip() == "}"
        assert depth >= 0, "a closing brace too many"
    assert depth == 0, "a brace is not closed"
    if caddy := shutil.which("caddy"):
        file = folder / ".checked.Caddyfile"
        file.write_text(block.text)
        _run([caddy, "adapt", "--adapter", "caddyfile", "--config", str(file)])


def check_unit(block: Block, folder: Path) -> None:
    """Parse it as an INI file; a unit is verified by systemd where it is installed, with existing programs."""
    parser = configparser.RawConfigParser(strict=False, interpolation=None, allow_no_value=True)
    parser.read_string(block.text)
    if "Unit" in parser and (verify := shutil.which("systemd-analyze")):
        file = folder / (block.file or "jobqueue.service")
        file.write_text(re.sub(r"(?m)^(Exec\w+=)\S+", r"\1/bin/true", block.text))
        output = _run([verify, "verify", "--man=no", str(file)])
        faults = [line for line in output.splitlines() if file.name in line]  # warnings included
        assert not faults, "; ".join(faults)


INSTRUCTIONS = {
    *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM", "HEALTHCHECK"),
    *("LABEL", "RUN", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
}


def check_dockerfile(block: Block, folder: Path) -> None:
    """Check each instruction by its name, and the lists of arguments by JSON. No image is built."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", block.text)).splitlines()
    for line in filter(str.strip, lines):
        name, _, rest = line.partition(" ")
        assert name in INSTRUCTIONS, f"no instruction of a Dockerfile: {name}"
        if "[" in rest and name in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
            arguments: Any = json.loads(rest[rest.index("[") :])
            assert all(isinstance(each, str) for each in arguments)


def check_js(block: Block, folder: Path) -> None:
    """Parse it as a module, where node is installed."""
    if node := shutil.which("node"):
        file = folder / ".checked.mjs"
        file.write_text(block.text)
        _run([node, "--check", str(file)])


def check_go(block: Block, folder: Path) -> None:
    """Parse it, and check its form, where Go is installed."""
    if gofmt := shutil.which("gofmt"):
        file = folder / "checked.go"
        file.write_text(block.text)
        formatted = subprocess.run([gofmt, str(file)], capture_output=True, text=True, check=False, timeout=60)
        assert formatted.returncode == 0, formatted.stderr
        assert formatted.stdout == block.text, "gofmt writes it otherwise"


def _run(command: list[str]) -> str:
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stderr
