"""A stranger's package, installed from its wheel, is as much a part of the toolkit as its own plugins."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parent / "toolkit_saliency"
CONFIG = """
task: saliency
data: {name: synthetic_blobs, size: 64, shortest_px: 24, longest_px: 40}
transforms:
  train: [{name: LongestMaxSize, max_size: 32}, {name: PadIfNeeded, min_height: 32, min_width: 32}, HorizontalFlip, Vignette]
  eval: [{name: LongestMaxSize, max_size: 32}, {name: PadIfNeeded, min_height: 32, min_width: 32}]
model: {name: fcn, backbone: {name: dilated, widths: [8, 8]}}
fit: {batch_size: 16, phases: [{epochs: 1, optimizer: {name: adam, lr: 1e-2}}]}
"""


class Environment:
    """A virtual environment that sees the packages of the current one and has the foreign package besides."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = folder / "env" / "bin" / "python"
        source = shutil.copytree(PACKAGE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
        _uv("build", "--wheel", "--no-build-isolation", "--python", sys.executable, "--out-dir", folder / "dist", source)
        _uv("venv", "--python", sys.executable, folder / "env")
        [site_packages] = folder.glob("env/lib/python*/site-packages")
        outer = sysconfig.get_path("purelib")
        (site_packages / "_outer.pth").write_text(f"import site; site.addsitedir({outer!r})")  # the toolkit may be there as a .pth file
        _uv("pip", "install", "--python", self.python, "--no-deps", *folder.glob("dist/*.whl"))

    def run(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TOOLKIT_BLOCK_PLUGINS")}
        return subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=environment | variables,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def toolkit(self, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "toolkit", *arguments, **variables)


def _uv(*arguments: str | Path) -> None:
    uv = shutil.which("uv", path=os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]]))
    assert uv is not None, "install the extra `test`, which has uv"
    done = subprocess.run([uv, *arguments, "--offline", "--no-cache", "--no-config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp("foreign"))
    (made.folder / "saliency.yaml").write_text(CONFIG)
    return made


def test_plugins_names_its_distribution_and_version(environment: Environment) -> None:
    done = environment.toolkit("plugins")
    assert done.returncode == 0, done.stderr
    assert "saliency toolkit-saliency 1.2.0 ok" in [" ".join(line.split()) for line in done.stdout.splitlines()]


def test_list_shows_its_names(environment: Environment) -> None:
    done = environment.toolkit("list")
    assert done.returncode == 0, done.stderr
    rows = [line.split()[:5] for line in done.stdout.splitlines()]
    listed = {(kind, name) for kind, name, _, distribution, *_ in rows if distribution == "toolkit-saliency"}
    assert {("dataset", "saliency_folder"), ("dataset", "synthetic_blobs"), ("model", "fcn"), ("backbone", "dilated")} <= listed
    assert {("loss", "bce_dice"), ("metric", "iou"), ("plot", "mask_grid"), ("transform", "Vignette")} <= listed


def test_help_names_its_command_without_importing_anything_of_it(environment: Environment) -> None:
    done = environment.run("-X", "importtime", "-m", "toolkit", "--help")
    assert done.returncode == 0, done.stderr
    assert "saliency-samples (from toolkit-saliency)" in [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "toolkit.cli" in done.stderr
    assert "toolkit_saliency" not in done.stderr


def test_its_command_runs(environment: Environment) -> None:
    done = environment.toolkit("saliency-samples", "samples.png", "--count", "3")
    assert (done.stdout, done.stderr) == ("wrote 3 samples to samples.png\n", "")
    assert (environment.folder / "samples.png").is_file()


def test_its_task_trains_on_pictures_of_several_sizes_and_its_scores_stand_in_the_results(environment: Environment) -> None:
    done = environment.toolkit("run", "saliency.yaml", "--out", "run")
    assert done.returncode == 0, done.stderr
    folder = environment.folder / "run"
    results = json.loads((folder / "results.json").read_text())
    assert {"test/iou", "test/mean_absolute_error", "test/loss/bce", "test/loss/dice", "val/iou"} <= results["scores"].keys()
    assert 0 <= results["scores"]["test/iou"] <= 1
    assert (folder / "plots" / "mask_grid.png").is_file()
    assert "toolkit-saliency" in (folder / "environment.json").read_text()


def test_its_own_tests_pass_and_among_them_the_plugin_contract(environment: Environment) -> None:
    done = environment.run("-m", "pytest", "-q", "-c", "source/pyproject.toml", "--pyargs", "toolkit_saliency", "source/tests")
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_blocked_it_is_missed_with_the_reason_by_a_config_that_needs_it(environment: Environment) -> None:
    done = environment.toolkit("check", "saliency.yaml", TOOLKIT_BLOCK_PLUGINS="saliency")
    assert done.returncode == 2
    assert done.stderr.startswith("error: saliency.yaml:2:1: no task named 'saliency'; there are: ")
    assert done.stderr.endswith("(plugin 'saliency' could not be loaded: toolkit-saliency 1.2.0: blocked by TOOLKIT_BLOCK_PLUGINS)\n")
