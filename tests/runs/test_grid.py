"""`toolkit grid`: cells run, kept, resumed and refused."""

from __future__ import annotations

import csv
import json
import signal
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import Command
from toolkit import runs
from toolkit.errors import ConfigError, DataError, ResourceError, StoppedError
from toolkit.studies.grid import run_grid

GRID = """\
config: tiny.yaml
set: {fit.phases.0.epochs: 1, plots: [], model: {name: mlp, hidden: [8]}}
axes: {fit.phases.0.optimizer.lr: [1e-3, 1e-2]}
seeds: [0, 1]
scores: [test/accuracy, val/loss]
"""
ON_REAL = """\
config: tiny.yaml
set: {fit.phases.0.epochs: 1, plots: [], model: {name: mlp, hidden: [8]}}
axes: {data: {mnist: {data: {name: mnist, limit: 100}}, fashion: {data.name: fashion_mnist}}}
scores: [test/accuracy]
"""


@pytest.fixture
def grid(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cells of a moment each."""
    monkeypatch.setattr(runs, "plot_curves", lambda *args, **kwargs: [])  # most of the time of so small a run
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    file = tmp_path / "grid.yaml"
    file.write_text(GRID)
    return file


def results_of(cell: Path) -> Any:
    return json.loads((cell / "results.json").read_text())


def test_a_misspelt_score_ends_the_grid_after_its_first_cell(grid: Path, tmp_path: Path) -> None:
    grid.write_text(GRID.replace("test/accuracy", "test/acuracy"))
    told = r"grid\.yaml: scores: no score named 'test/acuracy'; did you mean 'test/accuracy'\?$"
    with pytest.raises(ConfigError, match=told):
        run_grid(grid, out=tmp_path / "out")
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1
    with pytest.raises(ConfigError, match=told):  # before any other cell
        run_grid(grid, out=tmp_path / "out")
    assert len(list((tmp_path / "out" / "cells").iterdir())) == 1


def test_a_grid_runs_every_cell_and_its_table_has_mean_and_spread_of_their_results(grid: Path, tmp_path: Path, command: Command) -> None:
    ended = command("grid", grid, "--out", tmp_path / "out")
    assert ended.returncode == 0
    cells = tmp_path / "out" / "cells"
    names = sorted(cell.name for cell in cells.iterdir())
    assert names == ["lr=0.001,seed=0", "lr=0.001,seed=1", "lr=0.01,seed=0", "lr=0.01,seed=1"]
    rows = list(csv.DictReader((tmp_path / "out" / "table.csv").read_text().splitlines()))
    assert [row["lr"] for row in rows] == ["0.001", "0.01"]
    for row in rows:
        losses = [results_of(cells / f"lr={row['lr']},seed={seed}")["scores"]["val/loss"] for seed in (0, 1)]
        assert float(row["val/loss"]) == pytest.approx(statistics.mean(losses))
        assert float(row["val/loss sd"]) == pytest.approx(statistics.stdev(losses))
        assert row["finished"] == "2 of 2"
    assert (tmp_path / "out" / "table.md").read_text() in ended.stdout
    assert [yaml.safe_load((cells / name / "config.yaml").read_text())["seed"] for name in names] == [0, 1, 0, 1]

    before = {file: file.read_bytes() for file in cells.rglob("*") if file.is_file()}
    assert command("grid", grid, "--out", tmp_path / "out").stdout.startswith("4 cells, 4 finished before")
    assert {file: file.read_bytes() for file in cells.rglob("*") if file.is_file()} == before


def test_a_cell_that_fails_does_not_stop_the_others_and_stands_in_the_table_with_its_reason(grid: Path, tmp_path: Path) -> None:
    grid.write_text(GRID.replace("1e-2", "1e+38").replace("[0, 1]", "[0]"))
    result = run_grid(grid, out=tmp_path / "out")
    assert [*result.failures] == ["lr=1e+38,seed=0"]
    (failure,) = result.failures.values()
    assert "is not finite" in failure.reason
    table = result.table[1].read_text()
    assert f": {failure.reason}" in table
    assert "0 of 1" in table
    assert "1 of 1" in table


def test_a_grid_with_failed_cells_ends_with_the_code_of_the_first_after_its_table(grid: Path, tmp_path: Path, command: Command) -> None:
    grid.write_text(GRID.replace("1e-2", "1e+38").replace("[0, 1]", "[0]"))
    ended = command("grid", grid, "--out", tmp_path / "out")
    assert ended.returncode == 6  # README: a loss or weight was not finite
    assert ended.stderr == "error: 1 of 2 cells failed, see the table; the same command tries them again\n"
    assert (tmp_path / "out" / "table.md").read_text() in ended.stdout


def test_missing_data_end_a_grid_at_the_cell_that_needs_them(
    grid: Path, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "nowhere"))
    grid.write_text(ON_REAL)
    ended = command("grid", grid, "--out", tmp_path / "out")
    assert ended.returncode == 3  # README: data
    assert ended.stderr.startswith("error: cell data=mnist,seed=0: no MNIST below ")
    assert [cell.name for cell in (tmp_path / "out" / "cells").iterdir()] == ["data=mnist,seed=0"]


@pytest.fixture
def each_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lines of shell that cells in processes of their own do instead of a run."""
    stub = tmp_path / "python"

    def do(lines: str) -> None:
        stub.write_text(f"#!/bin/sh\n{lines}\n")
        stub.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(stub))

    return do


