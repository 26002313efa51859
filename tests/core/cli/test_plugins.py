"""`list` and `plugins`, and subcommands that other distributions add."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands import Command
from toolkit.extension.registry import KINDS


def test_list_names_every_component_with_kind_task_origin_and_meaning(command: Command) -> None:
    lines = command("list").stdout.splitlines()
    expected = "model      mlp                  classification   vision-toolkit   Fully connected network on the flattened picture"
    assert any(line.startswith(expected) for line in lines)
    assert any(line.startswith("optimizer  adam                 any task         vision-toolkit   Adam (Kingma & Ba") for line in lines)
    kinds = [line.split()[0] for line in lines]
    assert set(kinds) == set(KINDS)
    own = [line for line in lines if not line.endswith(" names")]
    assert not [line for line in own if len(line.split("vision-toolkit", 1)[1].strip()) < 3], "a component without a docstring"


@pytest.mark.parametrize("kind", KINDS)
def test_list_of_a_kind_names_only_that_kind(kind: str, command: Command) -> None:
    ended = command("list", kind)
    assert ended.returncode == 0
    lines = [line for line in ended.stdout.splitlines() if not line.startswith(" ")]
    assert lines
    assert all(line.startswith(f"{kind:<10} ") for line in lines)


def test_an_unknown_kind_is_told_with_those_there_are(command: Command) -> None:
    ended = command("list", "layer")
    assert ended.returncode == 2
    there_are = "task, dataset, model, backbone, head, loss, metric, transform, batch_transform, plot, optimizer, schedule"
    assert ended.stderr == f"error: no kind named 'layer'; there are: {there_are}\n"


def test_plugins_lists_each_with_distribution_version_and_state(command: Command) -> None:
    lines = command("plugins").stdout.splitlines()
    assert lines[0].split() == ["core", "vision-toolkit", "0.1.0", "ok"]
    assert ["classification", "vision-toolkit", "0.1.0", "ok"] in [line.split() for line in lines]


def test_a_one_file_plugin_is_listed_with_its_components(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from toolkit.extension import hookimpl\n"
        "def wiggle(steps, /, *, size: float = 1.0):\n"
        "    '''Up and down.'''\n"
        "    return lambda step: size\n"
        "@hookimpl\n"
        "def toolkit_register(registry):\n"
        "    registry.schedule('wiggle', wiggle)\n"
    )
    listed = command("list", "schedule", "--plugin", file).stdout
    assert any(line.split()[:4] == ["schedule", "wiggle", "any", "task"] and line.endswith("Up and down.") for line in listed.splitlines())
    assert command("plugins", "--plugin", file).stdout.splitlines()[-1].split()[0] == "mine"


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Installs a distribution with one command whose module has the given text."""

    def install(text: str) -> None:
        information = tmp_path / "toolkit_extra-3.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text("Metadata-Version: 2.1\nName: toolkit-extra\nVersion: 3.0\n")
        (information / "entry_points.txt").write_text("[toolkit.commands]\ngreet = toolkit_extra_command:greet\n")
        (tmp_path / "toolkit_extra_command.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "toolkit_extra_command", raising=False)

    return install


def test_a_command_of_another_distribution_is_listed_without_being_imported_and_can_be_called(
    command: Command, distribution: Callable[[str], None], tmp_path: Path
) -> None:
    distribution(
        f"from pathlib import Path\nPath({str(tmp_path / 'imported')!r}).touch()\ndef greet(name: str) -> None:\n    print('hello', name)\n"
    )
    assert re.search(r"^  greet +\(from toolkit-extra\)$", command("--help").stdout, re.M)
    assert not (tmp_path / "imported").exists()
    assert command("greet", "you").stdout == "hello you\n"


def test_a_command_that_cannot_be_imported_is_told_as_the_plugin_s_fault(command: Command, distribution: Callable[[str], None]) -> None:
    distribution("raise ImportError('no libgreet')\n")
    ended = command("greet")
    assert ended.returncode == 8
    assert ended.stderr == "error: command 'greet' (toolkit_extra_command:greet) could not be loaded: ImportError: no libgreet\n"
    assert command("--help").returncode == 0
