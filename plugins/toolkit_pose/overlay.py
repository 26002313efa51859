"""Draw skeletons on pictures."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from toolkit_pose.types import Keypoints, PoseInfo, limb_ends, limb_labelled

_LONGER_SIDE_PX = 320  # at least: smaller pictures are enlarged until lines and dots can be told apart
_FINER = 2  # drawn on a finer grid and reduced, since Pillow does not smooth lines
_OUTLINE = "#202020"
_TRUTH = _DOT = "#ffffff"


def draw_pose(image: Tensor, info: PoseInfo, points_px: Tensor, truth: Keypoints | None = None) -> Tensor:
    """The picture with the predicted skeleton in colours and, where known, the true one thin and white beneath.

    Args:
        image: [3, H, W] uint8.
        points_px: [K, 2] x, y in pixels of `image`.
        truth: of one sample, in pixels of `image`; limbs with a keypoint that is not labelled are left out.

    Returns: [3, H', W'] uint8, H' and W' whole multiples of H and W.
    """
    picture = Image.fromarray(image.cpu().permute(1, 2, 0).contiguous().numpy())
    factor = -(-_LONGER_SIDE_PX // max(picture.size))
    size = (picture.width * factor, picture.height * factor)
    scale = factor * _FINER
    canvas = picture.resize((size[0] * _FINER, size[1] * _FINER), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(canvas)
    unit = max(size) / _LONGER_SIDE_PX * _FINER
    if truth is not None:
        _limbs(pen, info, truth.points_px.cpu(), truth.labelled.cpu(), scale, [(3.0 * unit, _OUTLINE), (1.4 * unit, _TRUTH)])
        for x, y in ((truth.points_px.cpu() + 0.5) * scale)[truth.labelled.cpu()].tolist():  # also of those at the end of no limb
            _dot(pen, x, y, 2.2 * unit, _OUTLINE)
            _dot(pen, x, y, 1.4 * unit, _TRUTH)
    everything = torch.ones(len(info.keypoints), dtype=torch.bool)
    points = points_px.cpu().float()
    _limbs(pen, info, points, everything, scale, [(4.6 * unit, _OUTLINE), (3.0 * unit, None)])
    for x, y in ((points + 0.5) * scale).tolist():
        _dot(pen, x, y, 3.0 * unit, _OUTLINE)
        _dot(pen, x, y, 2.0 * unit, _DOT)
    drawn = np.array(canvas.resize(size, Image.Resampling.BOX))
    return torch.from_numpy(drawn).permute(2, 0, 1).contiguous()


def _limbs(
    pen: ImageDraw.ImageDraw, info: PoseInfo, points: Tensor, labelled: Tensor, scale: float, strokes: list[tuple[float, str | None]]
) -> None:
    """Each stroke is a width and a colour, None for the limb's own."""
    for width, color in strokes:
        for limb in info.limbs:
            if bool(limb_labelled(labelled, limb)):
                start, end = limb_ends(points, limb)
                (x0, y0), (x1, y1) = ((start + 0.5) * scale).tolist(), ((end + 0.5) * scale).tolist()
                pen.line((x0, y0, x1, y1), fill=color or limb.color, width=round(width))


def _dot(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, color: str) -> None:
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
