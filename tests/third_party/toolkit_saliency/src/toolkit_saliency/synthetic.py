"""`synthetic_blobs`: a coloured blob on grey texture, for trying the task without any data."""

from __future__ import annotations

import colorsys
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge
from toolkit.data import DataInfo, Dataset, Pixels, Sample, Split

from toolkit_saliency.types import MaskTarget


class SyntheticBlobs(Dataset[MaskTarget]):
    """One blob of a strong colour per picture; everything around it is grey. A sample depends on seed, split and index alone.

    Args:
        size: pictures to train with; the test part has a quarter of it.
        shortest_px, longest_px: sides of the pictures are drawn between these.
        noise: of the texture that lies over everything, as deviation in grey values.
        seed: another one gives other pictures.
    """

    def __init__(
        self,
        split: Split,
        /,
        *,
        size: Annotated[int, Ge(1)] = 1000,
        shortest_px: Annotated[int, Ge(16)] = 48,
        longest_px: Annotated[int, Ge(16)] = 48,
        noise: Annotated[float, Ge(0)] = 20.0,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.split = split
        self.size = size if split == "train" else max(1, size // 4)
        self.sides_px = (shortest_px, max(shortest_px, longest_px))
        self.noise = noise
        self.seed = seed
        height = width = shortest_px if shortest_px == longest_px else 0
        self.info = DataInfo((3, height, width))

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`; negative ones count from the end."""
        index = range(self.size)[index]
        rng = np.random.default_rng((self.seed, self.splits.index(self.split), index))
        height, width = rng.integers(*self.sides_px, 2, endpoint=True).tolist()
        salient = _blob(height, width, rng)
        pixels = np.where(salient[:, :, None], _strong_color(rng), rng.uniform(70, 180))
        pixels = pixels + rng.normal(0, self.noise, (height, width, 1))
        image: Pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        return Sample(f"{self.split}/{index:05d}", image, MaskTarget(torch.from_numpy(salient.astype(np.uint8))))

    def __len__(self) -> int:
        return self.size


def _blob(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """[height, width]: a wavy disc."""
    center_y, center_x = rng.uniform(0.3, 0.7, 2) * (height, width)
    y, x = np.mgrid[:height, :width] - np.array([center_y, center_x])[:, None, None]
    waves = np.cos(rng.integers(2, 6) * np.arctan2(y, x) + rng.uniform(0, 2 * np.pi))
    radius_px = min(height, width) * rng.uniform(0.15, 0.3) * (1 + 0.2 * waves)
    return np.asarray(np.hypot(y, x) < radius_px)


def _strong_color(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    return 255 * np.array(colorsys.hsv_to_rgb(rng.uniform(), 0.85, rng.uniform(0.6, 0.9)))
