"""A backbone small enough for tests, and what it is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from toolkit.models.model import Backbone
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.types import EncodedKeypoints, PoseOutput

INFO = pose_info(LSP_KEYPOINTS, (3, 32, 32))
SHOULDER, HIP = LSP_KEYPOINTS.index("left_shoulder"), LSP_KEYPOINTS.index("right_hip")


class Tiny(Backbone):
    """Eight channels at a quarter of the size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 4, stride=4)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.conv(images)
        return features


def people(count: int = 4, seed: int = 0) -> tuple[Tensor, EncodedKeypoints]:
    """Pictures of noise and keypoints, the torso a quarter of the picture long."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 14, 2, generator=generator) * 0.6 - 0.3
    points[:, HIP] = points[:, SHOULDER] + torch.tensor([0.15, 0.2])
    images = torch.rand(count, 3, 32, 32, generator=generator)
    everything = torch.ones(count, 14, dtype=torch.bool)
    return images, EncodedKeypoints(points, everything, everything.clone())


def mirrored(output: PoseOutput) -> Tensor:
    return output.stages[:, :, INFO.mirror()] * torch.tensor([-1.0, 1.0])
