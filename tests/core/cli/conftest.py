"""The command line in this process, and one tiny finished run for the commands that need a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import toolkit

TINY: dict[str, Any] = {
    "task": "classification",
    "data": {"name": "synthetic_shapes", "size": 80, "image_size": 16},
    "model": {"name": "mlp", "hidden": [8]},
    "metrics": ["accuracy"],
    "plots": ["confusion_matrix"],
    "runtime": {"device": "cpu", "threads": 1},
    "fit": {"batch_size": 8, "phases": [{"epochs": 1, "optimizer": "adam"}]},
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config file that trains in a moment."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(TINY))
    return file


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder that no test may change."""
    return toolkit.run(TINY, out=tmp_path_factory.mktemp("cli") / "tiny").folder
