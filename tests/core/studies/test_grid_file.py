"""Grid files: what they expand to, and how their mistakes are told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from toolkit.errors import ConfigError
from toolkit.extension.registry import Registry
from toolkit.studies.grid_file import read_grid

Study = Callable[[str], Path]
SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "grids").glob("*.yaml"))

WHOLE = """\
config: tiny.yaml
set: {fit.batch_size: 16}
axes:
  model.hidden: [[8], [16, 16]]
  optimizer:
    adam: {fit.phases.0.optimizer: {name: adam, lr: 1e-3}}
    sgd: {fit.phases.0.optimizer: {name: sgd, lr: 1e-2, momentum: 0.9}, fit.phases.0.epochs: 2}
seeds: [0, 7]
scores: [test/accuracy]
"""


def problem(study: Study, registry: Registry, text: str) -> str:
    with pytest.raises(ConfigError, match=r"\A[\s\S]+\Z") as caught:
        read_grid(study(text), synthetic=False, registry=registry)
    return str(caught.value)


def test_a_grid_is_every_combination_with_the_seeds_varying_fastest(study: Study, registry: Registry) -> None:
    grid = read_grid(study(WHOLE), synthetic=False, registry=registry)
    assert [cell.name for cell in grid.cells] == [
        "hidden=8,optimizer=adam,seed=0",
        "hidden=8,optimizer=adam,seed=7",
        "hidden=8,optimizer=sgd,seed=0",
        "hidden=8,optimizer=sgd,seed=7",
        "hidden=16-16,optimizer=adam,seed=0",
        "hidden=16-16,optimizer=adam,seed=7",
        "hidden=16-16,optimizer=sgd,seed=0",
        "hidden=16-16,optimizer=sgd,seed=7",
    ]
    assert (grid.axes, grid.seeds, grid.scores) == (("hidden", "optimizer"), (0, 7), ("test/accuracy",))
    last = grid.cells[-1].config
    assert last.model.options["hidden"] == (16, 16)
    assert (last.fit.batch_size, last.seed, last.fit.phases[0].epochs) == (16, 7, 2)
    assert (last.fit.phases[0].optimizer.name, last.fit.phases[0].optimizer.options["momentum"]) == ("sgd", 0.9)


def test_the_settings_of_a_cell_are_overrides_that_the_run_command_takes(study: Study, registry: Registry) -> None:
    cell = read_grid(study(WHOLE), synthetic=False, registry=registry).cells[0]
    assert [str(setting) for setting in cell.settings] == [
        "fit.batch_size=16",
        "model.hidden=[8]",
        'fit.phases.0.optimizer={"name": "adam", "lr": 0.001}',
        "seed=0",
    ]


def test_without_seeds_and_axes_a_grid_is_one_run_with_seed_0(study: Study, registry: Registry) -> None:
    grid = read_grid(study("config: tiny.yaml\nscores: [test/accuracy]"), synthetic=False, registry=registry)
    assert [cell.name for cell in grid.cells] == ["seed=0"]


def test_folds_repeat_each_combination_with_another_validation_part(study: Study, registry: Registry) -> None:
    grid = read_grid(study("config: tiny.yaml\nfolds: 3\nseeds: [0, 1]\nscores: [val/accuracy]"), synthetic=False, registry=registry)
    assert [cell.name for cell in grid.cells] == [f"fold={fold},seed={seed}" for fold in range(3) for seed in range(2)]
    assert [(cell.config.validation.fold, cell.config.validation.folds) for cell in grid.cells] == [(i // 2, 3) for i in range(6)]


def test_one_fold_is_no_cross_validation(study: Study, registry: Registry, tmp_path: Path) -> None:
    text = "config: tiny.yaml\nfolds: 1\nscores: [val/accuracy]"
    assert problem(study, registry, text) == f"{tmp_path}/study.yaml:2:1: folds: input should be greater than or equal to 2, got 1"


def test_problems_of_all_cells_are_told_once_with_their_place_in_the_grid_file(study: Study, registry: Registry, tmp_path: Path) -> None:
    text = WHOLE.replace("[16, 16]", "[16, x]").replace("momentum: 0.9", "momentum: 9")
    assert problem(study, registry, text).splitlines() == [
        f"2 problems in {tmp_path}/study.yaml",
        f"  {tmp_path}/study.yaml:7:11: fit.phases.0.optimizer.momentum: input should be less than 1, got 9",
        f"  {tmp_path}/study.yaml:4:23: model.hidden.1: input should be a valid integer, got 'x'",
    ]


def test_a_path_that_leads_nowhere_is_told_with_its_place(study: Study, registry: Registry, tmp_path: Path) -> None:
    text = WHOLE.replace("fit.batch_size: 16", "fit.phases.3.epochs: 16")
    told = f"{tmp_path}/study.yaml:2:7: fit.phases.3.epochs=16: fit.phases has 1 item, number 0; there is no 3"
    assert problem(study, registry, text) == told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("config: tiny.yaml", "config: tinny.yaml", "1:1: config: no config file at {folder}/tinny.yaml; did you mean {folder}/tiny.yaml?"),
        ("scores:", "score:", "study needs 'scores'"),
        ("scores:", "score:", "9:1: unknown key 'score'; did you mean 'scores'?"),
        ("[0, 7]", "[0, -1]", "8:1: seeds.1: input should be greater than or equal to 0, got -1"),
        ("[0, 7]", "[7, 7]", "8:1: seeds: a seed stands there twice: 7, 7"),
        ("[[8], [16, 16]]", "[]", "4:3: axes.model.hidden: an axis needs at least one value"),
        ("[[8], [16, 16]]", "[[8], [8]]", "4:3: axes.model.hidden: value [8] stands there twice; leave one out"),
        ("[[8], [16, 16]]", "8", "4:3: axes.model.hidden: an axis is a list of plain values, or a mapping of labels to overrides"),
        ("[[8], [16, 16]]", "[{a: 1}]", "4:3: axes.model.hidden: an axis is a list of plain values, or a mapping of labels to overrides"),
        ("model.hidden: [[8], [16, 16]]", "model.x: [1 2, 1-2]", "4:3: axes.model.x: 1 2 and 1-2 would share a folder; give them labels"),
        (
            "model.hidden: [[8], [16, 16]]",
            "seed: [1, 2]",
            "4:10: seed: seeds are no setting, the table shows their spread",
        ),
        ("set: {fit.batch_size: 16}", "set: [1]", "2:1: set: input should be a mapping, got [1]"),
    ],
)
def test_a_mistake_in_a_grid_file_is_told_with_its_place(
    study: Study, registry: Registry, tmp_path: Path, old: str, new: str, told: str
) -> None:
    assert told.format(folder=tmp_path) in problem(study, registry, WHOLE.replace(old, new))


def test_a_grid_file_that_is_a_list_is_refused(study: Study, registry: Registry) -> None:
    told = r"study\.yaml:1:1: a study is a mapping with config, set, axes, folds, seeds, scores, got \[1\]$"
    with pytest.raises(ConfigError, match=told):
        read_grid(study("[1]"), synthetic=False, registry=registry)


def test_axes_whose_paths_end_alike_are_called_by_their_whole_path(study: Study, registry: Registry) -> None:
    text = "config: tiny.yaml\naxes: {fit.phases.0.optimizer.lr: [1e-2], data.size: [80], a.size: {x: {test: false}}}\nscores: [val/loss]"
    grid = read_grid(study(text), synthetic=False, registry=registry)
    assert grid.axes == ("lr", "data.size", "a.size")


REAL = """\
task: classification
data: {name: mnist, validation: {share: 0.2}}
model: {name: mlp, hidden: [8]}
fit: {phases: [{epochs: 1, optimizer: adam}]}
synthetic: {data: {name: synthetic_shapes, size: 80}}
"""
ON_REAL = """\
config: real.yaml
set: {data.limit: 100}
axes:
  data:
    mnist: {}
    fashion: {data: {name: fashion_mnist, validation: {share: 0.3}}, model.hidden: [16]}
