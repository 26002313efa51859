"""What a patch looks like to a frozen network: the features that PaDiM and PatchCore remember."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.model import Backbone


class PatchFeatures(nn.Module):
    """[B, C, H, W] pictures -> maps of features, one of each layer, of a backbone that never learns; `joined` puts them together.

    Args:
        backbone: its weights are frozen and its statistics never change.
        layers: names of modules within it (as `named_modules` gives them, such as "body.layer2"); none: the backbone's own output.

    Raises: ConfigError for a name that the backbone does not have.
    """

    def __init__(self, backbone: Backbone, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()
        self.layers = layers
        self._seen: dict[str, Tensor] = {}
        modules = dict(backbone.named_modules())
        for name in layers:
            if name not in modules:
                near = difflib.get_close_matches(name, list(modules), n=3, cutoff=0.4)
                reason = f"the backbone has no module '{name}'; nearest: {', '.join(near) or 'none'}"
                raise ConfigError(reason, path="model.layers")
            modules[name].register_forward_hook(self._keep(name))

    def train(self, mode: bool = True) -> PatchFeatures:
        """Always as in evaluation."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> list[Tensor]:
        """[B, C, H, W] -> for each layer [B, D, H', W'] float32 in its own size. Raises: ConfigError where one gives no maps."""
        own = self.backbone(images)
        maps = [self._seen.pop(name) for name in self.layers] or [own]
        for name, features in zip(self.layers or ("",), maps, strict=True):
            if features.ndim != 4:
                reason = f"'{name}' gives {list(features.shape)}; expected maps [B, C, H, W]"
                raise ConfigError(reason, path="model.layers")
        return [features.float() for features in maps]

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._seen[name] = output

        return hook


def feature_shape(features: PatchFeatures, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """D, H', W' for pictures of `input_shape`, by a dry pass."""
    depth, height, width = joined(features(torch.zeros(1, *input_shape))).shape[1:]
    return depth, height, width


def joined(maps: Sequence[Tensor]) -> Tensor:
    """[B, D, H', W'] float32: all layers' maps side by side, the coarser ones enlarged (bilinear) to the finest."""
    finest = max(maps, key=lambda features: features.shape[-2] * features.shape[-1])
    height, width = finest.shape[-2:]
    return torch.cat([_enlarged(features, (height, width)) for features in maps], dim=1)


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if maps.shape[-2:] == size else F.interpolate(maps, size, mode="bilinear", align_corners=False)
