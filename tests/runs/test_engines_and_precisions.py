"""Engines and precisions are choices of speed: the same config learns as much with each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import toolkit

CONFIG: dict[str, Any] = {
    "task": "classification",
    "data": {"name": "synthetic_shapes", "size": 1600, "image_size": 16, "variation": 0.3},
    "transforms": {"train": [{"name": "HorizontalFlip"}, {"name": "ToFloat"}], "eval": [{"name": "ToFloat"}]},
    "model": {"name": "cnn", "filters": [16, 32], "batch_norm": "after_activation", "dense": [64]},
    "metrics": ["accuracy"],
    "plots": ["confusion_matrix"],
    "runtime": {"device": "cpu", "threads": 1},
    "fit": {"batch_size": 32, "phases": [{"epochs": 4, "optimizer": {"name": "adam", "lr": 3e-3}, "schedule": "one_cycle"}]},
}


@pytest.mark.slow
def test_engines_and_precisions_train_to_the_same_accuracy_within_noise(tmp_path: Path) -> None:
    accuracies = {}
    for engine in ("device", "worker"):
        for precision in ("float32", "bfloat16"):
            chosen = [f"loader.engine={engine}", "loader.workers=0", f"runtime.precision={precision}"]
            accuracies[engine, precision] = toolkit.run(CONFIG, chosen, out=tmp_path / engine / precision).scores["test/accuracy"]
    lowest, highest = min(accuracies.values()), max(accuracies.values())
    assert lowest > 0.7, accuracies  # of ten shapes; an untrained network has a tenth
    assert highest - lowest < 0.06, accuracies  # a deviation of an accuracy over 400 test pictures is 0.02, of two runs' training more
