"""What the README shows works as it stands there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from toolkit.cli.app import main
from toolkit.data.images import write_png
from toolkit.extension.discovery import load_plugins
from toolkit.studies.grid_file import read_grid
from toolkit.studies.sweep_file import read_sweep

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MISSPELT = """\
task: classification
data:
  name: synthetic_shapes
  size: 100
model:
  name: cnn
  filters: [8]
  dropuot: 0.5
fit:
  batch_size: 0
  phases: [{epochs: 1, optimizer: sgd}]
"""
TINY = ["data.size=200", "fit.phases.0.epochs=1", "runtime.threads=1"]


def block(language: str, containing: str) -> str:
    """The README's one code block in `language` that contains the text."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.M | re.S)
    (found,) = [text for name, text in blocks if name == language and containing in text]
    return str(found)


def run_toolkit(*arguments: str) -> int:
    """The exit code of the command."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(str(ended.value.code or 0))


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has the configs where the README says."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_the_script_trains_and_predicts(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_png(checkout / "photo.png", np.full((40, 60, 3), 128, np.uint8))
    script = block("python", "toolkit.load").replace('["fit.batch_size=64"]', repr(TINY))
    exec(compile(script, "README.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"0\.\d+ runs/first/report.html", printed[-2])
    assert printed[-1].startswith("{'class': ")


@pytest.mark.slow
def test_the_one_file_plugin_runs_by_the_command_beside_it(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "my_plugin.py").write_text(block("python", "toolkit_register"))
    _, *arguments = shlex.split(block("", "--plugin my_plugin.py"))
    assert run_toolkit(*arguments, *TINY) == 0
    assert re.search(r"^test/confidence +0\.\d+$", capsys.readouterr().out, re.M)


def test_the_config_with_problems_prints_what_the_readme_says(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "my.yaml").write_text(MISSPELT)
    assert run_toolkit("check", "my.yaml") == 2
    assert capsys.readouterr().err == block("", "dropuot").partition("\n")[2]


def test_the_grid_and_the_sweep_are_valid_where_they_would_stand(tmp_path: Path) -> None:
    registry = load_plugins().registry
    (tmp_path / "classification_mnist_mlp.yaml").write_text((ROOT / "configs" / "classification_mnist_mlp.yaml").read_text())
    for text in (block("yaml", "# grids/widths.yaml"), block("yaml", "# sweeps/mlp.yaml")):
        file = tmp_path / text.partition("\n")[0].removeprefix("# ")
        file.parent.mkdir()
        file.write_text(text)
    grid = read_grid(tmp_path / "grids" / "widths.yaml", synthetic=False, registry=registry)
    assert (len(grid.cells), grid.folds) == (2 * 2 * 3 * 2, 3)
    assert read_sweep(tmp_path / "sweeps" / "mlp.yaml", synthetic=False, registry=registry).trials == 20


def test_the_example_config_is_valid(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (checkout / "photos.yaml").write_text(block("yaml", "my_photos"))
    assert run_toolkit("check", "photos.yaml") == 0
    assert capsys.readouterr().out == "photos.yaml: ok\n"