@pytest.mark.parametrize(("code", "kind"), [(3, DataError), (7, ResourceError)])  # README: data; disk, memory, network or device
def test_what_is_no_cells_fault_ends_a_grid_in_processes_of_their_own_too(
    grid: Path, tmp_path: Path, each_process: Callable[[str], None], code: int, kind: type[Exception]
) -> None:
    others = "exec sleep 20"  # they are stopped long before
    each_process(
        f"echo started >> {tmp_path}/started\n"
        f"case \"$*\" in *lr=0.001,seed=0*) echo a warning >&2; echo 'error: nothing there' >&2; exit {code};; esac\n{others}"
    )
    with pytest.raises(kind, match=r"^cell lr=0.001,seed=0: nothing there$"):
        run_grid(grid, out=tmp_path / "out", jobs=2)
    assert len((tmp_path / "started").read_text().splitlines()) <= 3  # of 4: one beside the first, and one in its place


@pytest.mark.parametrize(
    ("end", "code", "reason"),
    [("echo 'error: batch 3' >&2; exit 6", 6, "batch 3"), ("kill -9 $$", 137, "the process ended with code -9")],
    ids=["an error", "a signal"],
)
def test_a_cell_that_fails_in_its_own_process_keeps_its_code(
    grid: Path, tmp_path: Path, each_process: Callable[[str], None], end: str, code: int, reason: str
) -> None:
    each_process(end)
    result = run_grid(grid, out=tmp_path / "out", jobs=2)
    assert [*result.failures] == ["lr=0.001,seed=0", "lr=0.001,seed=1", "lr=0.01,seed=0", "lr=0.01,seed=1"]
    assert {(failure.reason, failure.exit_code) for failure in result.failures.values()} == {(reason, code)}
    assert result.exit_code == code


def test_with_synthetic_all_cells_use_the_stand_in_and_the_table_says_so(
    grid: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "nowhere"))
    (tmp_path / "real.yaml").write_text(yaml.safe_dump(tiny | {"data": "mnist", "synthetic": {"data": tiny["data"]}}))
    grid.write_text(ON_REAL.replace("tiny", "real"))
    table = run_grid(grid, out=tmp_path / "out", synthetic=True).table[1].read_text()
    assert "- with --synthetic all rows are of synthetic_shapes; the grid's settings of data are left out\n" in table
    assert "- Data: synthetic_shapes (synthetic)\n" in table
    for name in ("mnist", "fashion"):
        results = results_of(tmp_path / "out" / "cells" / f"data={name},seed=0")
        assert (results["data"]["name"], results["synthetic"]) == ("synthetic_shapes", True)


