"""Transforms that scale a part of the picture to a given size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from toolkit.data.device_transforms.contract import Border, CannotMatchError, GeometricTransform, Moves, Shape
from toolkit.data.device_transforms.draws import Indices, Uniforms, between

_TRIES = 10
_JUST_BELOW = 1e-3
"""Keeps places halfway between two pixels on one side under nearest neighbour."""


@dataclass(frozen=True)
class Window:
    """corners: [B, 4] x_min, y_min, x_max, y_max of the part that is scaled."""

    corners: Indices


class Scaling(GeometricTransform):
    """Scales a window of the picture, by default all of it, to `size`.

    Args:
        scales_points: factors for points along x, y, where they are not those of the picture (LongestMaxSize rounds its size).
    """

    scales = True

    def __init__(self, shape: Shape, size: tuple[int, int], transform: Any, scales_points: tuple[float, float] | None = None) -> None:
        super().__init__(shape)
        self.output_shape = Shape(*size, shape.channels)
        self.border = Border.replicate()
        self.linear = is_linear(transform)
        self._scales_points = scales_points

    def draw(self, uniforms: Uniforms) -> Window:
        return Window(np.tile(np.array([0, 0, self.shape.width, self.shape.height]), (len(uniforms), 1)))

    def moves(self, params: Window) -> Moves:
        first, last = params.corners[:, :2], params.corners[:, 2:]
        scale = np.array([self.output_shape.width, self.output_shape.height]) / (last - first)
        points, pixels, nearest = np.tile(np.eye(3), (3, len(scale), 1, 1))
        points[:, (0, 1), (0, 1)] = self._scales_points or scale
        points[:, :2, 2] = -first * (self._scales_points or scale)
        pixels[:, (0, 1), (0, 1)] = nearest[:, (0, 1), (0, 1)] = scale
        pixels[:, :2, 2] = scale * (0.5 - first) - 0.5
        nearest[:, :2, 2] = scale * (0.5 - first - _JUST_BELOW)  # cv2.resize takes floor(new / scale), not the nearest centre
        return Moves(points, pixels if self.linear else nearest, nearest, self._windows(params))

    def _windows(self, params: Window) -> Indices | None:
        return None


class ResizedCrop(Scaling):
    """Of albumentations' RandomResizedCrop: a window of random area and aspect ratio."""

    num_uniforms = 4 * _TRIES

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape, tuple(transform.size), transform)
        if transform.area_for_downscale is not None:
            raise CannotMatchError("area_for_downscale is not done on the device; leave it out")
        if transform.ratio[0] <= 0:
            raise CannotMatchError("ratio has a limit of 0; expected more")
        self._scale, self._ratio = transform.scale, transform.ratio

    def draw(self, uniforms: Uniforms) -> Window:
        height, width = self.shape[:2]
        area, aspect, y, x = uniforms.reshape(-1, _TRIES, 4).transpose(2, 0, 1)
        area = between(area, self._scale) * (height * width)
        aspect = np.exp(between(aspect, [math.log(limit) for limit in self._ratio]))
        w, h = np.rint(np.sqrt(area * aspect)), np.rint(np.sqrt(area / aspect))
        fits = np.logical_and.reduce([w > 0, w <= width, h > 0, h <= height])
        first = fits.argmax(1)[:, None]
        w, h, x, y = (np.take_along_axis(values, first, 1)[:, 0] for values in (w, h, x, y))
        x, y = np.floor((width - w + 1) * x), np.floor((height - h + 1) * y)
        corners = np.stack([x, y, x + w, y + h], 1).astype(np.int64)
        return Window(np.where(fits.any(1)[:, None], corners, self._fallback()))

    def _fallback(self) -> Indices:
        """The central window of the closest aspect ratio."""
        height, width = self.shape[:2]
        w, h = width, height
        if width / height < self._ratio[0]:
            h = round(width / self._ratio[0])
        elif width / height > self._ratio[1]:
            w = round(height * self._ratio[1])
        x, y = (width - w) // 2, (height - h) // 2
        return np.array([x, y, x + w, y + h])

    def _windows(self, params: Window) -> Indices | None:
        return params.corners


def resize(transform: Any, shape: Shape) -> Scaling:
    """Of albumentations' Resize."""
    size = (transform.height, transform.width)
    _check_area(transform, smaller=size[0] < shape.height or size[1] < shape.width)
    return Scaling(shape, size, transform)


def longest_max_size(transform: Any, shape: Shape) -> Scaling:
    """Of albumentations' LongestMaxSize."""
    return _max_size(transform, shape, longest=True)


def smallest_max_size(transform: Any, shape: Shape) -> Scaling:
    """Of albumentations' SmallestMaxSize."""
    return _max_size(transform, shape, longest=False)


def _max_size(transform: Any, shape: Shape, *, longest: bool) -> Scaling:
    if isinstance(transform.max_size, list | tuple):
        raise CannotMatchError("max_size is a list, so pictures of one batch would differ in size")
    if transform.max_size is not None:
        scale = transform.max_size / (max if longest else min)(shape.height, shape.width)
    else:
        limits = [limit / size for limit, size in zip(transform.max_size_hw, shape[:2], strict=True) if limit is not None]
        scale = (min if longest else max)(limits)
    _check_area(transform, smaller=scale < 1)
    size = max(1, round(shape.height * scale)), max(1, round(shape.width * scale))
    return Scaling(shape, size, transform, (scale, scale))


def _check_area(transform: Any, *, smaller: bool) -> None:
    if smaller and transform.area_for_downscale is not None:
        raise CannotMatchError("area_for_downscale is not done on the device; leave it out")


def is_linear(transform: Any) -> bool:
    """Whether pictures are interpolated linearly, else by nearest neighbour. Raises: CannotMatchError for any other way."""
    if transform.mask_interpolation != cv2.INTER_NEAREST:
        raise CannotMatchError(f"mask_interpolation is {transform.mask_interpolation}; expected {cv2.INTER_NEAREST} (nearest)")
    if transform.interpolation not in (cv2.INTER_NEAREST, cv2.INTER_LINEAR):
        raise CannotMatchError(
            f"interpolation is {transform.interpolation}; expected {cv2.INTER_NEAREST} (nearest) or {cv2.INTER_LINEAR} (linear)"
        )
    return bool(transform.interpolation == cv2.INTER_LINEAR)
