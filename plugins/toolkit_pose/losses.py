"""Losses over labelled keypoints: errors are measured in units of the box that the network looked at, as DeepPose does."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge, Gt
from torch import Tensor

from toolkit.errors import ConfigError
from toolkit_pose.heat_maps import cells
from toolkit_pose.types import EncodedKeypoints, PoseInfo, PoseOutput


class KeypointL2:
    """Squared distance, averaged over a sample's labelled keypoints (Toshev & Szegedy, CVPR 2014, equation 4, there a sum)."""

    def __init__(self, info: PoseInfo, /) -> None:
        pass

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """[B]; 0 for a sample without labelled keypoints."""
        return {"keypoint_l2": _mean_labelled(_errors(output, encoded).square().sum(dim=-1), output, encoded)}


class KeypointL1:
    """|x error| + |y error|, averaged over a sample's labelled keypoints."""

    def __init__(self, info: PoseInfo, /) -> None:
        pass

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """[B]; 0 for a sample without labelled keypoints."""
        return {"keypoint_l1": _mean_labelled(_errors(output, encoded).abs().sum(dim=-1), output, encoded)}


class SmoothL1:
    """L2 for small and L1 for large errors in x and in y, as `torch.nn.SmoothL1Loss`, averaged over a sample's labelled keypoints.

    Args:
        beta: where one becomes the other, as a share of the box.
    """

    def __init__(self, info: PoseInfo, /, *, beta: Annotated[float, Gt(0)] = 0.02) -> None:
        self.beta = beta

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """[B]; 0 for a sample without labelled keypoints."""
        size = _errors(output, encoded).abs()
        loss = torch.where(size < self.beta, 0.5 * size.square() / self.beta, size - 0.5 * self.beta)
        return {"smooth_l1": _mean_labelled(loss.sum(dim=-1), output, encoded)}


class Wing:
    """Logarithmic for small errors in x and in y, which therefore matter more, L1 for large ones; averaged over labelled keypoints.

    w ln(1 + e / epsilon) for e < w, else e - C with C such that both meet.
    Source: Feng et al., "Wing Loss for Robust Facial Landmark Localisation", CVPR 2018, equation 5.

    Args:
        width: w, as a share of the box.
        epsilon: curvature of the logarithmic part, as a share of the box.
    """

    def __init__(self, info: PoseInfo, /, *, width: Annotated[float, Gt(0)] = 0.04, epsilon: Annotated[float, Gt(0)] = 0.008) -> None:
        self.width = width
        self.epsilon = epsilon

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """[B]; 0 for a sample without labelled keypoints."""
        size = _errors(output, encoded).abs()
        offset = self.width - self.width * math.log1p(self.width / self.epsilon)
        loss = torch.where(size < self.width, self.width * torch.log1p(size / self.epsilon), size - offset)
        return {"wing": _mean_labelled(loss.sum(dim=-1), output, encoded)}


class HeatmapCrossEntropy:
    """Cross-entropy of each heat map with a normal distribution around the truth, and |x error| + |y error| of its reading.

    The first makes maps narrow and teaches every cell, which the second, alone integral regression, does only through their mean.
    For networks that see the whole picture: `pose_net` with the head `heatmap`. After Nibali et al., "Numerical Coordinate
    Regression with Convolutional Neural Networks", 2018 (arXiv:1801.07372), with cross-entropy as the regulariser.

    Args:
        deviation: of the normal distribution, as a share of the picture.
        l1_weight: of the second term, whose unit is the picture; the first is in nats.
    """

    def __init__(self, info: PoseInfo, /, *, deviation: Annotated[float, Gt(0)] = 0.035, l1_weight: Annotated[float, Ge(0)] = 5.0) -> None:
        self.deviation = deviation
        self.l1_weight = l1_weight

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """Two terms of [B]; 0 for a sample without labelled keypoints. Raises: ConfigError if the network gives no maps."""
        if output.log_shares is None:
            raise ConfigError("loss heatmap needs heat maps of the whole picture; use model pose_net with the head heatmap", path="loss")
        along_y = self._normal(encoded.points[..., 1], output.log_shares.shape[2])  # [B, K, h]
        along_x = self._normal(encoded.points[..., 0], output.log_shares.shape[3])  # [B, K, w]
        entropy = -torch.einsum("bkh,bkw,bkhw->bk", along_y, along_x, output.log_shares)
        distance = _errors(output, encoded).abs().sum(dim=-1)
        return {"heatmap": _mean_labelled(entropy, output, encoded), "l1": _mean_labelled(self.l1_weight * distance, output, encoded)}

    def _normal(self, truth: Tensor, count: int) -> Tensor:
        """[B, K, count] share of each cell along one axis."""
        off = (cells(count, truth.device) - truth[..., None]) / self.deviation
        return (-0.5 * off.square()).softmax(dim=-1)


class Rle:
    """Residual log-likelihood: minus the logarithm of the probability density of the truth, in nats, averaged over labelled keypoints.

    The density of an error divided by the deviation that the network gives is a Laplace density times what a flow learns
    on top of it. Needs a head or model with `likelihood: true`.
    Source: Li et al., ICCV 2021 (arXiv:2107.11291), equation 8; the constant s that would make the product integrate to 1 is left out.
    """

    def __init__(self, info: PoseInfo, /) -> None:
        pass

    def __call__(self, output: PoseOutput, encoded: EncodedKeypoints) -> dict[str, Tensor]:
        """[B]; 0 for a sample without labelled keypoints. Raises: ConfigError if the network gives no deviations."""
        if output.spread is None or output.flow is None:
            raise ConfigError("loss rle needs a network that gives deviations; set likelihood: true in the model or its head", path="loss")
        spread = output.spread.float()
        errors = torch.where(_counted(output, encoded)[..., None], _errors(output, encoded), 0) / spread  # [B, K, 2]
        laplace = (errors.abs() + math.log(2)).sum(dim=-1)
        loss = torch.log(spread).sum(dim=-1) + laplace - output.flow.log_density(errors)
        return {"rle": _mean_labelled(loss, output, encoded)}


def _errors(output: PoseOutput, encoded: EncodedKeypoints) -> Tensor:
    """[B, K, 2] error of the last stage in units of its boxes."""
    return (output.stages[:, -1].float() - encoded.points) / output.boxes[:, -1, :, 2:]


def _counted(output: PoseOutput, encoded: EncodedKeypoints) -> Tensor:
    return encoded.labelled & output.counted


def _mean_labelled(values: Tensor, output: PoseOutput, encoded: EncodedKeypoints) -> Tensor:
    """[B] mean of `values` [B, K] over the labelled keypoints that the network worked on."""
    counted = _counted(output, encoded)
    return torch.where(counted, values, 0).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
