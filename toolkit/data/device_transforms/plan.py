"""From a list of albumentations transforms to one plan for whole batches, or to the reason why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple

import albumentations
import numpy as np
import torch
from torch import Tensor

from toolkit.data.device_transforms.choices import Choice, ChoiceBuilder, Columns, UnknownCompositionError
from toolkit.data.device_transforms.contract import (
    Active,
    CannotMatchError,
    GeometricTransform,
    Matrices,
    PixelTransform,
    Shape,
)
from toolkit.data.device_transforms.draws import Draws
from toolkit.data.device_transforms.stages import Placed, append_geometric_step
from toolkit.data.device_transforms.steps import Pictures, Step, append_pixel_step
from toolkit.data.device_transforms.twins import twin_of
from toolkit.data.finish import Finish, finish_of
from toolkit.data.sample import TargetT


@dataclass(frozen=True)
class Refusal:
    """Why a list stays with the worker engine.

    Args:
        name: the first transform that cannot be matched.
        reason: which of its options, found and expected.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


class Augmented(NamedTuple, Generic[TargetT]):
    """A batch after the transforms.

    images: [B, H', W', C'] uint8; float32 where the list ends in Normalize or ToFloat.
    targets: moved along.
    to_new: [B, 3, 3] float64 on the host: where points of the given pictures are now.
    """

    images: Tensor
    targets: TargetT
    to_new: Tensor


@dataclass(frozen=True)
class DevicePlan:
    """Applies a list to batches on their own device; each sample with its own parameters, whatever batch it is in.

    Args:
        shape, output_shape: of the pictures before and after.
        num_uniforms: how many random numbers each sample takes.
    """

    shape: Shape
    output_shape: Shape
    num_uniforms: int
    _choice: Choice
    _steps: Sequence[Step]
    _finish: Finish | None

    def __call__(self, images: Tensor, targets: TargetT, draws: Draws) -> Augmented[TargetT]:
        """Augment a batch.

        Args:
            images: [B, H, W, C] uint8 of the planned shape; never written to.
            targets: a batch of them, in pixels of `images`.
            draws: what each sample is drawn from.

        Raises: ValueError for pictures of another shape; whatever `Target.moved` raises.
        """
        if images.dtype != torch.uint8 or tuple(images.shape[1:]) != self.shape:
            raise ValueError(f"pictures are {list(images.shape)} {images.dtype}; expected [B, {', '.join(map(str, self.shape))}] uint8")
        uniforms = draws.uniforms(self.num_uniforms)
        switches = self._choice.switches(uniforms, None)
        mask = targets.mask() if targets.moves else None
        masks = None if mask is None else mask.reshape(len(mask), -1, *mask.shape[-2:])
        to_new = np.tile(np.eye(3), (len(images), 1, 1))
        pictures = Pictures(images.contiguous(), masks)
        for step in self._steps:
            pictures = step.apply(pictures, uniforms, switches)
            to_new = to_new if pictures.points is None else pictures.points @ to_new
        if targets.moves:
            targets = _moved(targets, pictures.masks, to_new, self.shape, images.device)
        images = pictures.images if self._finish is None else self._finish(pictures.images).permute(0, 2, 3, 1)
        return Augmented(images, targets, torch.from_numpy(to_new))


def plan_device(transforms: Sequence[Any], height: int, width: int, channels: int) -> DevicePlan | Refusal:
    """The plan that does to batches what `transforms`, instances of albumentations 2.0.8 classes, do to single pictures.

    Nothing is approximated silently: pictures differ from albumentations' by interpolation error at most (not at all on the CPU,
    where OpenCV does both, except for a scaling joined with others); how much is stated by the tests. Where that cannot be had,
    the first transform and option that stand in the way.

    Raises: ConfigError if a trailing Normalize is for another number of channels.

    >>> import albumentations
    >>> print(plan_device([albumentations.ElasticTransform()], 32, 32, 3))
    ElasticTransform has no batched twin
    """
    rest = list(transforms)
    finish = finish_of(rest[-1]) if rest else None
    if finish is not None:
        rest.pop()
    builder = ChoiceBuilder()
    try:
        choice = builder.of_list(rest)
    except UnknownCompositionError as error:
        return Refusal(type(error.composition).__name__, str(error))
    shape = Shape(height, width, channels)
    steps = _StepBuilder(builder.columns)
    for number, leaf in enumerate(choice.leaves):
        try:
            shape = steps.add(leaf.transform, shape, number, always=leaf.always)
        except CannotMatchError as error:
            return Refusal(type(leaf.transform).__name__, str(error))
    if finish is not None:
        finish.check_channels(shape.channels)
    return DevicePlan(Shape(height, width, channels), shape, builder.columns.count, choice, steps.steps, finish)


@dataclass
class _StepBuilder:
    columns: Columns
    steps: list[Step] = field(default_factory=list)

    def add(self, transform: Any, shape: Shape, number: int, *, always: bool) -> Shape:
        """Append the transform's twin; the shape after it."""
        if type(transform) in (albumentations.Normalize, albumentations.ToFloat):
            raise CannotMatchError("is done at the end of the list only, with p 1 and standard normalization")
        twin = twin_of(transform, shape)
        if not isinstance(twin, GeometricTransform | PixelTransform):
            raise CannotMatchError(f"has a batched twin that is a {type(twin).__name__}; expected a GeometricTransform or PixelTransform")
        if twin.output_shape != shape and not always:
            before, after = (" x ".join(map(str, size)) for size in (shape, twin.output_shape))
            raise CannotMatchError(f"makes pictures of {before} into {after}, but is not applied to all of them")
        columns = self.columns.take(twin.num_uniforms)
        if isinstance(twin, PixelTransform):
            append_pixel_step(self.steps, twin, number, columns)
        elif type(transform) is not albumentations.NoOp:
            append_geometric_step(self.steps, Placed(twin, number, columns))
        return twin.output_shape


def _moved(targets: TargetT, masks: Tensor | None, to_new: Matrices, shape: Shape, device: torch.device) -> TargetT:
    points, mask = targets.points(), targets.mask()
    if points is not None:
        kind = points.dtype if points.is_floating_point() else torch.float32
        matrices = torch.from_numpy(to_new).to(points.device, kind, non_blocking=True)
        flat = points.to(kind).reshape(len(points), -1, 2) @ matrices[:, :, :2].mT + matrices[:, None, :, 2]
        points = (flat[..., :2] / flat[..., 2:]).to(points.dtype).reshape(points.shape)
    if mask is not None and masks is not None:
        mask = masks.reshape(*mask.shape[:-2], *masks.shape[-2:])
    mirrored = torch.from_numpy(_mirrored(to_new, shape)).to(device, non_blocking=True)
    return targets.moved(points, mask, mirrored)


def _mirrored(matrices: Matrices, shape: Shape) -> Active:
    """[B] whether left and right are swapped at the middle of the picture."""
    depth = matrices[:, 2] @ (shape.width / 2, shape.height / 2, 1.0)
    mirrored: Active = np.linalg.det(matrices) * np.sign(depth) < 0
    return mirrored
