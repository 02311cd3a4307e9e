"""The choice of a form, the tree of the compiled one, and the wheel's hook. No compiler runs."""

from __future__ import annotations

import ast
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling import build as hatch

from tests.packaging.programs import ROOT, compiled, wheel_hook

NOWHERE = "/nowhere/cc"
EXTENSION = "jobqueue/core/ids.abi3.so"


class Compiler:
    """A stub of mypyc: it counts its runs, and writes an empty extension module."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, tree: Path) -> list[Path]:
        self.runs += 1
        extension = tree / EXTENSION
        extension.touch()
        return [extension]


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> Compiler:
    compiler = Compiler()
    monkeypatch.setattr(compiled, "compile_tree", compiler)
    monkeypatch.delenv(compiled.VARIABLE, raising=False)
    return compiler


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", NOWHERE)
    monkeypatch.delenv(compiled.VARIABLE, raising=False)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    checkout = tmp_path / "checkout"
    (checkout / "jobqueue/core").mkdir(parents=True)
    (checkout / "packaging").mkdir()
    for name in (
        "jobqueue/core/ids.py",
        "jobqueue/core/rate.py",
        "pyproject.toml",
        "packaging/compiled.py",
        "README.md",
    ):
        (checkout / name).write_text("")
    subprocess.run(["git", "init", "-q", checkout], check=True)
    return checkout


def test_the_listed_modules_exist_and_are_sorted() -> None:
    listed = compiled.modules(ROOT)
    assert listed == sorted(set(listed))
    assert [path for path in listed if not (ROOT / path).is_file()] == []


def test_no_compiled_coroutine_awaits_in_a_finally() -> None:
    """mypyc 2.4 compiles it wrongly: if that raises, the next call raises what was raised before it this time."""
    wrong = [
        f"{path}:{statement.lineno}"
        for path in compiled.modules(ROOT)
        for statement in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(statement, ast.Try)
        for node in ast.walk(ast.Module(statement.finalbody, []))
        if isinstance(node, ast.Await | ast.AsyncWith | ast.AsyncFor)
    ]
    assert wrong == []


def test_an_unknown_form_is_an_error_that_names_the_known_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.VARIABLE, "fast")
    with pytest.raises(compiled.CannotCompile, match="JOBQUEUE_BUILD is compiled or pure, not 'fast'"):
        compiled.wanted()


@pytest.mark.usefixtures("no_compiler")
def test_without_a_compiler_the_checkout_itself_is_built_from_and_one_line_says_why(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert compiled.root_of_form(checkout, checkout / "tmp/compiled") == checkout
    assert capsys.readouterr().err == (
        f"jobqueue: pure build, since a C compiler ({NOWHERE}; Debian: apt-get install gcc) is missing\n"
    )


@pytest.mark.usefixtures("no_compiler")
def test_a_compiled_build_without_a_compiler_is_an_error_that_names_the_missing_part(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(compiled.VARIABLE, "compiled")
    with pytest.raises(compiled.CannotCompile, match=r"a C compiler \(/nowhere/cc; .*\) is missing"):
        compiled.root_of_form(checkout, checkout / "tmp/compiled")


def test_missing_headers_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(compiled.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setenv("CC", "sh")
    assert compiled.missing() == "the headers of Python (Debian: apt-get install python3-dev)"


def test_a_tree_is_compiled_again_when_a_source_changed_and_only_then(checkout: Path, compiler: Compiler) -> None:
    tree = checkout / "tmp/compiled"
    assert compiled.make_tree(checkout, tree)
    assert not compiled.make_tree(checkout, tree)
    (checkout / "README.md").write_text("new")
    assert not compiled.make_tree(checkout, tree)
    assert (tree / "README.md").read_text() == "new"

    (checkout / "jobqueue/core/rate.py").write_text("RATE = 1")

    assert compiled.make_tree(checkout, tree)
    assert compiler.runs == 2
    assert (tree / "jobqueue/core/rate.py").read_text() == "RATE = 1"


def test_a_failed_compilation_leaves_no_tree_that_looks_complete(
    checkout: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = checkout / "tmp/compiled"
    compiled.make_tree(checkout, tree)
    (checkout / "jobqueue/core/ids.py").write_text("IDS = 1")

    def fail(tree: Path) -> list[Path]:
        raise compiled.CannotCompile("no")

    monkeypatch.setattr(compiled, "compile_tree", fail)
    for _ in range(2):
        with pytest.raises(compiled.CannotCompile):
            compiled.make_tree(checkout, tree)


def test_a_folder_that_is_no_checkout_is_not_copied(tmp_path: Path, compiler: Compiler) -> None:
    (tmp_path / "pyproject.toml").touch()
    with pytest.raises(compiled.CannotCompile, match="is not a checkout that git knows"):
        compiled.make_tree(tmp_path, tmp_path / "tmp/compiled")


def test_a_file_that_left_the_checkout_leaves_the_tree(checkout: Path, compiler: Compiler) -> None:
    tree = checkout / "tmp/compiled"
    compiled.make_tree(checkout, tree)
    (checkout / "jobqueue/core/rate.py").unlink()

    assert compiled.make_tree(checkout, tree)

    assert not (tree / "jobqueue/core/rate.py").exists()
    assert (tree / EXTENSION).exists()


def test_no_extension_module_is_made_in_the_checkout(checkout: Path, compiler: Compiler) -> None:
    compiled.make_tree(checkout, checkout / "tmp/compiled")
    assert list(checkout.glob("jobqueue/**/*.so")) == []
    assert (checkout / "tmp/compiled" / EXTENSION).exists()


@pytest.fixture
def in_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Build wheels of the checkout; no intermediate file may be left."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    assert list(temporary.iterdir()) == []


def names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.mark.usefixtures("in_checkout")
def test_a_compiled_wheel_has_extension_modules_beside_their_sources(tmp_path: Path, compiler: Compiler) -> None:
    wheel = tmp_path / hatch.build_wheel(str(tmp_path))
    assert "-none-any" not in wheel.name
    assert {EXTENSION, "jobqueue/core/ids.py"} <= {*names(wheel)}


@pytest.mark.usefixtures("in_checkout", "no_compiler")
def test_without_a_compiler_the_wheel_is_pure(tmp_path: Path) -> None:
    wheel = tmp_path / hatch.build_wheel(str(tmp_path))
    assert wheel.name.endswith("-py3-none-any.whl")
    assert [name for name in names(wheel) if name.endswith(".so")] == []
    assert hatch.get_requires_for_build_wheel() == []


@pytest.mark.usefixtures("in_checkout")
def test_a_pure_wheel_can_be_asked_for(tmp_path: Path, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.VARIABLE, "pure")
    assert hatch.build_wheel(str(tmp_path)).endswith("-py3-none-any.whl")
    assert compiler.runs == 0


@pytest.mark.usefixtures("in_checkout", "no_compiler")
def test_a_compiled_wheel_without_a_compiler_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compiled.VARIABLE, "compiled")
    with pytest.raises(compiled.CannotCompile, match="is missing"):
        hatch.build_wheel(str(tmp_path))
    assert list(tmp_path.glob("*.whl")) == []


def test_an_editable_install_is_pure(compiler: Compiler) -> None:
    hook = wheel_hook.WheelHook(str(ROOT), {}, None, None, "", "wheel")
    hook.initialize("editable", {})  # an extension module would be added to the data
    assert compiler.runs == 0


@pytest.mark.usefixtures("in_checkout")
def test_a_source_distribution_can_build_a_wheel_and_has_nothing_generated(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / hatch.build_sdist(str(tmp_path))) as archive:
        files = [name.partition("/")[2] for name in archive.getnames()]
    assert {"packaging/wheel_hook.py", "packaging/compiled.py", "pyproject.toml"} <= {*files}
    assert [name for name in files if name.endswith((".c", ".h", ".o", ".so", ".pyc"))] == []
