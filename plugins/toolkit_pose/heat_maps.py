"""Heat maps: where each one says that its keypoint is."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Reading = Literal["mean", "peak"]
_FOUND_WITHIN_SHARE = 0.094
_AVERAGED_WITHIN_SHARE = 0.125
"""Radii of `peak`'s discs, as shares of the map's longer side: 3 and 4 cells of 32. With them the validation maps of a six-epoch
`pose_best` (200 pictures of LSP, 32x32) give 0.429 strict PCP, by their means 0.356; 0.07 to 0.125 and 0.1 to 0.15 give 0.425 to 0.434."""


def cells(count: int, device: torch.device) -> Tensor:
    """[count] middles of a map's cells in shares of the picture, from its middle."""
    return (torch.arange(count, device=device) + 0.5) / count - 0.5


def moments(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Centre of mass and variance of every map: [B, K, 2] each, x and y, in shares of the picture from its middle and their squares.

    shares: [B, K, h, w], of which those of one map add up to 1.
    """
    along_x, along_y = shares.sum(dim=2), shares.sum(dim=3)  # [B, K, w], [B, K, h]
    x, y = cells(shares.shape[3], shares.device), cells(shares.shape[2], shares.device)
    mean = torch.stack([(along_x * x).sum(dim=2), (along_y * y).sum(dim=2)], dim=-1)
    variance = torch.stack([(along_x * x.square()).sum(dim=2), (along_y * y.square()).sum(dim=2)], dim=-1) - mean.square()
    return mean, variance


def peak(shares: Tensor) -> Tensor:
    """[B, K, 2] centre of mass of what lies around each map's strongest spot, in shares of the picture from its middle.

    The map of a wrist may have a peak at either wrist. This chooses one of them; the centre of mass of the whole map would lie between.
    The strongest spot is the cell around which a disc holds most; discs are round in cells, cut off by the map's border, and
    reach at least to the next cell.

    shares: [B, K, h, w] float32, of which those of one map add up to 1.
    """
    count, height, width = shares.shape[1:]
    found_within, averaged_within = (max(share * max(height, width), 1.0) for share in (_FOUND_WITHIN_SHARE, _AVERAGED_WITHIN_SHARE))
    reach = int(found_within)
    offsets = torch.arange(-reach, reach + 1, device=shares.device)
    disc = _in_disc(offsets, offsets, found_within).expand(count, 1, -1, -1)
    with torch.autocast(shares.device.type, enabled=False):  # bfloat16 could not tell apart cells whose discs differ by half a per cent
        held = F.conv2d(shares, disc, padding=reach, groups=count)  # [B, K, h, w]
    heaviest = held.flatten(2).argmax(dim=2)[..., None]  # [B, K, 1]
    rows, columns = torch.arange(height, device=shares.device), torch.arange(width, device=shares.device)
    near = shares * _in_disc(rows - heaviest // width, columns - heaviest % width, averaged_within)
    return moments(near / near.sum(dim=(2, 3), keepdim=True))[0]


def _in_disc(down: Tensor, right: Tensor, radius: float) -> Tensor:
    """[..., h, w] 1 for cells so many [..., h] below and [..., w] to the right of a disc's middle that they lie in it, 0 for others."""
    return (down[..., :, None].square() + right[..., None, :].square() <= radius**2).float()
