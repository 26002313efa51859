"""Run a list of albumentations transforms over samples: once, per batch, and on the device."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from albumentations.core.composition import BaseCompose
from albumentations.core.transforms_interface import BasicTransform

from toolkit.data.finish import Finish, finish_of
from toolkit.data.geometry import NUM_REFERENCES, homography, is_mirrored, reference_points
from toolkit.data.sample import Matrix, Sample, TargetT
from toolkit.data.transform_options import TransformFactory, albumentations_names, albumentations_transform, as_transform_factory
from toolkit.errors import ConfigError, DataError, ToolkitError

__all__ = [
    "TransformFactory",
    "TransformList",
    "albumentations_names",
    "albumentations_transform",
    "as_transform_factory",
    "is_deterministic",
]

cv2.setNumThreads(0)  # OpenCV's own threads do not survive the fork of worker processes, and workers are the parallelism here

_DETERMINISTIC = (
    albumentations.CenterCrop,
    albumentations.Crop,
    albumentations.HorizontalFlip,
    albumentations.InvertImg,
    albumentations.LongestMaxSize,
    albumentations.Pad,
    albumentations.PadIfNeeded,
    albumentations.Resize,
    albumentations.SmallestMaxSize,
    albumentations.ToGray,
    albumentations.ToRGB,
    albumentations.ToSepia,
    albumentations.Transpose,
    albumentations.VerticalFlip,
)
"""Give the same bytes each time when p is 1 and no option asks for chance. A plugin's class says `toolkit_deterministic = True`."""


class TransformList:
    """The transforms of one YAML list, cut into three parts.

    leading: the deterministic beginning, applied once to every sample (`prepare`).
    random: what is left, applied anew for each batch (`augment`).
    finish: a trailing Normalize or ToFloat (else division by 255), done for whole batches on the device.

    Points and masks travel by albumentations' own rules for keypoints and masks, outside the frame too; none is dropped or
    reordered. `to_original` follows the points: it takes a moved point exactly back to where it was.

    Args:
        transforms: albumentations transforms, such as a `TransformFactory` makes.
        evaluation: `to_original` is then kept up through all transforms, and one that bends the picture is refused.
            In training it is kept up through the leading part, and through the rest where the target has geometry.
    """

    def __init__(self, transforms: Sequence[Any], *, evaluation: bool = False) -> None:
        rest = list(transforms)
        self.evaluation = evaluation
        finish = finish_of(rest[-1]) if rest else None
        if finish is not None:
            rest.pop()
        self.finish = finish or Finish()
        cut = next((i for i, transform in enumerate(rest) if not is_deterministic(transform)), len(rest))
        self.leading, self.random = tuple(rest[:cut]), tuple(rest[cut:])

    @property
    def leading_key(self) -> str:
        """Equal for two lists whose leading parts do the same."""
        return json.dumps([transform.to_dict_private() for transform in self.leading], default=repr, sort_keys=True)

    def prepare(self, sample: Sample[TargetT]) -> Sample[TargetT]:
        """The sample after the leading part. Raises: DataError, ConfigError naming the sample."""
        return _apply(self.leading, sample, track=True, refuse_bending=True) if self.leading else sample

    def augment(self, sample: Sample[TargetT], entropy: Sequence[int]) -> Sample[TargetT]:
        """The sample after the random part, a pure function of the sample and `entropy` (such as seed, epoch, position).

        The image may come out as float, where a transform makes it so.
        """
        if not self.random:
            return sample
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        # One pair of generators for the whole list: Compose.set_random_seed would give every transform the same numbers,
        # and two transforms with p=0.5 would then always fire together.
        python_generator = random.Random(int(generator.integers(2**63)))
        for transform in self.random:
            transform.set_random_state(generator, python_generator)
        return _apply(self.random, sample, track=self.evaluation, refuse_bending=self.evaluation)


def is_deterministic(transform: Any) -> bool:
    """Whether the transform gives the same bytes each time, so that it may be done once."""
    if type(transform) is albumentations.NoOp:
        return True
    if transform.p < 1:
        return False
    if type(transform) not in _DETERMINISTIC:
        return bool(getattr(transform, "toolkit_deterministic", False))
    chooses = isinstance(getattr(transform, "max_size", None), list | tuple)  # one of several sizes, by chance
    return not chooses and "random" not in (getattr(transform, "position", None), getattr(transform, "pad_position", None))


