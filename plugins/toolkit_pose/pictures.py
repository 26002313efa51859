"""`PosePictures`: pictures in files, each with the keypoints of one person."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toolkit.data.images import read_image
from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit.data.signature import files_signature
from toolkit.errors import DataError
from toolkit_pose.types import Keypoints, PoseInfo

Points = npt.NDArray[np.float32]
Flags = npt.NDArray[np.bool_]
_NEAR_PX = 2.0
"""A labelled keypoint farther outside its picture is a mistake; nearer ones are taken for rounding, and count."""
_LISTED = 20


class PosePictures(Dataset[Keypoints]):
    """Pictures in files with the keypoints of one person each.

    Args:
        name: of the data set; the first part of the samples' ids.
        info: its skeleton.
        files: N pictures.
        points: [N, K, 2] x, y in pixels from 0.
        labelled, visible: [N, K].
        source: the annotations' file, named in messages.
        splits: what the data set publishes.
        unlabel_outside: labelled keypoints more than two pixels outside their picture do not count; else they are refused.
        margin: cut each picture to the box of its labelled keypoints and so much more on every side, as a share of the longer one;
            places are then counted in the cut-out.
        groups: of each picture, such as its film (`Dataset.groups`).

    Raises: DataError listing all samples whose labelled keypoints are not finite, or that have none.
    """

    info: PoseInfo

    def __init__(
        self,
        name: str,
        info: PoseInfo,
        files: list[Path],
        points: Points,
        labelled: Flags,
        visible: Flags,
        source: Path,
        *,
        splits: tuple[Split, ...] = ("train", "test"),
        unlabel_outside: bool = False,
        margin: float | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        problems = []
        for file, xy, is_labelled in zip(files, points, labelled, strict=True):
            if not is_labelled.any():
                problems.append(f"{file}: no keypoint is labelled in {source}; expected at least one")
            for keypoint in np.flatnonzero(is_labelled & ~np.isfinite(xy).all(axis=1)):
                x, y = xy[keypoint]
                problems.append(f"{file}: {info.keypoints[keypoint]} is labelled at ({x}, {y}) in {source}; expected finite numbers")
        if problems:
            raise DataError(listed(problems, f"{source}: {len(problems):,} labels cannot be used"))
        self.name, self.info, self.files, self.source, self._splits = name, info, files, source, splits
        self.labelled = torch.from_numpy(labelled)
        self.visible = torch.from_numpy(visible & labelled)
        self.points_px = torch.from_numpy(np.where(labelled[:, :, None], points, 0).astype(np.float32))
        self.mirror = info.mirror()
        self.unlabel_outside, self.margin, self._groups = unlabel_outside, margin, groups

    @property
    def splits(self) -> tuple[Split, ...]:
        """What the data set publishes."""
        return self._splits

    def signature(self) -> str:
        """Of the pictures, their annotations as they were read, and how the pictures are."""
        labels = hashlib.sha256(b"".join(t.numpy().tobytes() for t in (self.points_px, self.labelled, self.visible))).hexdigest()
        return files_signature([*self.files, self.source], self.name, self.info.keypoints, self.unlabel_outside, self.margin, labels)

    def groups(self) -> Sequence[str] | None:
        """As given."""
        return self._groups

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`. Raises: DataError if its picture cannot be read, or a labelled keypoint, or all of them, lie outside."""
        index = range(len(self.files))[index]
        image = read_image(self.files[index], channels=3)
        points, labelled = self.points_px[index], self.labelled[index]
        height, width = image.shape[:2]
        wrong = "" if self.unlabel_outside else outside(points, labelled, self.info, image)
        labelled = labelled & (_outside_px(points, image) <= _NEAR_PX)
        if wrong or not labelled.any():
            wrong = wrong or "every labelled keypoint is outside; expected at least one within"
            raise DataError(f"{self.files[index]}: in {self.source} {wrong} its {width} x {height} pixels")
        if self.margin is not None:
            edge = torch.tensor([width - 1.0, height - 1.0])
            low, high = (places.clamp(min=torch.zeros(2), max=edge) for places in points[labelled].aminmax(dim=0))
            image, corner = cut_to_box(image, (*low.tolist(), *(high + 1).tolist()), self.margin * float((high - low).max()))
            points = torch.where(labelled[:, None], points - torch.tensor(corner), 0)
        target = Keypoints(points, labelled, self.visible[index] & labelled, self.mirror)
        return Sample(f"{self.name}/{self.files[index].stem}", image, target)

    def __len__(self) -> int:
        return len(self.files)


def outside(points: Tensor, labelled: Tensor, info: PoseInfo, image: Pixels) -> str:
    """Which labelled keypoints [K, 2] lie more than two pixels outside of their picture [H, W, C]; '' for none."""
    far = (labelled & (_outside_px(points, image) > _NEAR_PX)).nonzero()[:, 0].tolist()
    found = ", ".join(f"{info.keypoints[k]} at ({points[k, 0]:.1f}, {points[k, 1]:.1f})" for k in far)
    return f"{found}; expected within" if far else ""


def _outside_px(points: Tensor, image: Pixels) -> Tensor:
    """[K] how far outside; 0 or less within."""
    return torch.maximum(-points, points - torch.tensor([image.shape[1] - 1.0, image.shape[0] - 1.0])).amax(dim=1)


def cut_to_box(image: Pixels, box: tuple[float, float, float, float], more_px: float) -> tuple[Pixels, tuple[int, int]]:
    """A picture [H, W, C] cut to a box and `more_px` on every side, and what became its upper left corner.

    box: left, top, right, bottom, the last two behind its last pixels; what lies outside of the picture is left out.
    """
    left, top, right, bottom = box
    x0, y0 = max(0, math.floor(left - more_px)), max(0, math.floor(top - more_px))
    x1, y1 = max(x0, min(image.shape[1], math.ceil(right + more_px))), max(y0, min(image.shape[0], math.ceil(bottom + more_px)))
    return np.ascontiguousarray(image[y0:y1, x0:x1]), (x0, y0)


def listed(problems: list[str], heading: str) -> str:
    """One problem as its line, several below a heading, at most twenty spelt out."""
    if len(problems) == 1:
        return problems[0]
    more = [f"... and {len(problems) - _LISTED:,} more"] if len(problems) > _LISTED else []
    return "\n  ".join([heading, *problems[:_LISTED], *more])
