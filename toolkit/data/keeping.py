"""Collect prepared samples, in the most compact form that fits into the memory budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from toolkit.data.content_digest import ContentDigest
from toolkit.data.sample import Pixels, Sample, TargetT
from toolkit.data.tree import leaf_shapes, map_tensors, stack

_PROBED = 64
"""Samples whose mean size foretells that of all."""


class MemoryBudget:
    """Bytes that prepared pictures may take, over all parts of a run together."""

    def __init__(self, gib: float) -> None:
        self.left_bytes = int(gib * 2**30)

    def take(self, num_bytes: int) -> None:
        """Count bytes that are kept from now on."""
        self.left_bytes -= num_bytes


@dataclass(frozen=True)
class Kept(Generic[TargetT]):
    """What stays in memory of all samples; everything but the digest is None where nothing does. Fields as in `prepared.Store`."""

    digest: str
    images: Tensor | tuple[Tensor, ...] | None = None
    targets: TargetT | None = None
    truth: Any = None
    to_original: Tensor | None = None
    num_bytes: int = 0


class Keeper(Generic[TargetT]):
    """Takes the samples one by one; goes from one block to a list to nothing as they turn out not to fit.

    Args:
        count: how many samples there will be, at most.
    """

    def __init__(self, count: int, budget: MemoryBudget) -> None:
        self.ids: list[str] = []
        self.shape = (0, 0, 0)
        self._count = count
        self._budget = budget
        self._bytes = 0
        self._block: Pixels | None = None
        self._images: list[Pixels] = []
        self._targets: list[TargetT] = []
        self._truths: list[Any] = []
        self._to_original: list[Tensor] = []
        self._truth_is_target = True
        self._truth_shapes: tuple[tuple[int, ...], ...] | None = None
        self._uniform: list[bool] = []
        self._keeping = True
        self._digest = ContentDigest()
        """Of what is not kept; what is kept is digested at the end, in one go."""

    @property
    def uniform(self) -> tuple[bool, ...]:
        """Whether each tensor of the truths has had one shape so far."""
        return tuple(self._uniform)

    def add(self, sample: Sample[TargetT]) -> None:
        """Count the sample, and keep it while all fits."""
        self._note_shapes(sample)
        self.ids.append(sample.id)
        if not self._keeping:
            self._digest.add(sample.image, sample.target, sample.truth)
            return
        self._bytes += sample_bytes(sample)
        self._truth_is_target &= sample.truth is sample.target
        expected = self._bytes if len(self.ids) != _PROBED else self._bytes * self._count // _PROBED
        if expected > self._budget.left_bytes:
            self._drop()
            self._digest.add(sample.image, sample.target, sample.truth)
            return
        self._targets.append(sample.target)
        self._truths.append(sample.truth)
        self._to_original.append(torch.from_numpy(np.ascontiguousarray(sample.to_original, dtype=np.float64)))
        self._keep_image(sample.image)

    def finish(self) -> Kept[TargetT]:
        """What was kept, batched."""
        if not self._keeping:
            return Kept(self._digest.hexdigest())
        images: Tensor | tuple[Tensor, ...]
        if self._block is not None:
            images = torch.from_numpy(self._block[: len(self.ids)])
        elif 0 not in self.shape:
            images = torch.from_numpy(np.stack(self._images))
        else:
            images = tuple(torch.from_numpy(image) for image in self._images)
        targets = stack(self._targets)
        truth = targets if self._truth_is_target else stack(self._truths)
        self._digest.add(images, targets, truth)
        return Kept(self._digest.hexdigest(), images, targets, truth, torch.stack(self._to_original), self._bytes)

    def _drop(self) -> None:
        """Digest all that was kept, and keep nothing from now on."""
        images = [*(self._block[: len(self._targets)] if self._block is not None else []), *self._images]
        for image, target, truth in zip(images, self._targets, self._truths, strict=True):
            self._digest.add(image, target, truth)
        self._keeping = False
        self._block, self._images, self._targets, self._truths, self._to_original = None, [], [], [], []

    def _note_shapes(self, sample: Sample[TargetT]) -> None:
        if not self.ids:
            self.shape = _shape(sample.image)
            self._truth_shapes = leaf_shapes(sample.truth)
            self._uniform = [True] * len(self._truth_shapes)
            return
        first, here = self.shape, _shape(sample.image)
        self.shape = (first[0] * (first[0] == here[0]), first[1] * (first[1] == here[1]), first[2] * (first[2] == here[2]))
        shapes = leaf_shapes(sample.truth)
        if shapes != self._truth_shapes and self._truth_shapes is not None:
            pairs = zip(self._uniform, shapes, self._truth_shapes, strict=True)
            self._uniform = [uniform and shape == other for uniform, shape, other in pairs]

    def _keep_image(self, image: Pixels) -> None:
        """Into the block, once `_PROBED` pictures of one size foretell that there will be one; until then, and else, into a list."""
        if self._block is not None and image.shape == self._block.shape[1:]:
            self._block[len(self.ids) - 1] = image
            return
        if self._block is not None:
            self._images, self._block = list(self._block[: len(self.ids) - 1]), None
        self._images.append(image)
        if len(self.ids) == _PROBED and 0 not in self.shape:
            self._block = np.empty((self._count, *image.shape), dtype=np.uint8)
            self._block[:_PROBED] = self._images
            self._images = []


def _shape(image: Pixels) -> tuple[int, int, int]:
    height, width, channels = image.shape
    return height, width, channels


def sample_bytes(sample: Sample[Any]) -> int:
    """What the sample takes in memory: its picture, target and truth."""
    truth = 0 if sample.truth is sample.target else _tree_bytes(sample.truth)
    return sample.image.nbytes + _tree_bytes(sample.target) + truth


def _tree_bytes(value: Any) -> int:
    sizes: list[int] = []
    map_tensors(lambda tensor: sizes.append(tensor.nbytes), value)
    return sum(sizes)
