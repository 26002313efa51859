"""Who may import whom, and how large a file may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "toolkit"
PLUGINS = sorted(folder for folder in (ROOT / "plugins").iterdir() if any(folder.glob("*.py")))
PACKAGES = [CORE, *PLUGINS]

FLOORS = (
    ("errors", "cores"),
    ("extension",),
    ("config",),
    ("data",),
    ("task",),
    ("models", "evaluation"),
    ("training",),
    ("reporting",),
    (
        "build",
        "builtin",
        "calibration",
        "components",
        "run_folder",
        "runs",
        "bench",
        "predictor",
        "testing",
        "summary",
        "visualize",
        "exporting",
    ),
    ("studies",),
    ("cli",),
)
"""Lowest first. A file imports only from its own floor or a lower one; names are files or folders of `toolkit/`."""
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
DOORS = ("__init__", "__main__")
"""Files of `toolkit/` itself that stand above all floors: they import when used."""

PLUGIN_FILES = {"plugin", "types", "task", "datasets", "models", "metrics", "plots"}
NAMELESS = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
MOST_LINES = 400

LIGHT = {"toolkit", "typer", "shellingham", "annotated_doc", "rich", "pluggy", "org", "_wmi"} | sys.stdlib_module_names
"""May be imported by `toolkit --help`; the rest waits for a command. The standard library tries `org` for Jython and `_wmi` for Windows."""


def sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def imported(tree: ast.AST, package: str) -> set[str]:
    """Full names of the modules (or names in modules) that the statements below `tree` import; `package` is where a `.` leads."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*parents, *filter(None, [node.module])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imports_of(file: Path, package: Path) -> set[str]:
    here = ".".join(file.relative_to(package.parent).parent.parts)
    return imported(ast.parse(file.read_text(encoding="utf-8")), here)


def at_module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, without those below `if TYPE_CHECKING:`."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        statement = waiting.pop()
        if isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            waiting += statement.orelse
        elif not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield statement
            waiting += [child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt)]


def top(name: str) -> str:
    return name.partition(".")[0]


def above(floor: int, names: set[str]) -> list[str]:
    """Names within `toolkit` that stand on a higher floor, or on none."""
    within = sorted(name for name in names if top(name) == "toolkit")
    return [name for name in within if FLOOR_OF.get(name.split(".")[1], len(FLOORS)) > floor]


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_the_toolkit_imports_no_plugin(folder: Path) -> None:
    assert [str(file) for file in sources(CORE) if folder.name in map(top, imports_of(file, CORE))] == []


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_no_other_plugin(folder: Path) -> None:
    others = {other.name for other in PLUGINS} - {folder.name}
    found = {file.name: others & {*map(top, imports_of(file, folder))} for file in sources(folder)}
    assert {file: names for file, names in found.items() if names} == {}


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_a_plugin_imports_no_test_and_nothing_private_of_the_toolkit(folder: Path) -> None:
    for file in sources(folder):
        private = [name for name in imports_of(file, folder) if top(name) == "toolkit" and re.search(r"\._[a-z]", name)]
        assert private == [], file
        assert "tests" not in map(top, imports_of(file, folder)), file


def test_every_file_of_the_toolkit_stands_on_a_floor() -> None:
    names = {file.relative_to(CORE).parts[0].removesuffix(".py") for file in sources(CORE)}
    assert names - FLOOR_OF.keys() - {*DOORS} == set()
    assert FLOOR_OF.keys() - names == set()


@pytest.mark.parametrize("name", FLOOR_OF)
def test_a_file_imports_only_from_its_own_floor_or_a_lower_one(name: str) -> None:
    files = sources(CORE / name) if (CORE / name).is_dir() else [CORE / f"{name}.py"]
    found = {str(file.relative_to(ROOT)): above(FLOOR_OF[name], imports_of(file, CORE)) for file in files}
    assert {file: names for file, names in found.items() if names} == {}


def test_relative_and_nested_imports_are_seen() -> None:
    tree = ast.parse("from . import a\nfrom ..b import c\nif x:\n    import toolkit.runs as r\ndef f():\n    from toolkit import cli")
    assert imported(tree, "toolkit.data") == {"toolkit.data.a", "toolkit.b.c", "toolkit.runs", "toolkit.cli"}
    assert above(FLOOR_OF["data"], {"toolkit.data.a", "toolkit.b.c", "toolkit.runs", "toolkit.cli", "os"}) == [
        "toolkit.b.c",
        "toolkit.cli",
        "toolkit.runs",
    ]


@pytest.mark.parametrize("file", [CORE / "__init__.py", CORE / "__main__.py", *sources(CORE / "cli")], ids=lambda file: file.name)
def test_the_command_line_imports_nothing_heavy_at_module_level(file: Path) -> None:
    here = ".".join(file.relative_to(ROOT).parent.parts)
    names: set[str] = set()
    for statement in at_module_level(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names |= imported(statement, here)
    assert {name for name in names if top(name) not in LIGHT} == set()
    assert {name for name in names if top(name) == "toolkit" and name.split(".")[1] not in ("cli", "errors")} == set()


def test_help_imports_neither_torch_nor_numpy_nor_a_plugin() -> None:
    reported = modules_imported_by("-m", "toolkit", "--help")
    assert "toolkit.cli.app" in reported
    at_every_start = {*map(top, modules_imported_by("-c", ""))}  # .pth files in site-packages may import
    assert {*map(top, reported)} - LIGHT - at_every_start == set()


def modules_imported_by(*arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True)
    return re.findall(r"^import time: +\d+ \| +\d+ \| +(\S+)$", done.stderr, re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES, ids=lambda folder: folder.name)
def test_no_file_is_too_long_or_named_after_nothing(package: Path) -> None:
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in sources(package)}
    assert {file: lines for file, lines in lengths.items() if lines > MOST_LINES} == {}
    assert [file for file in lengths if NAMELESS & {*Path(file).with_suffix("").parts}] == []


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
def test_every_plugin_has_the_same_files(folder: Path) -> None:
    assert PLUGIN_FILES - {path.stem for path in folder.iterdir()} == set()
    assert (folder / "README.md").is_file()
    assert (folder / "py.typed").is_file()


def test_every_plugin_is_packaged_and_found_like_a_strangers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    entry_points = project["project"]["entry-points"]["toolkit.plugins"]
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {*entry_points.values()} == {"toolkit.builtin", *(f"{folder.name}.plugin" for folder in PLUGINS)}
    assert {*packages} == {"toolkit", *(f"plugins/{folder.name}" for folder in PLUGINS)}
