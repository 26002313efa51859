"""From a map of scores to marked regions: threshold, morphology, removal of small regions, measurements."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from skimage.measure import label, regionprops
from torch import Tensor


def opened(mask: Tensor, radius: int) -> Tensor:
    """[B, H, W] bool without what a square of 2 `radius` + 1 pixels does not fit into; beyond the edge counts as marked."""
    return _grown(_shrunk(mask, radius), radius) if radius else mask


def closed(mask: Tensor, radius: int) -> Tensor:
    """[B, H, W] bool with gaps filled that a square of 2 `radius` + 1 pixels does not fit into."""
    return _shrunk(_grown(mask, radius), radius) if radius else mask


def _grown(mask: Tensor, radius: int) -> Tensor:
    return F.max_pool2d(mask[:, None].float(), 2 * radius + 1, stride=1, padding=radius)[:, 0] > 0.5


def _shrunk(mask: Tensor, radius: int) -> Tensor:
    return ~_grown(~mask, radius)


def without_small(mask: Tensor, least_px: int) -> Tensor:
    """[B, H, W] bool without connected regions (8 neighbours) of fewer than `least_px` pixels. Runs on the host."""
    kept = [_without_small(one, least_px) for one in mask.cpu().numpy()]
    return torch.from_numpy(np.stack(kept)).to(mask.device)


def _without_small(mask: Any, least_px: int) -> Any:
    labels = label(mask, connectivity=2)
    large = np.bincount(labels.reshape(-1)) >= least_px
    large[0] = False
    return large[labels]


def region_list(mask: Tensor, scores: Tensor) -> list[dict[str, Any]]:
    """Every connected region (8 neighbours) as JSON values, the largest first.

    Args:
        mask: [H, W] bool.
        scores: [H, W] float32.

    Returns: {"area_px": pixels, "box": [left, top, right, bottom], the last two one past the region, "mean_score": of its pixels}.

    >>> region_list(torch.tensor([[True, True, False]]), torch.tensor([[0.5, 1.0, 0.0]]))
    [{'area_px': 2, 'box': [0, 0, 2, 1], 'mean_score': 0.75}]
    """
    found = regionprops(label(mask.cpu().numpy(), connectivity=2), intensity_image=scores.cpu().numpy())
    found.sort(key=lambda region: -region.area)
    return [
        {
            "area_px": int(region.area),
            "box": [int(region.bbox[n]) for n in (1, 0, 3, 2)],
            "mean_score": float(region.intensity_mean),
        }
        for region in found
    ]
