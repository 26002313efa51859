"""What a patch looks like to a frozen network: the features that PaDiM and PatchCore remember."""

from __future__ import annotations

import difflib
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toolkit.models.model import Backbone


class PatchFeatures(nn.Module):
    """[B, C, H, W] pictures -> [B, D, H', W'] features of a backbone that never learns.

    Args:
        backbone: its weights are frozen and its statistics never change.
        layers: names of modules within it (as `named_modules` gives them, such as "body.layer2") whose maps are put together, all
            enlarged to the size of the first; none: the backbone's own output.

    Raises: ValueError for a name that the backbone does not have.
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
                raise ValueError(f"layers: the backbone has no module '{name}'; nearest: {', '.join(near) or 'none'}")
            modules[name].register_forward_hook(self._keep(name))

    def train(self, mode: bool = True) -> PatchFeatures:
        """Always as in evaluation."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, D, H', W'] float32. Raises: ValueError where a layer gives no maps."""
        own = self.backbone(images)
        maps = [self._seen.pop(name) for name in self.layers] or [own]
        for name, features in zip(self.layers or ("",), maps, strict=True):
            if features.ndim != 4:
                raise ValueError(f"layers: '{name}' gives {list(features.shape)}; expected maps [B, C, H, W]")
        size = (maps[0].shape[-2], maps[0].shape[-1])
        return torch.cat([m.float() if m.shape[-2:] == maps[0].shape[-2:] else _enlarged(m, size) for m in maps], dim=1)

    def _keep(self, name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._seen[name] = output

        return hook


def feature_shape(features: PatchFeatures, input_shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """D, H', W' for pictures of `input_shape`, by a dry pass."""
    depth, height, width = features(torch.zeros(1, *input_shape)).shape[1:]
    return depth, height, width


def _enlarged(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps.float(), size, mode="bilinear", align_corners=False)
