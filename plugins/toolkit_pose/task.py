"""`PoseTask`: where are a person's keypoints?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from toolkit.config.run_config import RunConfig
from toolkit.errors import ConfigError, PluginError
from toolkit.task import Task
from toolkit_pose.checks import config_problems
from toolkit_pose.overlay import draw_pose
from toolkit_pose.types import EncodedKeypoints, Keypoints, PoseInfo, PoseOutput, PosePrediction


class PoseTask(Task[Keypoints, EncodedKeypoints, PoseOutput, PosePrediction]):
    """Find the keypoints of one person. A model gives a `PoseOutput`."""

    name: ClassVar[str] = "pose"
    output_meaning: ClassVar[str] = (
        "stages and boxes: coordinates as shares of the picture, counted from its middle, x to the right, y down; counted: which keypoints "
        "were worked on; spread: deviations of errors, as shares of the box; log_shares: logarithm of each keypoint's heat map"
    )
    info_type: ClassVar[type[PoseInfo]] = PoseInfo
    default_loss: ClassVar[str] = "keypoint_l2"
    default_metrics: ClassVar[tuple[str, ...]] = ("pcp", "pdj", "mean_error")
    default_plots: ClassVar[tuple[str, ...]] = ("skeletons", "worst_cases", "pdj_curves", "pcp_bars", "keypoint_boxes")
    default_select: ClassVar[str] = "val/pcp"
    info: PoseInfo

    @classmethod
    def config_problems(cls, config: RunConfig) -> Iterable[tuple[str, str]]:
        """Phases that do not train a cascade stage by stage, and a loss without what it needs."""
        return config_problems(config)

    def __init__(self, info: PoseInfo, /) -> None:
        super().__init__(info)
        self._mirror = info.mirror()
        self._answer: int | None = None
        """The stage that answers, counted from 1; None: the last."""

    def encode(self, targets: Keypoints, size: tuple[int, int]) -> EncodedKeypoints:
        """Pixels -> shares of the picture from its middle; what a transform moved out of the picture is not learnt.

        Raises: ConfigError if pictures are of another size than those of evaluation, for whose pixels `decode` takes all.
        """
        height, width = size
        if 0 not in self.info.input_shape and size != self.info.input_shape[1:]:
            raise ConfigError(
                f"make pictures of {width} x {height} pixels; the first of transforms.eval is {self.info.input_shape[2]} x "
                f"{self.info.input_shape[1]}; let transforms.train and transforms.eval end in one size",
                path="transforms",
            )
        points = torch.stack([(targets.points_px[..., 0] + 0.5) / width, (targets.points_px[..., 1] + 0.5) / height], dim=-1) - 0.5
        points = torch.where(targets.labelled[..., None], points, 0)  # a warp may send what is not labelled anywhere
        inside = (points.abs() <= 0.5).all(dim=-1)
        return EncodedKeypoints(points, targets.labelled & inside, targets.labelled)

    def decode(self, output: PoseOutput, to_original: Tensor) -> PosePrediction:
        """Shares of the picture -> pixels of the file; in a picture that was mirrored left and right get their names back.

        Raises: PluginError if the model gives another number of keypoints.
        """
        expected = len(self.info.keypoints)
        if not isinstance(output, PoseOutput) or output.stages.ndim != 4 or output.stages.shape[2:] != (expected, 2):
            shape = list(output.stages.shape) if isinstance(output, PoseOutput) else type(output).__name__
            raise PluginError(f"the model's output is {shape}; expected a PoseOutput with stages [samples, stages, {expected}, 2]")
        low, high = output.boxes[..., :2] - output.boxes[..., 2:] / 2, output.boxes[..., :2] + output.boxes[..., 2:] / 2
        right_top, left_bottom = torch.stack([high[..., 0], low[..., 1]], -1), torch.stack([low[..., 0], high[..., 1]], -1)
        corners = torch.stack([low, right_top, high, left_bottom], dim=-2)  # [B, S, K, 4, 2]
        stages, corners = self._in_file(output.stages, to_original), self._in_file(corners, to_original)
        mirrored = _mirrored(to_original, self.info.input_shape)
        mirror = self._mirror.to(stages.device, non_blocking=True)
        stages = torch.where(mirrored.view(-1, 1, 1, 1), stages[:, :, mirror], stages)
        corners = torch.where(mirrored.view(-1, 1, 1, 1, 1), corners[:, :, mirror], corners)
        counted = torch.where(mirrored[:, None], output.counted[:, mirror], output.counted)
        answer = min(self._answer or stages.shape[1], stages.shape[1]) - 1
        return PosePrediction(stages, corners, counted, torch.full((len(stages),), answer, device=stages.device))

    def readings(self, prediction: PosePrediction) -> Mapping[str, PosePrediction]:
        """'' is the stage that answers, the last one before it is chosen; of a cascade also `stage1`, `stage2`, ..."""
        stages = range(1, prediction.num_stages + 1) if prediction.num_stages > 1 else ()
        return {"": prediction, **{f"stage{stage}": prediction.up_to(stage) for stage in stages}}

    def answer_with(self, reading: str) -> None:
        """Answer with `stage1`, `stage2`, ..."""
        self._answer = int(reading.removeprefix("stage"))

    def describe(self, prediction: PosePrediction, size: tuple[int, int]) -> Mapping[str, Any]:
        """{"keypoints": {name: [x, y] in pixels of the file}}."""
        points = prediction.points_px.cpu().tolist()
        return {"keypoints": {name: [round(x, 2), round(y, 2)] for name, (x, y) in zip(self.info.keypoints, points, strict=True)}}

    def draw(self, image: Tensor, prediction: PosePrediction, truth: Keypoints | None) -> Tensor:
        """The picture, enlarged if small, with the skeleton on it: warm colours are the person's right; the truth is a thin white one."""
        return draw_pose(image, self.info, prediction.points_px, truth)

    def _in_file(self, points: Tensor, to_original: Tensor) -> Tensor:
        """[B, ..., 2] shares of the picture -> pixels of the file."""
        _, height, width = self.info.input_shape
        pixels = torch.stack([(points[..., 0] + 0.5) * width - 0.5, (points[..., 1] + 0.5) * height - 0.5], dim=-1).float()
        matrix = to_original.view(-1, *(1,) * (points.ndim - 2), 3, 3)
        mapped = (matrix[..., :2] @ pixels[..., None])[..., 0] + matrix[..., 2]  # [B, ..., 3]
        return mapped[..., :2] / mapped[..., 2:]


def _mirrored(to_original: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """[B] bool: whether the map turns the orientation over at the middle of the picture."""
    m = to_original
    depth = m[:, 2, 0] * (shape[2] / 2) + m[:, 2, 1] * (shape[1] / 2) + m[:, 2, 2]
    determinant: Tensor = (
        m[:, 0, 0] * (m[:, 1, 1] * m[:, 2, 2] - m[:, 1, 2] * m[:, 2, 1])
        - m[:, 0, 1] * (m[:, 1, 0] * m[:, 2, 2] - m[:, 1, 2] * m[:, 2, 0])
        + m[:, 0, 2] * (m[:, 1, 0] * m[:, 2, 1] - m[:, 1, 1] * m[:, 2, 0])
    )
    return determinant * depth < 0