def _apply(transforms: Sequence[Any], sample: Sample[TargetT], *, track: bool, refuse_bending: bool) -> Sample[TargetT]:
    height, width = sample.image.shape[:2]
    target = sample.target
    points = target.points() if target.moves else None
    mask = target.mask() if target.moves else None
    data: dict[str, Any] = {"image": sample.image.copy()}  # some transforms write into what they are given
    if mask is not None:
        data["masks" if mask.ndim > 2 else "mask"] = mask.numpy().reshape(-1, *mask.shape[-2:]) if mask.ndim > 2 else mask.numpy().copy()
    if target.moves or track:
        keypoints = data["keypoints"] = _as_keypoints(height, width, points)
    for transform in transforms:
        data = _call(transform, data, sample)
        if "keypoints" in data:
            _check_keypoints(transform, data, len(keypoints))
            if refuse_bending:
                _check_straight(transform, data, height, width)
    if "keypoints" not in data:
        return Sample(sample.id, data["image"], target, sample.truth, sample.to_original)
    to_new, _ = homography(height, width, data["keypoints"][:NUM_REFERENCES, :2].astype(np.float64))
    if target.moves:
        target = _moved(target, data, points, mask, is_mirrored(to_new, height, width), sample.id)
    return Sample(sample.id, data["image"], target, sample.truth, sample.to_original @ _inverse(to_new, transforms))


def _call(transform: Any, data: dict[str, Any], sample: Sample[Any]) -> dict[str, Any]:
    shape = data["image"].shape
    try:
        data = transform(**data)
    except ToolkitError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        size = " x ".join(str(n) for n in shape)
        raise ConfigError(f"transforms: {_name(transform)} cannot be applied to sample '{sample.id}' ({size}): {reason}") from error
    if data["image"].ndim == 2:
        data["image"] = data["image"][:, :, None]
    return data


def _as_keypoints(height: int, width: int, points: torch.Tensor | None) -> np.ndarray:
    """[NUM_REFERENCES + K, 6]: albumentations' x, y, z, angle, scale, and a number that tells each point again."""
    xy = reference_points(height, width)
    if points is not None:
        xy = np.concatenate([xy, points.numpy().reshape(-1, 2)])
    return np.column_stack([xy, np.zeros((len(xy), 3)), np.arange(len(xy))])


def _check_keypoints(transform: Any, data: dict[str, Any], count: int) -> None:
    """Bring the points back into order, should a transform have sorted them; all must still be there."""
    keypoints = data["keypoints"]
    if not np.array_equal(np.sort(keypoints[:, 5]), np.arange(count)):
        remedy = "set keypoint_remapping_method: direct" if _remaps_by_mask(transform) else "leave it out"
        raise ConfigError(f"transforms: {_name(transform)} loses keypoints near the edge or outside of the picture; {remedy}")
    data["keypoints"] = keypoints[np.argsort(keypoints[:, 5])]


def _check_straight(transform: Any, data: dict[str, Any], height: int, width: int) -> None:
    _, straight = homography(height, width, data["keypoints"][:NUM_REFERENCES, :2].astype(np.float64))
    if not straight:
        raise ConfigError(
            f"transforms: to_original needs an affine or perspective pipeline; {_name(transform)} bends the picture; "
            "use it in transforms.train only"
        )


def _moved(target: TargetT, data: dict[str, Any], points: Any, mask: Any, mirrored: bool, sample_id: str) -> TargetT:
    new_points = new_mask = None
    if points is not None:
        xy = np.ascontiguousarray(data["keypoints"][NUM_REFERENCES:, :2])
        new_points = torch.from_numpy(xy).to(points.dtype).reshape(points.shape)
    if mask is not None:
        pixels = np.ascontiguousarray(data["masks" if mask.ndim > 2 else "mask"])
        new_mask = torch.from_numpy(pixels).reshape(*mask.shape[:-2], *pixels.shape[-2:])
    try:
        return target.moved(new_points, new_mask, torch.tensor(mirrored))
    except DataError as error:
        raise DataError(str(error) if str(error).startswith(sample_id) else f"{sample_id}: {error}") from error


def _inverse(matrix: Matrix, transforms: Sequence[Any]) -> Matrix:
    if abs(np.linalg.det(matrix)) < 1e-12:
        raise ConfigError(f"transforms: {', '.join(_name(t) for t in transforms)} shrink the picture to nothing; use larger scales")
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _basic_transforms(transform: Any) -> Iterator[BasicTransform]:
    if isinstance(transform, BaseCompose):
        for part in transform.transforms:
            yield from _basic_transforms(part)
    else:
        yield transform


def _remaps_by_mask(transform: Any) -> bool:
    return any(getattr(part, "keypoint_remapping_method", None) == "mask" for part in _basic_transforms(transform))


def _name(transform: Any) -> str:
    return type(transform).__name__
