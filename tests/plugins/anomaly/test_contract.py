"""The anomaly plugin keeps the contract that every plugin inherits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from toolkit.testing import PluginContract
from toolkit_anomaly.task import EncodedKind
from toolkit_anomaly.types import Reconstruction

CONFIGS = Path(__file__).parents[3] / "configs"
SIDE = 32


@pytest.mark.slow
class TestAnomaly(PluginContract):
    config = str(CONFIGS / "anomaly_autoencoder.yaml")
    overrides = (
        "model={bottleneck: 64, channels: [16, 32], strides: [2, 2], batch_norm: false, skips: false, corruption: 0.0}",
        "loss=mse",
        "data={name: synthetic_nuts, size: 60, image_size: 32, validation: {share: 0.2, seed: 0}}",
        "transforms={train: [], eval: []}",
        "task.image_threshold=0.2",
        "fit={batch_size: 16, phases: [{epochs: 1, optimizer: {name: adam, lr: 1e-3}}]}",
        "runtime.threads=1",
    )
    perfect_scores: ClassVar[Mapping[str, float]] = {"false_alarms": 0.0}
    random_transforms = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "Affine", "rotate": [-30, 30], "scale": [0.8, 1.2]},
    )
    device_overrides = ("task.least_region=0",)  # small regions are found by scikit-image
    overfit_rate = 3e-3

    def perfect_output(self, encoded: EncodedKind) -> Reconstruction:
        """A reconstruction that equals its picture."""
        pictures = torch.rand(len(encoded.kind), 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
        return Reconstruction(pictures, pictures.clone())
