"""The shipped studies: every cell is a config that checks, and the axes are those of the reports."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from toolkit.extension.discovery import load_plugins
from toolkit.studies.grid_file import Grid, read_grid

GRIDS = Path(__file__).parents[3] / "configs" / "grids"
STUDIES = {  # combinations that course report S3 (or, for the last, the task) asks for: data sets x networks x settings
    "base": 2 * 2,
    "initialisers": 2 * 2 * 4,
    "optimizers": 2 * 2 * 5,
    "activations": 2 * 2 * 4,
    "regularisation": 2 * 4 * 5,
    "model_sizes": 2 * 6,
    "learning_rates": 2 * 2 * 6,
    "permuted": 4 * 2,
    "padded": 2 * 2,
}


@cache
def read(name: str) -> Grid:
    return read_grid(GRIDS / f"classification_{name}.yaml", synthetic=False, registry=load_plugins().registry)


def test_every_shipped_study_is_tested_here() -> None:
    assert {file.stem for file in GRIDS.glob("classification_*.yaml")} == {f"classification_{name}" for name in STUDIES}


@pytest.mark.parametrize("name", STUDIES)
def test_every_cell_of_a_study_is_a_config_that_checks(name: str) -> None:
    grid = read(name)
    assert len(grid.cells) == STUDIES[name] * (grid.folds or 1) * len(grid.seeds)
    assert "val/accuracy" in grid.scores


@pytest.mark.parametrize("name", STUDIES)
def test_cells_differ_in_nothing_but_their_axes(name: str) -> None:
    for cell in read(name).cells:
        fashion = cell.values.get("data") == "fashion" or cell.values.get("network", "").startswith("fashion")
        assert cell.config.data.name == ("fashion_mnist" if fashion else "mnist"), cell.name
        reduced = cell.config.model.name == "cnn" and name != "base"
        limit = 2000 if name == "model_sizes" else 20_000 if reduced or name == "padded" else None
        assert cell.config.data.options["limit"] == limit, cell.name  # naming another data set would drop a limit set before


@pytest.mark.parametrize("name", STUDIES)
def test_the_header_states_the_command_and_the_budget(name: str) -> None:
    text = (GRIDS / f"classification_{name}.yaml").read_text(encoding="utf-8")
    assert f"# Run:     toolkit grid configs/grids/classification_{name}.yaml\n" in text
    assert "\n# Budget:  " in text
