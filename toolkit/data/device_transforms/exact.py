"""Transforms that move whole pixels: flips, quarter turns, crops and pads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from toolkit.data.device_transforms.contract import Border, CannotMatchError, GeometricTransform, Matrices, Moves, Shape, channel_values
from toolkit.data.device_transforms.draws import Indices, Uniforms, whole

BORDER_MODES = (cv2.BORDER_CONSTANT, cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT, cv2.BORDER_WRAP, cv2.BORDER_REFLECT_101)


def border_of(transform: Any, shape: Shape) -> Border:
    """The options `border_mode`, `fill` and `fill_mask` of an albumentations transform. Raises: CannotMatchError."""
    if transform.border_mode != cv2.BORDER_CONSTANT:
        return Border(transform.border_mode, (0.0,) * shape.channels, 0.0)
    (mask,) = channel_values(transform.fill_mask, 1, "fill_mask")
    return Border(transform.border_mode, channel_values(transform.fill, shape.channels), mask)


@dataclass(frozen=True)
class Turn:
    """element: [B] which of the eight `ELEMENTS`."""

    element: Indices


ELEMENTS = ("e", "r90", "r180", "r270", "v", "hvt", "h", "t")
"""Albumentations' names of the symmetries of a square, in its order; r90 turns against the clock."""


class SquareSymmetries(GeometricTransform):
    """Any choice out of the eight symmetries of a square.

    Args:
        choices: the elements to choose from, each as likely.
    """

    exact = inside = True

    def __init__(self, shape: Shape, choices: Sequence[str]) -> None:
        super().__init__(shape)
        self.num_uniforms = int(len(choices) > 1)
        self._choices = np.array([ELEMENTS.index(name) for name in choices])
        swaps = [name in ("r90", "r270", "hvt", "t") for name in choices]
        self.turns = any(swaps)
        if shape.height != shape.width and self.turns:
            if not all(swaps):
                raise CannotMatchError(f"turns only some of the pictures, which are not square ({shape.height} x {shape.width})")
            self.output_shape = Shape(shape.width, shape.height, shape.channels)
        self._matrices = _symmetries(shape.height, shape.width)

    def draw(self, uniforms: Uniforms) -> Turn:
        if self.num_uniforms == 0:
            return Turn(np.broadcast_to(self._choices, len(uniforms)))
        return Turn(self._choices[whole(uniforms[:, 0], 0, len(self._choices) - 1)])

    def moves(self, params: Turn) -> Moves:
        return Moves.alike(self._matrices[params.element])


def _symmetries(height: int, width: int) -> Matrices:
    """[8, 3, 3] in the order of `ELEMENTS`."""
    right, bottom = width - 1, height - 1
    rows = [
        [[1, 0, 0], [0, 1, 0]],
        [[0, 1, 0], [-1, 0, right]],
        [[-1, 0, right], [0, -1, bottom]],
        [[0, -1, bottom], [1, 0, 0]],
        [[1, 0, 0], [0, -1, bottom]],
        [[0, -1, bottom], [-1, 0, right]],
        [[-1, 0, right], [0, 1, 0]],
        [[0, 1, 0], [1, 0, 0]],
    ]
    return np.array([[*top, [0, 0, 1]] for top in rows], np.float64)


@dataclass(frozen=True)
class Shift:
    """left, top: [B] where the picture's corner pixel goes."""

    left: Indices
    top: Indices


class Placement(GeometricTransform):
    """A window of fixed size over the picture, which may reach beyond it.

    Args:
        size: H', W' of the window.
        draw_shift: from [B, 4] uniforms.
        inside: whether the window never reaches beyond the picture.
    """

    exact = True
    num_uniforms = 4

    def __init__(
        self, shape: Shape, size: tuple[int, int], draw_shift: Callable[[Uniforms], Shift], border: Border, *, inside: bool
    ) -> None:
        super().__init__(shape)
        self.output_shape = Shape(*size, shape.channels)
        self.border, self.inside, self._draw_shift = border, inside, draw_shift

    def draw(self, uniforms: Uniforms) -> Shift:
        return self._draw_shift(uniforms)

    def moves(self, params: Shift) -> Moves:
        matrices = np.tile(np.eye(3), (len(params.left), 1, 1))
        matrices[:, 0, 2], matrices[:, 1, 2] = params.left, params.top
        return Moves.alike(matrices)


