"""The pose plugin keeps the contract that every plugin inherits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from toolkit.testing import PluginContract
from toolkit_pose.types import EncodedKeypoints, PoseOutput

CONFIGS = Path(__file__).parents[3] / "configs"
SMALL = "{name: deeppose, backbone: torchvision/squeezenet1_1, stages: 2, input_size: 64, hidden: [64], dropout: 0.0, crops: 2}"


@pytest.mark.slow
class TestPose(PluginContract):
    config = str(CONFIGS / "pose_deeppose.yaml")
    overrides = (
        f"model={SMALL}",
        "loss=keypoint_l2",
        "data.size=40",
        "data.validation.share=0.2",
        "fit.phases.0.epochs=1",
        "fit.phases.1.epochs=1",
        "fit.batch_size=16",
        "runtime.threads=1",
    )
    perfect_scores: ClassVar[Mapping[str, float]] = {"pcp": 1.0, "pcp_relaxed": 1.0, "pdj@0.1": 1.0, "mean_error_px": 0.0}
    overfit_steps = 80
    random_transforms = (
        {"name": "HorizontalFlip", "p": 0.5},
        {"name": "Affine", "rotate": [-40, 40], "scale": [0.8, 1.2], "translate_percent": [-0.1, 0.1]},
        {"name": "Normalize"},
    )

    def perfect_output(self, encoded: EncodedKeypoints) -> PoseOutput:
        """One stage that found the truth."""
        return PoseOutput.of_whole_picture(encoded.points)
