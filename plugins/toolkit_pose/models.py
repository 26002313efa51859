"""Stage 1 and plain networks: the paper's AlexNet form, a feature pyramid, regression and heat map heads, and what joins them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Lt
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.backbones import cannot_fetch, load_weights
from toolkit.models.dropout import Dropout
from toolkit.models.model import Backbone, Head, Shape
from toolkit_pose.heat_maps import Reading, moments, peak
from toolkit_pose.residual_flow import ResidualFlow
from toolkit_pose.types import PoseInfo, PoseOutput

Width = Annotated[int, Ge(1)]
Share = Annotated[float, Ge(0), Lt(1)]
Norm = Literal["local_response", "batch", "none"]
_PYRAMID = (32, 16, 8, 4)
"""Strides of the maps that `Pyramid` joins."""


class AlexNetForm(Backbone):
    """DeepPose's five convolutions: 96 of 11x11 with stride 4, 256 of 5x5, 384, 384 and 256 of 3x3.

    A 3x3 max pool with stride 2 follows convolutions 1, 2 and 5. As in Krizhevsky, Sutskever, Hinton, NIPS 2012, in one column.
    220x220 pictures give 55x55, 27x27, 13x13 and at last 6x6.
    Weights start as He's initialisation draws them.

    Local response normalisation with the paper's constants does little more than multiply by 2**-0.75: at the start of training, on
    pictures of LSP, within 0.01 % on average and 0.2 % at most. It more than halves the speed on a CPU: 28 images/s, with batch norm 66
    (220x220, one core, forward and backward).

    Args:
        norm: after convolutions 1 and 2 local response normalisation as in the paper (size 5, k 2, beta 0.75, alpha 1e-4
            divided by that size, as PyTorch does it), batch norm after each convolution, or none.
    """

    def __init__(self, input_shape: Shape, /, *, norm: Norm = "local_response") -> None:
        super().__init__()
        inputs = input_shape[0]
        layers: list[nn.Module] = []
        for number, (filters, kernel, stride) in enumerate(((96, 11, 4), (256, 5, 1), (384, 3, 1), (384, 3, 1), (256, 3, 1)), start=1):
            layers.append(nn.Conv2d(inputs, filters, kernel, stride, padding=4 if number == 1 else kernel // 2, bias=norm != "batch"))
            layers += [nn.BatchNorm2d(filters)] if norm == "batch" else []
            layers.append(nn.ReLU(inplace=True))
            layers += [nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2.0)] if norm == "local_response" and number <= 2 else []
            layers += [nn.MaxPool2d(3, 2)] if number in (1, 2, 5) else []
            inputs = filters
        self.features = nn.Sequential(*layers)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, 256, H', W']."""
        features: Tensor = self.features(images)
        return features


