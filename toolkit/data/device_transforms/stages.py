"""Neighbouring geometric transforms joined: whole pixels are gathered once, everything else is resampled once."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from torch import Tensor

from toolkit.data.device_transforms.choices import Switch
from toolkit.data.device_transforms.contract import Active, GeometricTransform, Matrices, Moves, Shape
from toolkit.data.device_transforms.draws import Indices, Uniforms
from toolkit.data.device_transforms.kernels import gather, is_native, resize, warp
from toolkit.data.device_transforms.steps import Pictures, Step


@dataclass(frozen=True)
class Placed:
    """A transform's place in the list.

    Args:
        number: which switch says for each sample whether it is applied.
        columns: which of the sample's uniform numbers are its own.
    """

    transform: GeometricTransform
    number: int
    columns: slice

    def moves(self, uniforms: Uniforms, switches: Sequence[Switch]) -> Moves:
        """Of all samples: where they are not switched on, nowhere."""
        transform = self.transform
        moves = transform.moves(transform.draw(uniforms[:, self.columns]))
        active = switches[self.number]
        return moves if active is None else _only(moves, active, transform.shape)


class GeometricStage(Step):
    """Several geometric transforms done in one go."""

    def __init__(self, first: Placed) -> None:
        self.placed = [first]

    @property
    def output_shape(self) -> Shape:
        return self.placed[-1].transform.output_shape

    def apply(self, pictures: Pictures, uniforms: Uniforms, switches: Sequence[Switch]) -> Pictures:
        moves = [placed.moves(uniforms, switches) for placed in self.placed]
        masks = pictures.masks if pictures.masks is None else self.move_masks(pictures.masks, moves)
        return Pictures(self.move_images(pictures.images, moves), masks, _product([move.points for move in moves]))

    @abstractmethod
    def accepts(self, transform: GeometricTransform) -> bool:
        """Whether the transform can be done in the same go."""

    @abstractmethod
    def move_images(self, images: Tensor, moves: Sequence[Moves]) -> Tensor:
        """[B, H, W, C] uint8 -> [B, H', W', C]; moves: of each transform."""

    @abstractmethod
    def move_masks(self, masks: Tensor, moves: Sequence[Moves]) -> Tensor:
        """[B, M, H, W] uint8 -> [B, M, H', W']."""


class ExactStage(GeometricStage):
    """Flips, quarter turns, crops and pads: one gather of whole pixels."""

    def accepts(self, transform: GeometricTransform) -> bool:
        fills = {(t.border.fill, t.border.fill_mask) for t in (*(p.transform for p in self.placed), transform) if _fills(t)}
        return transform.exact and len(fills) <= 1  # one gather knows one fill

    def move_images(self, images: Tensor, moves: Sequence[Moves]) -> Tensor:
        return self._gather(images, moves, [placed.transform.border.fill for placed in self.placed])

    def move_masks(self, masks: Tensor, moves: Sequence[Moves]) -> Tensor:
        count = masks.shape[1]
        moves = [Moves.alike(np.repeat(move.pixels, count, axis=0)) for move in moves]
        flat = masks.reshape(-1, *masks.shape[2:], 1)
        moved = self._gather(flat, moves, [(placed.transform.border.fill_mask,) for placed in self.placed])
        return moved.view(len(masks), count, *moved.shape[1:3])

    def _gather(self, images: Tensor, moves: Sequence[Moves], fills: Sequence[Sequence[float]]) -> Tensor:
        origin = _Origin.of(len(images), *self.placed[0].transform.shape[:2])
        fill = None
        for placed, move, its_fill in zip(self.placed, moves, fills, strict=True):
            origin = origin.after(placed.transform, move.pixels)
            fill = its_fill if origin.has_gaps and fill is None else fill
        in_one_piece = all(placed.transform.inside or placed.transform.border.mode == cv2.BORDER_CONSTANT for placed in self.placed)
        return gather(images, origin.rows, origin.columns, origin.transposed, fill, in_one_piece=in_one_piece)


@dataclass(frozen=True)
class _Origin:
    """Where each row and column of a picture comes from.

    Args:
        rows, columns: [B, H'], [B, W'] row and column of the first picture (the other way round where `transposed`); -1: from nowhere.
        transposed: [B].
        size: of the picture now.
    """

    rows: Indices
    columns: Indices
    transposed: Active
    size: tuple[int, int]
    has_gaps: bool = False

    @classmethod
    def of(cls, count: int, height: int, width: int) -> _Origin:
        rows, columns = (np.broadcast_to(np.arange(size), (count, size)) for size in (height, width))
        return cls(rows, columns, np.zeros(count, bool), (height, width))

    def after(self, transform: GeometricTransform, matrices: Matrices) -> _Origin:
        """The same after a transform that takes whole pixels to whole pixels."""
        integers = np.rint(matrices).astype(np.int64)
        swapped = integers[:, 0, 0] == 0
        height, width = transform.output_shape[:2]
        to_row = (integers[:, 1, 0] + integers[:, 1, 1])[:, None]  # one of the two is 0, the other the direction
        to_column = (integers[:, 0, 0] + integers[:, 0, 1])[:, None]
        rows = to_row * (np.arange(height) - integers[:, 1, 2:])
        columns = to_column * (np.arange(width) - integers[:, 0, 2:])
        rows = _looked_up(rows, self.rows, self.columns, swapped, self.size, transform)
        columns = _looked_up(columns, self.columns, self.rows, swapped, self.size[::-1], transform)
        gaps = self.has_gaps or (not transform.inside and transform.border.mode == cv2.BORDER_CONSTANT)
        return _Origin(rows, columns, self.transposed ^ swapped, (height, width), gaps)


def _looked_up(
    places: Indices, along: Indices, across: Indices, swapped: Active, sizes: tuple[int, int], transform: GeometricTransform
) -> Indices:
    """`along[places]`, or `across[places]` where swapped; sizes: of along and across, equal where only some are swapped."""
    if swapped.any():
        along = across if swapped.all() else np.where(swapped[:, None], across, along)
        sizes = sizes[::-1] if swapped.all() else sizes
    if transform.inside:
        return np.take_along_axis(along, places, 1)
    outside = (places < 0) | (places >= sizes[0])
    found = np.take_along_axis(along, _brought_in(places, sizes[0], transform.border.mode), 1)
    return np.where(outside, -1, found) if transform.border.mode == cv2.BORDER_CONSTANT else found


def _brought_in(places: Indices, size: int, mode: int) -> Indices:
    """As cv2.borderInterpolate; for the constant border, any place inside."""
    if mode == cv2.BORDER_WRAP:
        return places % size
    if mode == cv2.BORDER_REFLECT:
        return np.minimum(places % (2 * size), 2 * size - 1 - places % (2 * size))
    if mode == cv2.BORDER_REFLECT_101 and size > 1:
        period = 2 * size - 2
        return np.minimum(places % period, -places % period)
    return np.clip(places, 0, size - 1)


class WarpStage(GeometricStage):
    """One resampling, with whole-pixel transforms before and after it folded into its matrix.

    Two resamplings are not folded into one: what the first leaves outside of its frame is gone for the second, which sees the
    border there; a product of their matrices would bring it back.
    """

    def __init__(self, core: Placed, before: Sequence[Placed] = ()) -> None:
        self.placed = [*before, core]
        self._core = len(before)

    def accepts(self, transform: GeometricTransform) -> bool:
        return transform.exact and transform.inside

    def move_images(self, images: Tensor, moves: Sequence[Moves]) -> Tensor:
        core = self.placed[self._core].transform
        return self._warp(images, moves, [move.pixels for move in moves], core.border.fill, linear=core.linear)

    def move_masks(self, masks: Tensor, moves: Sequence[Moves]) -> Tensor:
        core, count = self.placed[self._core].transform, masks.shape[1]
        flat = masks.reshape(-1, *masks.shape[2:], 1)
        moves = [_repeated(move, count) for move in moves]
        moved = self._warp(flat, moves, [move.nearest for move in moves], (core.border.fill_mask,), linear=False)
        return moved.view(len(masks), count, *moved.shape[1:3])

    def _warp(self, images: Tensor, moves: Sequence[Moves], matrices: Sequence[Matrices], fill: Sequence[float], *, linear: bool) -> Tensor:
        core, size = self.placed[self._core].transform, self.output_shape[:2]
        matrix, windows = _product(matrices), self._windows(moves)
        if self._only_scales and is_native(images):
            height, width = images.shape[1:3]
            whole = np.tile([0, 0, width, height], (len(images), 1))
            flips = np.stack([matrix[:, 0, 0] < 0, matrix[:, 1, 1] < 0], 1)
            return resize(images, size, whole if windows is None else windows, flips, linear=linear)
        return warp(
            images, matrix, size, linear=linear, border_mode=core.border.mode, fill=fill, windows=windows, straight=core.straight
        )  # fmt: skip

    @property
    def _only_scales(self) -> bool:
        """Whether all there is beside the scaling are crops before and flips."""
        around = [placed.transform for i, placed in enumerate(self.placed) if i != self._core]
        after = [placed.transform for placed in self.placed[self._core + 1 :]]
        keep_size = all(transform.output_shape == transform.shape for transform in after)
        return self.placed[self._core].transform.scales and keep_size and not any(transform.turns for transform in around)

    def _windows(self, moves: Sequence[Moves]) -> Indices | None:
        """[B, 4] what of the first picture lies within the frame that the resampling sees; None: all of it."""
        core = self.placed[self._core].transform
        before, windows = moves[: self._core], moves[self._core].windows
        if windows is None:
            if all(placed.transform.output_shape == placed.transform.shape for placed in self.placed[: self._core]):
                return None
            windows = np.tile([0, 0, core.shape.width, core.shape.height], (len(moves[0].pixels), 1))
        if not before:
            return windows
        back = np.linalg.inv(_product([move.pixels for move in before]))
        ends = np.stack([windows[:, :2], windows[:, 2:] - 1], 1) @ back[:, :2, :2].swapaxes(1, 2) + back[:, None, :2, 2]
        seen: Indices = np.rint(np.concatenate([ends.min(1), ends.max(1) + 1], 1)).astype(np.int64)
        return seen


def append_geometric_step(steps: list[Step], placed: Placed) -> None:
    """Add the transform to a list of steps: to the last one, where that gives the same pictures."""
    transform, last = placed.transform, steps[-1] if steps else None
    if isinstance(last, GeometricStage) and last.accepts(transform):
        last.placed.append(placed)
    elif transform.exact:
        steps.append(ExactStage(placed))
    elif isinstance(last, ExactStage) and all(earlier.transform.inside for earlier in last.placed):
        steps[-1] = WarpStage(placed, last.placed)
    else:
        steps.append(WarpStage(placed))


def _fills(transform: GeometricTransform) -> bool:
    return transform.exact and not transform.inside and transform.border.mode == cv2.BORDER_CONSTANT


def _product(matrices: Sequence[Matrices]) -> Matrices:
    """The first is applied first."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return product


def _only(moves: Moves, active: Active, shape: Shape) -> Moves:
    on, still = active[:, None, None], np.eye(3)
    points = np.where(on, moves.points, still)
    pixels = points if moves.pixels is moves.points else np.where(on, moves.pixels, still)
    nearest = points if moves.nearest is moves.points else np.where(on, moves.nearest, still)
    windows = moves.windows
    if windows is not None:
        windows = np.where(active[:, None], windows, [0, 0, shape.width, shape.height])
    return Moves(points, pixels, nearest, windows)


def _repeated(moves: Moves, count: int) -> Moves:
    if count == 1:
        return moves
    windows = None if moves.windows is None else np.repeat(moves.windows, count, axis=0)
    points, pixels, nearest = (np.repeat(matrices, count, axis=0) for matrices in (moves.points, moves.pixels, moves.nearest))
    return Moves(points, pixels, nearest, windows)
