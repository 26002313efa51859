"""Affine and perspective transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

from toolkit.data.device_transforms.contract import Border, CannotMatchError, GeometricTransform, Matrices, Moves, Shape
from toolkit.data.device_transforms.draws import Uniforms, between, whole
from toolkit.data.device_transforms.exact import border_of
from toolkit.data.device_transforms.resizing import is_linear

Corners = npt.NDArray[np.float64]

_WARP_BORDERS = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101)
_LEAST_SIDE = 8
"""Below it albumentations' Perspective widens quadrilaterals that are too narrow."""


@dataclass(frozen=True)
class AffineParams:
    """What albumentations draws for Affine.

    Args:
        translate: [B, 2] pixels along x, y.
        shear: [B, 2] degrees along x, y, with albumentations' sign (the option's, turned over).
        scale: [B, 2].
        rotate: [B] degrees against the clock.
    """

    translate: Uniforms
    shear: Uniforms
    scale: Uniforms
    rotate: Uniforms


class AffineWarp(GeometricTransform):
    """Of albumentations' Affine and ShiftScaleRotate."""

    num_uniforms = 9

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        if transform.fit_output:
            raise CannotMatchError("fit_output is true, so pictures of one batch would differ in size")
        self.linear, self.border = is_linear(transform), _warp_border(transform, shape)
        self._options = transform

    def draw(self, uniforms: Uniforms) -> AffineParams:
        options = self._options
        translate = [self._translation(uniforms[:, i], axis) for i, axis in enumerate("xy")]
        shear = [-between(uniforms[:, 2 + i], options.shear[axis]) for i, axis in enumerate("xy")]
        scale = [self._scale(uniforms[:, 4 + i], uniforms[:, 6 + i], options.scale[axis]) for i, axis in enumerate("xy")]
        if options.keep_ratio:
            scale[1] = scale[0]
        rotate = between(uniforms[:, 8], options.rotate)
        return AffineParams(np.stack(translate, 1), np.stack(shear, 1), np.stack(scale, 1), rotate)

    def moves(self, params: AffineParams) -> Moves:
        return Moves.alike(affine_matrices(params, self.shape))

    def _translation(self, uniforms: Uniforms, axis: str) -> Uniforms:
        if self._options.translate_px is not None:
            low, high = self._options.translate_px[axis]
            return whole(uniforms, int(low), int(high)).astype(np.float64)
        if self._options.translate_percent is None:
            return np.zeros_like(uniforms)
        size = self.shape.width if axis == "x" else self.shape.height
        return np.trunc(between(uniforms, self._options.translate_percent[axis]) * size)

    def _scale(self, uniforms: Uniforms, choice: Uniforms, limits: tuple[float, float]) -> Uniforms:
        low, high = limits
        if not self._options.balanced_scale:
            return between(uniforms, limits)
        if low < 1 < high:  # shrinks as often as it enlarges
            return np.where(choice < 0.5, between(uniforms, (low, 1.0)), between(uniforms, (1.0, high)))
        if low >= 1 >= high:
            return np.ones_like(uniforms)
        return between(uniforms, (low, 1.0) if low < 1 else (1.0, high))


class Rotation(GeometricTransform):
    """Of albumentations' Rotate."""

    num_uniforms = 1

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        if transform.crop_border:
            raise CannotMatchError("crop_border is true, so pictures of one batch would differ in size")
        self.linear, self.border = is_linear(transform), _warp_border(transform, shape)
        self._limit = transform.limit

    def draw(self, uniforms: Uniforms) -> AffineParams:
        zeros = np.zeros((len(uniforms), 2))
        return AffineParams(zeros, zeros, zeros + 1, between(uniforms[:, 0], self._limit))

    def moves(self, params: AffineParams) -> Moves:
        return Moves.alike(affine_matrices(params, self.shape))


def affine_matrices(params: AffineParams, shape: Shape) -> Matrices:
    """[B, 3, 3]: scale, rotate, shear and translate about the picture's middle, in this order."""
    count = len(params.rotate)
    angle, shear = np.deg2rad(params.rotate), np.tan(np.deg2rad(params.shear))
    scaled = np.zeros((count, 2, 2))
    scaled[:, 0, 0], scaled[:, 1, 1] = params.scale.T
    turned = np.moveaxis(np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), 2, 0)
    sheared = np.tile(np.eye(2), (count, 1, 1))
    sheared[:, 0, 1], sheared[:, 1, 0] = shear.T
    linear = sheared @ turned @ scaled
    middle = np.array([shape.width / 2 - 0.5, shape.height / 2 - 0.5])
    matrices = np.tile(np.eye(3), (count, 1, 1))
    matrices[:, :2, :2] = linear
    matrices[:, :2, 2] = middle + params.translate - linear @ middle
    return matrices