def pad_if_needed(transform: Any, shape: Shape) -> Placement:
    """Of albumentations' PadIfNeeded."""
    height = _needed(shape.height, transform.min_height, transform.pad_height_divisor)
    width = _needed(shape.width, transform.min_width, transform.pad_width_divisor)
    size = (shape.height + height, shape.width + width)

    def shift(uniforms: Uniforms) -> Shift:
        return Shift(*_first_pads((width, height), transform.position, uniforms))

    return Placement(shape, size, shift, border_of(transform, shape), inside=not height and not width)


def pad(transform: Any, shape: Shape) -> Placement:
    """Of albumentations' Pad."""
    given = transform.padding
    left, top, right, bottom = (given,) * 4 if isinstance(given, int) else tuple(given) * 2 if len(given) == 2 else given
    size = (shape.height + top + bottom, shape.width + left + right)

    def shift(uniforms: Uniforms) -> Shift:
        return Shift(np.full(len(uniforms), left), np.full(len(uniforms), top))

    return Placement(shape, size, shift, border_of(transform, shape), inside=size == shape[:2])


def random_crop(transform: Any, shape: Shape) -> Placement:
    """Of albumentations' RandomCrop."""
    return _crop(transform, shape, lambda room, uniforms: np.floor((room + 1) * uniforms).astype(np.int64))


def center_crop(transform: Any, shape: Shape) -> Placement:
    """Of albumentations' CenterCrop."""
    return _crop(transform, shape, lambda room, uniforms: np.full(len(uniforms), room // 2))


def _crop(transform: Any, shape: Shape, start: Callable[[int, Uniforms], Indices]) -> Placement:
    size = (transform.height, transform.width)
    pads = max(0, size[1] - shape.width), max(0, size[0] - shape.height)
    if any(pads) and not transform.pad_if_needed:
        raise CannotMatchError(f"is larger ({size[0]} x {size[1]}) than the pictures ({shape.height} x {shape.width})")

    def shift(uniforms: Uniforms) -> Shift:
        x = start(shape.width + pads[0] - size[1], uniforms[:, 0])
        y = start(shape.height + pads[1] - size[0], uniforms[:, 1])
        left, top = _first_pads(pads, transform.pad_position, uniforms[:, 2:])
        return Shift(left - x, top - y)

    return Placement(shape, size, shift, border_of(transform, shape), inside=not any(pads))


def crop(transform: Any, shape: Shape) -> Placement:
    """Of albumentations' Crop."""
    size = (transform.y_max - transform.y_min, transform.x_max - transform.x_min)
    pads = max(0, transform.x_max - shape.width), max(0, transform.y_max - shape.height)
    if any(pads) and not transform.pad_if_needed:
        raise CannotMatchError(f"reaches beyond the pictures ({shape.height} x {shape.width})")

    def shift(uniforms: Uniforms) -> Shift:
        left, top = _first_pads(pads, transform.pad_position, uniforms)
        return Shift(left - transform.x_min, top - transform.y_min)

    return Placement(shape, size, shift, border_of(transform, shape), inside=not any(pads))


def _needed(size: int, least: int | None, divisor: int | None) -> int:
    if least is not None:
        return max(0, least - size)
    return -size % divisor if divisor is not None else 0


def _first_pads(totals: tuple[int, int], position: str, uniforms: Uniforms) -> tuple[Indices, Indices]:
    """[B] left and top pads, given the total ones along x, y."""
    width, height = totals
    if position == "random":
        return whole(uniforms[:, 0], 0, width), whole(uniforms[:, 1], 0, height)
    left = {"center": width // 2}.get(position, width if position.endswith("right") else 0)
    top = {"center": height // 2}.get(position, height if position.startswith("bottom") else 0)
    return np.full(len(uniforms), left), np.full(len(uniforms), top)
