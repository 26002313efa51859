"""The clock plugin keeps the contract that every plugin inherits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from torch import Tensor
from torch.nn import functional as F

from toolkit.testing import PluginContract
from toolkit_clock.types import HandLogits

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.slow
class TestClock(PluginContract):
    config = str(CONFIGS / "clock_two_head.yaml")
    overrides = (
        "model={name: composed, backbone: {name: clock_conv_net, filters: [8, 16, 16]}, head: two_head}",
        "data.size=72",
        "data.image_size=40",
        "data.validation.share=0.2",
        "loss.spread_min=0",
        "fit.phases.0.epochs=1",
        "fit.batch_size=24",
        "runtime.threads=1",
    )
    overfit_rate = 3e-3
    perfect_scores: ClassVar[Mapping[str, float]] = {
        "common_sense_error_min": 0.0,
        "common_sense_error_p95_min": 0.0,
        "errors_30_min_count": 0.0,
        "exact": 1.0,
        "hour_accuracy": 1.0,
        "minute_accuracy": 1.0,
        "independent/exact": 1.0,
        "independent/common_sense_error_min": 0.0,
    }
    random_transforms = ({"name": "Affine", "rotate": [-30, 30], "scale": [0.8, 1.2]}, {"name": "StretchDarkStrokes"})

    def perfect_output(self, encoded: Tensor) -> Any:
        """Logits that leave no doubt: 100 for the true hour and minute."""
        return HandLogits(100.0 * F.one_hot(encoded // 60, 12).float(), 100.0 * F.one_hot(encoded % 60, 60).float())
