"""Two processes give the scores of one, train as one would, and only the first of them writes and prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

import toolkit

LARGEST_SIZE = 30
OBSERVER = """
from pathlib import Path
from toolkit import hookimpl

def note(text):
    with Path(__file__).with_suffix(".txt").open("a") as file:
        print(text, file=file)

@hookimpl
def toolkit_run_started(run): note("started")

@hookimpl
def toolkit_epoch_ended(run, epoch): note(epoch)

@hookimpl
def toolkit_run_ended(run): note("ended")
"""


def torchrun(*arguments: str | Path) -> CompletedProcess[str]:
    """The command in two processes that talk over the loopback device."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, arguments)]
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def epochs(folder: Path) -> list[dict[str, Any]]:
    """The numbers of every epoch."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "phase"} for row in rows]


@pytest.fixture(scope="module")
def by_two(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which `two_processes.py` leaves its results."""
    out = tmp_path_factory.mktemp("two")
    ended = torchrun(Path(__file__).with_name("two_processes.py"), finished_run, str(LARGEST_SIZE), out)
    assert ended.returncode == 0, ended.stderr
    return out


@pytest.mark.slow
def test_two_processes_score_every_size_of_data_as_one_does(by_two: Path) -> None:
    rows: list[dict[str, Any]] = json.loads((by_two / "sizes.json").read_text())
    assert len(rows) == LARGEST_SIZE
    for size, row in enumerate(rows, start=1):
        one, both = row["one"], row["all"]
        assert both["scores"] == pytest.approx(one["scores"], abs=1e-6), f"{size} samples"
        assert both["undefined"] == one["undefined"]
        assert both["ids"] == one["ids"] == [f"test/{n:05d}" for n in range(size)]  # each counted once, in the data set's order
        assert both["losses"] == pytest.approx(one["losses"], abs=1e-6)
        for mine, theirs in zip(both["predictions"]["probabilities"], one["predictions"]["probabilities"], strict=True):
            assert mine == pytest.approx(theirs, abs=1e-6)


@pytest.mark.slow
def test_two_processes_validate_the_weights_that_they_save(by_two: Path) -> None:
    rows = epochs(by_two / "run")
    results = json.loads((by_two / "run" / "results.json").read_text())
    chosen = rows[results["select"]["epoch"] - 1]
    of_validation = {name: value for name, value in results["scores"].items() if name.startswith("val/")}
    assert of_validation == pytest.approx({name: value for name, value in chosen.items() if name.startswith("val/")}, abs=1e-6)


@pytest.mark.slow
def test_evaluating_by_torchrun_prints_the_scores_once(finished_run: Path) -> None:
    ended = torchrun("-m", "toolkit", "evaluate", finished_run, "--json")
    assert ended.returncode == 0, ended.stderr
    scores, _ = toolkit.evaluate(finished_run)
    assert json.loads(ended.stdout)["scores"] == pytest.approx(scores, abs=1e-6)


@pytest.mark.slow
def test_training_by_torchrun_gives_the_scores_of_one_process(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Without dropout and batch norm, which see one process's samples only, the two differ in nothing but the order of sums.

    Float32 sums in another order differ by about 1e-7 of their size; over 18 steps of Adam that stays far below 1e-3, which is
    less than one sample in the validation part: the accuracies are equal, not only within the noise of seeds.
    """
    config = tmp_path / "two.yaml"
    model = {"name": "cnn", "filters": [4], "dense": [8], "dropout": 0.0, "dense_dropout": 0.0}
    config.write_text(yaml.safe_dump(tiny | {"model": model}))
    (tmp_path / "observer.py").write_text(OBSERVER)
    ended = torchrun("-m", "toolkit", "run", config, "--out", tmp_path / "by two", "--plugin", tmp_path / "observer.py")
    assert ended.returncode == 0, ended.stderr
    alone = toolkit.run(config, out=tmp_path / "by one")
    rows, expected = epochs(tmp_path / "by two"), epochs(tmp_path / "by one")
    assert len(rows) == len(expected) == 3
    for row, one in zip(rows, expected, strict=True):
        assert row == pytest.approx(one, abs=1e-3)
    results = json.loads((tmp_path / "by two" / "results.json").read_text())
    assert results["scores"] == pytest.approx(dict(alone.scores), abs=1e-3)
    assert results["processes"] == 2
    assert ended.stdout.count("report: ") == 1
    assert (tmp_path / "observer.txt").read_text().split() == ["started", "1", "2", "3", "ended"]
    log = (tmp_path / "by two" / "log.txt").read_text()
    assert [log.count(f"epoch {n}/3") for n in (1, 2, 3)] == [1, 1, 1]
    assert sorted(os.listdir(tmp_path / "by two")) == sorted(os.listdir(tmp_path / "by one"))