def test_what_cells_say_against_their_own_scores_stands_in_the_table_once(grid: Path, tmp_path: Path) -> None:
    run_grid(grid, out=tmp_path / "out")
    for file in (tmp_path / "out" / "cells").glob("*/results.json"):
        file.write_text(json.dumps(json.loads(file.read_text()) | {"caveats": ["the threshold was chosen on test data"]}))
    table = run_grid(grid, out=tmp_path / "out").table[1].read_text()
    assert table.count("threshold") == table.count("- the threshold was chosen on test data\n") == 1


def test_a_cell_whose_own_settings_leave_too_few_data_does_not_stop_the_others(grid: Path, tmp_path: Path) -> None:
    grid.write_text(GRID.replace("{fit.phases.0.optimizer.lr: [1e-3, 1e-2]}", "{data.size: [40, 1, 50]}").replace("[0, 1]", "[0]"))
    result = run_grid(grid, out=tmp_path / "out")
    assert (result.finished, [*result.failures], result.exit_code) == (2, ["size=1,seed=0"], 3)
    assert "too few to cut validation from it" in result.table[1].read_text()


def test_a_stopped_grid_goes_on_within_the_cell_it_was_stopped_in(
    grid: Path, tmp_path: Path, stop_after_epoch: Callable[..., None]
) -> None:
    grid.write_text(GRID.replace("epochs: 1", "epochs: 2").replace("[0, 1]", "[0]"))
    stop_after_epoch(1)
    with pytest.raises(StoppedError, match=r"^stopped by SIGTERM; the same command goes on with what is not finished$") as caught:
        run_grid(grid, out=tmp_path / "out")
    assert caught.value.exit_code == 128 + signal.SIGTERM
    stopped = tmp_path / "out" / "cells" / "lr=0.001,seed=0"
    first_row = (stopped / "metrics.jsonl").read_text()
    assert not (stopped / "results.json").exists()
    stop_after_epoch(None)
    assert run_grid(grid, out=tmp_path / "out").failures == {}
    assert (stopped / "metrics.jsonl").read_text().startswith(first_row)
    assert "resumed after epoch 1" in (stopped / "log.txt").read_text()


def test_a_grid_may_grow_in_its_folder_but_no_cell_may_change_or_go(grid: Path, tmp_path: Path) -> None:
    grid.write_text(GRID.replace("[1e-3, 1e-2]", "[1e-2]").replace("[0, 1]", "[0]"))
    run_grid(grid, out=tmp_path / "out")
    grid.write_text(GRID.replace("[1e-3, 1e-2]", "[1e-2]").replace("[0, 1]", "[0]").replace("epochs: 1", "epochs: 5"))
    changed = r"out began with another grid: cell lr=0.01,seed=0 had fit.phases.0.epochs 1, now it is 5; put it back, or name a new folder"
    with pytest.raises(ConfigError, match=changed):
        run_grid(grid, out=tmp_path / "out")
    grid.write_text(GRID.replace("1e-2", "2e-2").replace("[0, 1]", "[0]"))
    with pytest.raises(ConfigError, match=r"cell lr=0.01,seed=0 is no longer in .*grid.yaml; put it back, or name a new folder"):
        run_grid(grid, out=tmp_path / "out")
    grid.write_text(GRID.replace("[1e-3, 1e-2]", "[1e-2]"))
    assert run_grid(grid, out=tmp_path / "out").finished == 2


def test_nothing_runs_where_one_cell_is_wrong(grid: Path, tmp_path: Path, command: Command) -> None:
    grid.write_text(GRID.replace("1e-2", "-1"))
    ended = command("grid", grid, "--out", tmp_path / "out")
    assert ended.returncode == 2
    assert ended.stderr == f"error: {grid}:3:42: fit.phases.0.optimizer.lr: input should be greater than 0, got -1\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_cells_in_processes_of_their_own_give_the_same_scores_and_reasons(grid: Path, tmp_path: Path) -> None:
    grid.write_text(GRID.replace("1e-2", "1e+38").replace("[0, 1]", "[0]"))
    alone, beside = (run_grid(grid, out=tmp_path / f"out{jobs}", jobs=jobs) for jobs in (1, 2))
    assert beside.failures == alone.failures
    first, second = (results_of(tmp_path / out / "cells" / "lr=0.001,seed=0")["scores"] for out in ("out1", "out2"))
    assert first == second
