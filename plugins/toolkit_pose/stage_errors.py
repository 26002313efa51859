"""How the stages of a cascade err on validation pictures: what a later stage's training boxes are drawn from."""

from __future__ import annotations

import torch
from torch import Tensor

from toolkit_pose.crops import torso_px
from toolkit_pose.types import EncodedKeypoints

UNMEASURED_PLACE = 0.25
"""Deviation of displacements in torso diameters where fewer than two were measured."""
UNMEASURED_SIZE = 0.2
"""Deviation of the logarithm of found over true torso diameters where fewer than two were measured."""
LARGEST_SIZE = 2.0
"""Of found over true torso diameters, and of true over found ones; beyond, either is taken for this."""
_FOUND_WITHIN_TORSOS = 0.2
"""By which stages are compared."""


class StageErrors:
    """Sums over batches of how far each of `stages` stages is off, and of how large it takes people to be.

    Errors are measured in torso diameters; of keypoints at most `reach` of them off in x and in y, since others lie outside of
    their boxes, where no later stage can find them. Sizes are the logarithm of found over true torso diameters.

    Args:
        torso: the two keypoints that measure it.
    """

    def __init__(self, stages: int, keypoints: int, reach: float, torso: tuple[int, int], device: torch.device) -> None:
        self.reach, self.torso = reach, torso
        self._right = torch.zeros(stages, device=device, dtype=torch.float64)
        self._errors = torch.zeros(3, stages, keypoints, 2, device=device, dtype=torch.float64)
        self._sizes = torch.zeros(3, stages, device=device, dtype=torch.float64)

    def update(self, found: Tensor, encoded: EncodedKeypoints, size: tuple[int, int]) -> None:
        """Take in a batch: `found` [B, S, K, 2] in shares of pictures of `size` H, W."""
        torsos = torso_px(encoded.points, encoded.known, self.torso, size)  # [B]
        counted = encoded.labelled & (torsos > 0)[:, None]  # [B, K]
        off = (found - encoded.points[:, None]) * found.new_tensor([size[1], size[0]])
        errors = off / torsos.clamp(min=1e-6)[:, None, None, None]
        self._right += ((errors.norm(dim=-1) <= _FOUND_WITHIN_TORSOS) & counted[:, None]).sum(dim=(0, 2))
        self._errors += _sums(errors, (counted[:, None] & (errors.abs() <= self.reach).all(dim=-1))[..., None])
        everywhere = torch.ones_like(encoded.labelled)
        of_found = torch.stack([torso_px(points, everywhere, self.torso, size) for points in found.unbind(dim=1)], dim=1)  # [B, S]
        sizes = (of_found / torsos.clamp(min=1e-6)[:, None]).clamp(1 / LARGEST_SIZE, LARGEST_SIZE).log()
        has_torso = encoded.known[:, self.torso[0]] & encoded.known[:, self.torso[1]] & (torsos > 0)
        self._sizes += _sums(sizes, has_torso[:, None])

    def best(self) -> int:
        """The stage, counted from 0, that finds most keypoints within a fifth of a torso diameter; the first of equals."""
        return int(self._right.argmax())

    def displacements(self, stage: int) -> tuple[Tensor, Tensor]:
        """[K, 2] mean and deviation of the errors of `stage`, counted from 0."""
        return _mean_and_deviation(self._errors[:, stage], UNMEASURED_PLACE)

    def sizes(self, stage: int) -> tuple[Tensor, Tensor]:
        """[] mean and deviation of the logarithm of found over true torso diameters."""
        return _mean_and_deviation(self._sizes[:, stage], UNMEASURED_SIZE)


def _sums(values: Tensor, counts: Tensor) -> Tensor:
    """[3, ...] number, sum and sum of squares over [B, ...] of the values that count."""
    kept = torch.where(counts, values, 0).double()
    return torch.stack([counts.expand_as(kept).double(), kept, kept.square()]).sum(dim=1)


def _mean_and_deviation(sums: Tensor, unmeasured: float) -> tuple[Tensor, Tensor]:
    """[3, ...] number, sum and sum of squares of what was measured -> [...] twice; `unmeasured`: the deviation of fewer than two."""
    number, total, squares = sums
    mean = total / number.clamp(min=1)
    deviation = (squares / number.clamp(min=1) - mean.square()).clamp(min=0).sqrt()
    return mean, torch.where(number > 1, deviation, unmeasured)
