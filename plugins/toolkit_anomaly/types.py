"""What flows through anomaly detection: good and defective pictures, maps of scores, masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from toolkit.data.sample import DataInfo, Target

GOOD = 0
"""The kind of a picture without a defect: index into `AnomalyInfo.kinds`."""


@dataclass(frozen=True)
class KindTarget(Target):
    """Which kind of picture it is; all that travels with it, because a model of good pictures needs no mask.

    Args:
        kind: [] or [B] int64, an index into `AnomalyInfo.kinds`.
    """

    kind: Tensor


@dataclass(frozen=True)
class AnomalyTruth:
    """What is known about a picture, in pixels of its file.

    Args:
        kind: [] or [B] int64, an index into `AnomalyInfo.kinds`.
        regions: [H, W, 1] int32, 0 where the picture is good, 1, 2, ... on its connected defects (8 neighbours); or [H, W, 0]
            where no mask is kept (training pictures, data sets without masks): the size is then known and nothing else.
            Batched: [B, H, W, 1 or 0], or a tuple of them where sizes differ.
    """

    kind: Tensor
    regions: Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class AnomalyInfo(DataInfo):
    """An anomaly data set as models, metrics and plots see it.

    Args:
        kinds: "good" and then the name of each kind of defect; distinct and without a slash, because they end the names of scores.
        has_masks: whether the defects of the test part are marked pixel by pixel.

    >>> AnomalyInfo((3, 128, 128), ("good", "crack"), True).defects
    ('crack',)
    """

    kinds: tuple[str, ...]
    has_masks: bool

    def __post_init__(self) -> None:
        for name in self.kinds:
            if "/" in name or self.kinds.count(name) > 1:
                raise ValueError(f"kind {name!r}: names must be distinct and without '/', they end the names of scores")

    @property
    def defects(self) -> tuple[str, ...]:
        """Every kind but "good"."""
        return self.kinds[1:]


@dataclass(frozen=True)
class Reconstruction:
    """What an autoencoder gives: the picture it saw, which is what it should give, and what it gave.

    Args:
        pictures: [B, C, H, W] the input, in [0, 1].
        reconstruction: [B, C, H, W] the output, in [0, 1]; while a network with skips trains it may leave that range.
    """

    pictures: Tensor
    reconstruction: Tensor


@dataclass(frozen=True)
class PatchScores:
    """What a memory of good features gives: how far each patch of a picture is from it.

    Args:
        pictures: [B, C, H, W] the input.
        patches: [B, H', W'] float32, 0 or more; each covers an equal part of the picture.
        image_score: [B, 1] float32 of the whole picture, or [B, 0] where the task is to take it from the map.
    """

    pictures: Tensor
    patches: Tensor
    image_score: Tensor


AnomalyOutput = Reconstruction | PatchScores


@dataclass(frozen=True)
class AnomalyPrediction:
    """Where a picture differs from good ones, and whether that is enough to call it defective.

    Maps keep the size that the model saw, because only who holds the file knows its size: `map_in_file` and `mask_in_file` read
    them in pixels of the file. Shapes below are one sample's; a batch has B before them.

    Args:
        scores: [h, w] float32, 0 or more, higher where the picture is stranger.
        marked: [h, w] bool, the answer: pixels taken for a defect.
        image_score: [] float32.
        threshold: [] float32, a pixel above it is marked.
        image_threshold: [] float32, a picture above it is called defective.
        reconstruction: [C, h, w] uint8, what an autoencoder made of the picture; [0, h, w] where the model makes none.
        to_original: [3, 3] from pixels of the map to pixels of the file, as `Sample.to_original`.
    """

    scores: Tensor
    marked: Tensor
    image_score: Tensor
    threshold: Tensor
    image_threshold: Tensor
    reconstruction: Tensor
    to_original: Tensor

    @property
    def defective(self) -> Tensor:
        """[] or [B] bool: what is said about the whole picture."""
        return self.image_score > self.image_threshold

    def map_in_file(self, height: int, width: int, size: tuple[int, int] | None = None) -> Tensor:
        """One sample's scores read in a file of that size: [height, width], or [*size] spread evenly over it; interpolated.

        Pixels of the file that the model did not see score 0.
        """
        return _read(self.scores, self.to_original, (height, width), size or (height, width), "bilinear")

    def mask_in_file(self, height: int, width: int, size: tuple[int, int] | None = None) -> Tensor:
        """One sample's mask read in a file of that size: bool, [height, width] or [*size]; each pixel takes the nearest."""
        return _read(self.marked.float(), self.to_original, (height, width), size or (height, width), "nearest") > 0.5


def _read(values: Tensor, to_original: Tensor, file: tuple[int, int], size: tuple[int, int], mode: str) -> Tensor:
    """[h, w] `values` at the centres of `size` equal cells of a file of `file` pixels -> [*size]."""
    device = values.device
    ys, xs = ((torch.arange(n, device=device) + 0.5) * (whole / n) - 0.5 for n, whole in zip(size, file, strict=True))
    y, x = torch.meshgrid(ys, xs, indexing="ij")
    to_map = torch.linalg.inv_ex(centred(to_original)).inverse.float()  # inv would wait for the device
    seen = torch.stack([x, y, torch.ones_like(x)], dim=-1) @ to_map.T  # [*size, 3] in pixels of the map
    places = seen[..., :2] / seen[..., 2:]
    extent = torch.tensor([values.shape[1], values.shape[0]], device=device)
    outside = ((places < -0.5) | (places > extent - 0.5)).any(dim=-1)
    grid = (2 * places + 1) / extent - 1  # grid_sample's -1 and 1 are the outer edges of the first and last pixel
    read = F.grid_sample(values[None, None], grid[None], mode=mode, padding_mode="border", align_corners=False)[0, 0]
    return read.masked_fill(outside, 0.0)


def centred(to_original: Tensor) -> Tensor:
    """[3, 3] where the *centres* of pixels go, given where keypoints go.

    Albumentations scales keypoints about the middle of the first pixel, x -> s x, but pictures about its corner,
    x -> s (x + 1/2) - 1/2. At s = 8 (1024 pixels seen as 128) masks would lie 3.5 pixels beside their defects.
    Exact where pictures are resized before they are mirrored or turned; in the other order it is off by s - 1 along a mirrored axis.

    >>> centred(torch.diag(torch.tensor([8.0, 8.0, 1.0])))[0].tolist()
    [8.0, 0.0, 3.5]
    """
    shift = torch.eye(3, device=to_original.device, dtype=to_original.dtype)
    shift[:2, 2] = (to_original[:2, :2].norm(dim=1) - 1) / 2
    return shift @ to_original