@dataclass(frozen=True)
class PerspectiveParams:
    """corners: [B, 4, 2] what goes to the picture's corners: top left, top right, bottom right, bottom left."""

    corners: Corners


class PerspectiveWarp(GeometricTransform):
    """Of albumentations' Perspective with keep_size."""

    num_uniforms = 9
    straight = False

    def __init__(self, shape: Shape, transform: Any) -> None:
        super().__init__(shape)
        if not transform.keep_size:
            raise CannotMatchError("keep_size is false, so pictures of one batch would differ in size")
        if min(shape[:2]) < _LEAST_SIDE:
            raise CannotMatchError(f"needs pictures of at least {_LEAST_SIDE} pixels a side, not {shape.height} x {shape.width}")
        self.linear, self.border = is_linear(transform), _warp_border(transform, shape)
        if isinstance(transform.fill, int | float):  # albumentations gives cv2 one number, which fills the first channel only
            fill = (self.border.fill[0], *(0.0,) * (shape.channels - 1))
            self.border = Border(self.border.mode, fill, self.border.fill_mask)
        self._limits, self._fit_output = transform.scale, transform.fit_output

    def draw(self, uniforms: Uniforms) -> PerspectiveParams:
        scale = between(uniforms[:, 0], self._limits)
        normal = ndtri(np.clip(uniforms[:, 1:9], 2.0**-54, None)).reshape(-1, 4, 2)
        offsets = np.mod(np.abs(normal * scale[:, None, None]), 0.32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        shares = np.where(corners == 1, 1 - offsets, offsets)
        return PerspectiveParams(_ordered(shares * (self.shape.width, self.shape.height)).astype(np.float32).astype(np.float64))

    def moves(self, params: PerspectiveParams) -> Moves:
        height, width = self.shape[:2]
        frame = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
        matrices = through_corners(params.corners, np.broadcast_to(frame, params.corners.shape))
        if self._fit_output:
            moved = _mapped(matrices, frame)
            moved = np.rint(moved - moved.min(1, keepdims=True))
            matrices = through_corners(np.broadcast_to(frame, moved.shape), moved)
            sizes = np.trunc(moved.max(1))
        else:
            sides = np.linalg.norm(params.corners - np.roll(params.corners, 1, axis=1), axis=2)  # left, top, right, bottom
            sizes = np.trunc(np.stack([sides[:, 1::2].max(1), sides[:, 0::2].max(1)], 1))
        scales = np.zeros_like(matrices)
        scales[:, 0, 0], scales[:, 1, 1], scales[:, 2, 2] = width / sizes[:, 0], height / sizes[:, 1], 1
        return Moves.alike(scales @ matrices)


def through_corners(before: Corners, after: Corners) -> Matrices:
    """[B, 3, 3] homographies that take four points each, [B, 4, 2], to four others."""
    x, y, u, v = before[..., 0], before[..., 1], after[..., 0], after[..., 1]
    zero, one = np.zeros_like(x), np.ones_like(x)
    equations = np.concatenate(
        [
            np.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
            np.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1),
        ],
        axis=1,
    )
    solved = np.linalg.solve(equations, np.concatenate([u, v], 1)[:, :, None])[:, :, 0]
    return np.concatenate([solved, np.ones((len(solved), 1))], 1).reshape(-1, 3, 3)


def _mapped(matrices: Matrices, points: Corners) -> Corners:
    moved = points @ matrices[:, :, :2].swapaxes(1, 2) + matrices[:, None, :, 2]
    result: Corners = moved[..., :2] / moved[..., 2:]
    return result


def _ordered(points: Corners) -> Corners:
    """Top left, top right, bottom right, bottom left, as albumentations tells them: by x first, then by y."""
    by_x = np.take_along_axis(points, np.argsort(points[..., 0], axis=1, kind="stable")[..., None], 1)
    left, right = (np.take_along_axis(half, np.argsort(half[..., 1], axis=1)[..., None], 1) for half in (by_x[:, :2], by_x[:, 2:]))
    return np.stack([left[:, 0], right[:, 0], right[:, 1], left[:, 1]], 1)


def _warp_border(transform: Any, shape: Shape) -> Border:
    if transform.border_mode not in _WARP_BORDERS:
        raise CannotMatchError(f"border_mode is {transform.border_mode}; expected 0 (constant), 1 (replicate) or 4 (reflect_101)")
    return border_of(transform, shape)
