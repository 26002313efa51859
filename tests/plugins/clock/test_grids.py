"""K2 as a grid: one network, one budget, four optimizers."""

from __future__ import annotations

from pathlib import Path

from toolkit.extension.discovery import load_plugins
from toolkit.studies.grid_file import read_grid

FILE = Path(__file__).parents[3] / "configs" / "grids" / "clock_optimizers.yaml"


def test_the_cells_differ_in_nothing_but_the_optimizer() -> None:
    grid = read_grid(FILE, synthetic=False, registry=load_plugins().registry)
    phases = [cell.config.fit.phases[0] for cell in grid.cells]
    assert [phase.optimizer.name for phase in phases] == ["sgd", "adam", "adadelta", "adadelta"]
    assert {cell.seed for cell in grid.cells} == {0}
    assert {phase.epochs for phase in phases} == {4}
    assert {cell.config.model.options["backbone"].name for cell in grid.cells} == {"clock_trunk"}


def test_the_header_states_the_command_and_the_budget() -> None:
    text = FILE.read_text(encoding="utf-8")
    assert "# Run:     toolkit grid configs/grids/clock_optimizers.yaml\n" in text
    assert "\n# Budget:  " in text