scores: [test/accuracy]
"""


def test_on_a_stand_in_a_cell_leaves_out_what_it_sets_of_data_except_how_validation_is_cut(
    study: Study, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "real.yaml").write_text(REAL)
    grid = read_grid(study(ON_REAL), synthetic=True, registry=registry)
    assert grid.stand_in == "synthetic_shapes"
    assert [[str(setting) for setting in cell.settings] for cell in grid.cells] == [
        ["seed=0"],
        ['data.validation={"share": 0.3}', "model.hidden=[16]", "seed=0"],
    ]
    for cell, share in zip(grid.cells, (0.2, 0.3), strict=True):
        assert (cell.config.data.name, cell.config.data.options["size"], cell.config.validation.share) == ("synthetic_shapes", 80, share)


def test_without_a_stand_in_a_cell_keeps_what_it_sets_of_data(study: Study, registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "real.yaml").write_text(REAL)
    grid = read_grid(study(ON_REAL), synthetic=False, registry=registry)
    assert grid.stand_in is None
    assert [cell.config.data.name for cell in grid.cells] == ["mnist", "fashion_mnist"]


def test_options_of_built_in_data_stay_an_axis_with_synthetic(study: Study, registry: Registry) -> None:
    text = "config: tiny.yaml\naxes: {data.size: [80, 90]}\nscores: [val/loss]"
    grid = read_grid(study(text), synthetic=True, registry=registry)
    assert (grid.stand_in, [cell.config.data.options["size"] for cell in grid.cells]) == (None, [80, 90])


@pytest.mark.parametrize("synthetic", [False, True])
@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda file: file.name)
def test_every_shipped_grid_is_right_with_and_without_synthetic_data(shipped: Path, synthetic: bool, registry: Registry) -> None:
    cells = read_grid(shipped, synthetic=synthetic, registry=registry).cells
    assert cells
    assert not synthetic or all(cell.config.data.name.startswith("synthetic_") for cell in cells)
