"""Boxes around keypoints and what is seen in them, cut out on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit_pose.heat_maps import cells

_SMALLEST_SIDE = 0.06
"""Of a box, as a share of the picture's longer side: a torso seen from above would leave nothing to look at."""
_TORSO_OF_BODY = 0.4
"""Torso diameter as a share of the longer side of the box around all keypoints, for people whose torso is not labelled."""
_SHORTEST_TORSO = 0.28
"""The same share at least, for all others: the 5th percentile of LSP's pictures that train. Shorter torsos are foreshortened or, in
estimates, mistaken: boxes that follow them are too small to hold their keypoints, and errors measured in them outweigh all others."""


def torso_px(points: Tensor, labelled: Tensor, torso: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """[B] torso diameter in pixels of the picture, by which boxes are sized: at least 0.28 of the body's longer side.

    The body's longer side is that of the box around the labelled keypoints.

    Args:
        points: [B, K, 2] in shares of the picture.
        labelled: [B, K] bool; where the torso's ends are not, two fifths of the body's longer side are taken.
        torso: the two keypoints.
        size: H, W of the picture.
    """
    height, width = size
    pixels = torch.stack([points[..., 0] * width, points[..., 1] * height], dim=-1)
    diameter = (pixels[:, torso[0]] - pixels[:, torso[1]]).norm(dim=1)
    high = pixels.masked_fill(~labelled[..., None], -torch.inf).amax(dim=1)
    low = pixels.masked_fill(~labelled[..., None], torch.inf).amin(dim=1)
    body = (high - low).amax(dim=1).clamp(min=0)  # [B]; -inf where nothing is labelled
    is_known = labelled[:, torso[0]] & labelled[:, torso[1]]
    return torch.where(is_known, torch.maximum(diameter, _SHORTEST_TORSO * body), _TORSO_OF_BODY * body)


def square_boxes(middles: Tensor, sides_px: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, K, 4] boxes (x, y of the middle, width, height; shares of the picture), square in pixels and never vanishingly small.

    Args:
        middles: [B, K, 2] in shares of the picture.
        sides_px: [B], one for all keypoints of a person.
        size: H, W of the picture.
    """
    height, width = size
    sides = sides_px.clamp(min=_SMALLEST_SIDE * max(size))[:, None].expand(middles.shape[:2])  # [B, K]
    return torch.cat([middles, (sides / width)[..., None], (sides / height)[..., None]], dim=-1)


def cut_out(images: Tensor, boxes: Tensor, side: int) -> Tensor:
    """[B * K, C, side, side] what is in each box, bilinearly interpolated; 0 (after normalisation: mean grey) outside the picture.

    Args:
        images: [B, C, H, W].
        boxes: [B, K, 4] x, y of the middle, width, height in shares of the picture.
    """
    batch, count = boxes.shape[:2]
    steps = cells(side, boxes.device)
    x = boxes[..., 0, None] + boxes[..., 2, None] * steps  # [B, K, side]
    y = boxes[..., 1, None] + boxes[..., 3, None] * steps
    # One column of crops per picture is cut at once, so that the pictures are never copied.
    grid = torch.stack([x[:, :, None, :].expand(-1, -1, side, -1), y[:, :, :, None].expand(-1, -1, -1, side)], dim=-1)
    column = 2 * grid.reshape(batch, count * side, side, 2).to(images.dtype)  # grid_sample counts -1 .. 1 from edge to edge
    cut = F.grid_sample(images, column, align_corners=False, padding_mode="zeros")  # [B, C, K*side, side]
    crops: Tensor = cut.reshape(batch, -1, count, side, side).transpose(1, 2).flatten(0, 1)
    channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return crops.contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
