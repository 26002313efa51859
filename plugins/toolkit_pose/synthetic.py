"""`synthetic_people`: drawn people in front of cluttered backgrounds, for trying the toolkit without any data."""

from __future__ import annotations

from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge

from toolkit.data.sample import Dataset, Sample, Split
from toolkit_pose.figures import SEEN_ON, draw_person, random_pose
from toolkit_pose.skeletons import LSP_KEYPOINTS, pose_info
from toolkit_pose.types import Keypoints, PoseInfo

Picture = npt.NDArray[np.uint8]
_FINER = 2  # drawn on a grid this much finer and averaged down: smooth edges, the same on every machine
_HIDDEN_OFTEN = 0.5


class SyntheticPeople(Dataset[Keypoints]):
    """Drawn people with LSP's 14 keypoints: any pose seen from the front, clothes of any colour, clutter around and sometimes before them.

    Each picture is drawn when asked for and depends on nothing but seed, split, index and image_size. All keypoints are
    labelled; those that something hides are not visible.

    Args:
        size: pictures to train with; the test part has a quarter of it. There is no validation part: it is empty.
        image_size: side of the square pictures in pixels.
        seed: another one gives other pictures.
    """

    info: PoseInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        size: Annotated[int, Ge(1)] = 4000,
        image_size: Annotated[int, Ge(48)] = 128,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        self.split = split
        self.size = {"train": size, "test": max(1, size // 4), "validation": 0}[split]
        self.image_size = image_size
        self.seed = seed
        self.info = pose_info(LSP_KEYPOINTS, (3, image_size, image_size))

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`."""
        index = range(self.size)[index]
        rng = np.random.default_rng((self.seed, self.splits.index(self.split), index))
        side = self.image_size * _FINER
        keypoints = _placed(random_pose(rng), side, rng)
        picture = _background(side, rng)
        parts = draw_person(picture, keypoints, rng)
        if rng.random() < _HIDDEN_OFTEN:
            _hide(picture, parts, rng)
        noisy = cv2.resize(picture, (self.image_size, self.image_size), interpolation=cv2.INTER_AREA).astype(np.float32)
        noisy += rng.normal(0, rng.uniform(1, 7), noisy.shape).astype(np.float32)
        seen = np.array([parts[round(y), round(x)] in allowed for (x, y), allowed in zip(keypoints, SEEN_ON, strict=True)])
        points = torch.from_numpy(((keypoints + 0.5) / _FINER - 0.5).astype(np.float32))  # pixel centres at whole numbers
        target = Keypoints(points, torch.ones(len(points), dtype=torch.bool), torch.from_numpy(seen), self.info.mirror())
        return Sample(f"{self.split}/{index:05d}", np.clip(noisy, 0, 255).astype(np.uint8), target)

    def __len__(self) -> int:
        return self.size


def _placed(keypoints: npt.NDArray[np.float64], side: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The keypoints scaled and moved so that all of them lie well within the picture."""
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    reach = rng.uniform(0.62, 0.86) * side
    scaled = (keypoints - low) * reach / float((high - low).max())
    room = side - 0.06 * 2 * side - scaled.max(axis=0)
    return np.asarray(scaled + 0.06 * side + rng.uniform(0, 1, 2) * room)


def _background(side: int, rng: np.random.Generator) -> Picture:
    """Two octaves of coloured clouds under a few blocks, discs and sticks."""
    light_and_tint = rng.uniform(50, 200) + rng.normal(0, 22, 3) + np.zeros((side, side, 3))
    for cells, light, tint in ((3, 30.0, 10.0), (int(rng.integers(8, 24)), 12.0, 3.0)):
        grid = rng.normal(0, light, (cells, cells, 1)) + rng.normal(0, tint, (cells, cells, 3))
        light_and_tint += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    picture: Picture = np.clip(light_and_tint, 0, 255).astype(np.uint8)
    for _ in range(rng.integers(2, 9)):
        _clutter(picture, rng, size=rng.uniform(0.05, 0.3) * side)
    return picture


def _clutter(picture: Picture, rng: np.random.Generator, size: float) -> npt.NDArray[np.int32]:
    """One block, disc or stick of any colour somewhere; returns its corners [points, 2]."""
    side = picture.shape[0]
    middle, kind, angle = rng.uniform(0, side, 2), int(rng.integers(3)), rng.uniform(0, np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]]) * (0.12 if kind == 2 else rng.uniform(0.4, 1.0))
    if kind == 1:
        turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        outline = middle + size * 0.6 * (np.cos(turns)[:, None] * along + np.sin(turns)[:, None] * across)
    else:
        reach = size * (1.6 if kind == 2 else 0.6)
        outline = middle + reach * np.array([along + across, along - across, -along - across, -along + across])
    polygon: npt.NDArray[np.int32] = np.rint(outline).astype(np.int32)
    cv2.fillPoly(picture, [polygon], np.clip(rng.uniform(25, 225) + rng.normal(0, 32, 3), 0, 255).tolist())
    return polygon


def _hide(picture: Picture, parts: npt.NDArray[np.int8], rng: np.random.Generator) -> None:
    """Put something before the person."""
    polygon = _clutter(picture, rng, size=rng.uniform(0.1, 0.22) * picture.shape[0])
    cv2.fillPoly(parts, [polygon], -1)
