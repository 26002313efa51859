"""`Vignette`: a transform of the plugin's own, written as albumentations writes its own."""

from __future__ import annotations

from typing import Any

import numpy as np
from albumentations.core.transforms_interface import ImageOnlyTransform
from toolkit.data import Pixels


class Vignette(ImageOnlyTransform):  # type: ignore[misc]
    """Darken the picture towards its corners, as a cheap lens does. Masks stay where they are: `ImageOnlyTransform`.

    Args:
        strength: how much light the corners lose, drawn between these two shares.
        p: how often it is applied.
    """

    def __init__(self, strength: tuple[float, float] = (0.2, 0.6), p: float = 0.5) -> None:
        super().__init__(p=p)
        low, high = strength
        if not 0 <= low <= high <= 1:
            raise ValueError(f"strength should be two shares in rising order, got {strength}")
        self.strength = (low, high)

    def get_params(self) -> dict[str, Any]:
        """All randomness comes from albumentations' own generators: the toolkit seeds them for each sample and epoch."""
        return {"lost": self.py_random.uniform(*self.strength)}

    def apply(self, img: Pixels, lost: float, **params: Any) -> Pixels:
        """[H, W, C] uint8."""
        y, x = np.mgrid[: img.shape[0], : img.shape[1]] / np.maximum(1, np.array(img.shape[:2]) - 1)[:, None, None] * 2 - 1
        light = 1 - lost * (x**2 + y**2) / 2  # 1 in the middle, 1 - lost in the corners
        return np.asarray(img * light[:, :, None]).astype(np.uint8)
