"""What a transform must offer to run on whole batches; the same for ours and for a plugin's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from toolkit.data.device_transforms.draws import Indices, Uniforms
from toolkit.data.device_transforms.kernels import apply_levels

Matrices = npt.NDArray[np.float64]
Levels = npt.NDArray[np.uint8]
Active = npt.NDArray[np.bool_]


class Shape(NamedTuple):
    """Of every picture in the batch."""

    height: int
    width: int
    channels: int


class CannotMatchError(Exception):
    """A transform or one of its options that the device engine does not do as albumentations does; the text is the reason."""


@dataclass(frozen=True)
class Border:
    """What stands outside of a picture: cv2's border mode; for BORDER_CONSTANT one value per channel, and one for masks."""

    mode: int
    fill: tuple[float, ...]
    fill_mask: float

    @classmethod
    def replicate(cls) -> Border:
        return cls(cv2.BORDER_REPLICATE, (0.0,), 0.0)


@dataclass(frozen=True)
class Moves:
    """Where a geometric transform takes each sample. Albumentations scales points about the corner (0, 0) but pictures about
    the corner of the pixel there, (-0.5, -0.5), and takes yet another pixel for nearest neighbour; hence three maps.

    Args:
        points: [B, 3, 3] where keypoints go.
        pixels: [B, 3, 3] where the centres of pixels go under linear interpolation.
        nearest: [B, 3, 3] the same under nearest neighbour (a new pixel takes the rounded place it comes from).
        windows: [B, 4] x_min, y_min, x_max, y_max of what is looked at; the border begins outside of it. None: everything.
    """

    points: Matrices
    pixels: Matrices
    nearest: Matrices
    windows: Indices | None = None

    @classmethod
    def alike(cls, matrices: Matrices) -> Moves:
        """Points and pixels go the same way."""
        return cls(matrices, matrices, matrices)


class DeviceTransform(ABC):
    """One transform for pictures of one shape, applied to whole batches. Subclass `GeometricTransform` or `PixelTransform`.

    A plugin's albumentations class gets a batched twin by a method

        def toolkit_device(self, shape: Shape) -> DeviceTransform: ...

    that raises `CannotMatchError` with the reason where its options or the shape cannot be matched. Its `p`, and whether it is
    in a OneOf, is the caller's business: `draw` is always for all samples, and what is not applied is thrown away.

    Args:
        shape: of the pictures that go in.
    """

    num_uniforms: int = 0
    """How many numbers `draw` needs for each sample."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.output_shape = shape

    @abstractmethod
    def draw(self, uniforms: Uniforms) -> Any:
        """The parameters of each sample from [B, num_uniforms] independent numbers in [0, 1): a dataclass of arrays [B, ...]."""


class GeometricTransform(DeviceTransform):
    """Moves pixels by a homography per sample, and masks and points with them. `draw` gives what `moves` takes.

    exact: only whole pixels are moved (by a shift, flip or quarter turn): no interpolation.
    inside: every new pixel comes from within the picture; otherwise `border` is what stands outside.
    turns: some pictures may have rows and columns swapped.
    straight: parallel lines stay parallel (an affine map).
    scales: only a part of the picture is scaled up or down to the new size.
    linear: interpolation of the picture, otherwise nearest neighbour; masks are always nearest neighbour.
    border: not read where `inside`.
    """

    exact: bool = False
    inside: bool = False
    turns: bool = False
    straight: bool = True
    scales: bool = False
    linear: bool = True
    border: Border = Border.replicate()

    @abstractmethod
    def moves(self, params: Any) -> Moves:
        """Where the drawn parameters take the samples."""


class PixelTransform(DeviceTransform):
    """Changes values, not places. `draw` gives what `apply` takes."""

    @abstractmethod
    def apply(self, images: Tensor, params: Any) -> Tensor:
        """[B, H, W, C] uint8 -> the same (C as in `output_shape`); the argument is not written to."""

    def apply_to_mask(self, masks: Tensor, params: Any) -> Tensor:
        """[B, M, H, W] uint8, M masks per sample; unchanged where not overridden."""
        return masks


class LevelTransform(PixelTransform):
    """Gives each of the 256 levels a new one; neighbours in a list become one step."""

    @abstractmethod
    def levels(self, params: Any) -> Levels:
        """[B, 256] the new level of each."""

    def apply(self, images: Tensor, params: Any) -> Tensor:
        return apply_levels(images, self.levels(params))


def channel_values(value: float | Sequence[float], channels: int, option: str = "fill") -> tuple[float, ...]:
    """One value per channel. Raises: CannotMatchError, if there are some but too few."""
    if isinstance(value, int | float):
        return (float(value),) * channels
    if len(value) < channels:
        raise CannotMatchError(f"{option} has {len(value)} values for {channels} channels")
    return tuple(float(item) for item in value)[:channels]
