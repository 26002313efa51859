"""The classification plugin keeps the contract that every plugin inherits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor
from torch.nn import functional as F

from toolkit.testing import PluginContract

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.slow
class TestClassification(PluginContract):
    config = str(CONFIGS / "classification_cifar10_alexnet.yaml")
    overrides = (
        "model={name: cnn, filters: [8, 16], pool: [2, 2]}",
        "data.size=80",
        "data.image_size=16",
        "transforms={train: [{name: HorizontalFlip}, {name: Normalize}], eval: [Normalize]}",
        "fit.phases.0.epochs=1",
        "loss.label_smoothing=0",  # the loss that smoothing leaves is no fault of the learning
        "fit.batch_size=32",
        "runtime.threads=1",
    )
    perfect_scores: ClassVar[Mapping[str, float]] = {"accuracy": 1.0, "accuracy_top5": 1.0, "f1_macro": 1.0}
    random_transforms = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "Affine", "rotate": [-30, 30], "scale": [0.8, 1.2]},
        {"name": "Normalize"},
    )

    def perfect_output(self, encoded: Tensor) -> Any:
        """Logits that leave no doubt: 100 for the true class."""
        return 100.0 * F.one_hot(encoded, 10).float()