class Pyramid(Backbone):
    """A network of timm whose coarse feature maps are enlarged and joined with its finer ones, down to a quarter of the picture.

    From the coarsest map on: doubled, the next finer map added through a 1x1 convolution, then a 3x3 convolution with batch norm and
    ReLU: the top-down path of Lin et al., "Feature Pyramid Networks for Object Detection", CVPR 2017, smoothed at every level.

    Args:
        network: its name at timm; it must have feature maps at strides 4, 8, 16 and 32, as ResNets do.
        channels: of the joined map.
        pretrained: true fetches timm's weights; a path reads a .safetensors or .pth file of the whole network.

    Raises: ConfigError if timm has no such network, or no such maps of it; ResourceError if weights cannot be fetched.
    """

    def __init__(self, input_shape: Shape, /, *, network: str = "resnet18", channels: Width = 96, pretrained: bool | str = False) -> None:
        super().__init__()
        import timm

        try:
            self.body = timm.create_model(network, pretrained=pretrained is True, features_only=True, in_chans=input_shape[0])
        except OSError as error:
            raise cannot_fetch(f"timm/{network}", error) from error
        except (RuntimeError, AttributeError) as error:  # timm's for an unknown network and for one without maps
            raise ConfigError(f"timm gives no feature maps of '{network}': {error}", path="model.backbone.network") from error
        if isinstance(pretrained, str):
            load_weights(self.body, Path(pretrained), owner=f"timm/{network}", may_differ=("fc", "head", "classifier"))
        strides = self.body.feature_info.reduction()
        self.places = [strides.index(stride) for stride in _PYRAMID if stride in strides]
        widths = [self.body.feature_info.channels()[place] for place in self.places]
        with torch.no_grad():
            shapes = [tuple(features.shape[1:2]) for features in self.body.eval()(torch.zeros(1, *input_shape))]
        self.body.train()
        if len(widths) < len(_PYRAMID) or [shapes[place] for place in self.places] != [(width,) for width in widths]:
            raise ConfigError(
                f"'{network}' has maps at strides {strides}; expected maps [B, C, H, W] at {list(_PYRAMID)} among them",
                path="model.backbone.network",
            )
        self.lateral = nn.ModuleList(nn.Conv2d(width, channels, 1, bias=False) for width in widths)
        self.smooth = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
            for _ in widths[1:]
        )

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, channels, H/4, W/4]."""
        maps = self.body(images)
        coarse: Tensor
        coarse, *finer = [lateral(maps[place]) for lateral, place in zip(self.lateral, self.places, strict=True)]
        for smooth, fine in zip(self.smooth, finer, strict=True):
            coarse = smooth(F.interpolate(coarse, size=fine.shape[2:], mode="nearest") + fine)
        return coarse


class KeypointHead(Head):
    """Direct regression: features, hidden dense layers with dropout, then x and y of every keypoint.

    Args:
        hidden: width of each hidden dense layer (4096, 4096 in the paper).
        dropout: after each of them (0.6 in the paper).
        pool: mean averages the features over height and width first, none keeps all positions.
        likelihood: also give the deviation of the errors, and learn their density: for loss `rle`.
    """

    def __init__(
        self,
        in_shape: Shape,
        info: PoseInfo,
        /,
        *,
        hidden: tuple[Width, ...] = (4096, 4096),
        dropout: Share = 0.6,
        pool: Literal["mean", "none"] = "none",
        likelihood: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width = in_shape
        self.pool = nn.AdaptiveAvgPool2d(1) if pool == "mean" else nn.Identity()
        inputs = channels * (1 if pool == "mean" else height * width)
        layers: list[nn.Module] = []
        for units in hidden:
            layers += [nn.Linear(inputs, units), nn.ReLU(inplace=True), Dropout(dropout)]
            inputs = units
        self.hidden = nn.Sequential(*layers)
        self.points = nn.Linear(inputs, info.num_outputs)
        self.spread = nn.Linear(inputs, info.num_outputs) if likelihood else None
        self.flow = ResidualFlow() if likelihood else None
        for module in self.hidden:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.points.weight, std=0.001)  # all keypoints start in the middle of the picture
        nn.init.zeros_(self.points.bias)

    def forward(self, features: Tensor) -> PoseOutput:
        """[B, C, H, W] -> keypoints [B, 1, K, 2] in shares of the picture."""
        vectors = self.hidden(self.pool(features).flatten(1)).float()
        with torch.autocast(vectors.device.type, enabled=False):  # bfloat16 would round coordinates to a quarter of a pixel of 256
            points = self.points(vectors)
            spread = None if self.spread is None else self.spread(vectors).sigmoid().unflatten(1, (-1, 2))
        return PoseOutput.of_whole_picture(points.unflatten(1, (-1, 2)), spread, self.flow)


class HeatmapHead(Head):
    """One heat map per keypoint, read by its centre of mass (integral regression): differentiable, finer than a cell of the map.

    Transposed convolutions (4x4, stride 2, batch norm, ReLU) enlarge the features as in Xiao, Wu, Wei, "Simple Baselines for
    Human Pose Estimation and Tracking", ECCV 2018; the reading is that of Sun et al., "Integral Human Pose Regression", ECCV 2018.

    Args:
        channels: of each transposed convolution; each doubles height and width. An empty list for features that are fine
            enough, as `pyramid`'s.
        reading: mean is the centre of mass of the whole map; peak, unless the head itself is in training mode, that of what lies
            around the map's strongest spot: where maps have several peaks, the mean lies between them. A backbone that learns
            below a frozen head therefore learns by its peaks.
        likelihood: also give the deviation of the errors, from the spread of each map, and learn their density: for loss `rle`.
    """

    def __init__(
        self,
        in_shape: Shape,
        info: PoseInfo,
        /,
        *,
        channels: tuple[Width, ...] = (256, 256, 256),
        reading: Reading = "mean",
        likelihood: bool = False,
    ) -> None:
        super().__init__()
        self.reading = reading
        inputs = in_shape[0]
        layers: list[nn.Module] = []
        for width in channels:
            layers += [nn.ConvTranspose2d(inputs, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
            inputs = width
        self.enlarge = nn.Sequential(*layers)
        self.maps = nn.Conv2d(inputs, len(info.keypoints), 1)
        self.flow = ResidualFlow() if likelihood else None
        nn.init.normal_(self.maps.weight, std=0.02)  # nearly flat maps; much smaller, and the layers below get no gradient at first
        nn.init.zeros_(self.maps.get_parameter("bias"))

    def forward(self, features: Tensor) -> PoseOutput:
        """[B, C, H, W] -> keypoints [B, 1, K, 2] in shares of the picture."""
        logits: Tensor = self.maps(self.enlarge(features))  # [B, K, h, w]
        return self.read(logits.float().flatten(2).log_softmax(dim=2).view(*logits.shape))

    def read(self, log_shares: Tensor) -> PoseOutput:
        """What heat maps say: `log_shares` [B, K, h, w], as in `PoseOutput`."""
        shares = log_shares.exp()
        mean, variance = moments(shares)
        points = peak(shares) if self.reading == "peak" and not self.training else mean
        spread = None if self.flow is None else (variance.clamp(min=0) + 1e-6).sqrt()
        return replace(PoseOutput.of_whole_picture(points, spread, self.flow), log_shares=log_shares)


class PoseNet(nn.Module):
    """A backbone with a head on it, looking once at the whole picture.

    Args:
        backbone: from pictures to features.
        head: from features to keypoints: `keypoints` or `heatmap`.
        flip_average: evaluate the picture and its mirror image and average the two, heat maps before they are read; twice the work.
    """

    def __init__(self, info: PoseInfo, /, *, backbone: Backbone, head: Head, flip_average: bool = False) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.flip_average = flip_average
        self.register_buffer("mirror", info.mirror(), persistent=False)
        self.mirror: Tensor

    def forward(self, images: Tensor) -> PoseOutput:
        """[B, C, H, W] -> one stage."""
        output: PoseOutput = self.head(self.backbone(images))
        if not self.flip_average or any(module.training for module in self.modules()):
            return output
        other: PoseOutput = self.head(self.backbone(images.flip(-1)))
        log_shares = output.log_shares
        if log_shares is not None and other.log_shares is not None:
            log_shares = torch.logaddexp(log_shares, other.log_shares.flip(-1)[:, self.mirror]) - math.log(2)
            if isinstance(self.head, HeatmapHead):
                return self.head.read(log_shares)
        return replace(output, stages=averaged(output.stages, other.stages, self.mirror), log_shares=log_shares)


def averaged(stages: Tensor, of_mirrored: Tensor, mirror: Tensor) -> Tensor:
    """[..., K, 2] the mean of what was found in a picture and in its mirror image.

    mirror: [K] what each keypoint becomes in a mirror.
    """
    x, y = of_mirrored[..., mirror, :].unbind(dim=-1)
    return (stages + torch.stack([-x, y], dim=-1)) / 2
