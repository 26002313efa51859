"""The steps of a plan, and those that change values rather than places."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from toolkit.data.device_transforms.choices import Switch
from toolkit.data.device_transforms.contract import Active, Levels, LevelTransform, Matrices, PixelTransform
from toolkit.data.device_transforms.draws import Indices, Uniforms
from toolkit.data.device_transforms.kernels import apply_levels, to_device
from toolkit.data.tree import map_leaves


class Pictures(NamedTuple):
    """images: [B, H, W, C] uint8. masks: [B, M, H, W] uint8, or None. points: [B, 3, 3] where the step took points, None: nowhere."""

    images: Tensor
    masks: Tensor | None
    points: Matrices | None = None


class Step(ABC):
    """Something done to a whole batch at once."""

    @abstractmethod
    def apply(self, pictures: Pictures, uniforms: Uniforms, switches: Sequence[Switch]) -> Pictures:
        """The batch afterwards; nothing given is written to."""


@dataclass(frozen=True)
class PixelStep(Step):
    """One transform of values. number: its switch. columns: its random numbers."""

    transform: PixelTransform
    number: int
    columns: slice

    def apply(self, pictures: Pictures, uniforms: Uniforms, switches: Sequence[Switch]) -> Pictures:
        images, masks, _ = pictures
        params, active = self.transform.draw(uniforms[:, self.columns]), switches[self.number]
        if active is None or active.all():
            return Pictures(self.transform.apply(images, params).contiguous(), _masked(self.transform, masks, params))
        rows = np.flatnonzero(active)
        if not len(rows):
            return Pictures(images, masks)
        params = map_leaves(np.ndarray, lambda array: array[rows], params)
        places = to_device(rows, images)
        changed = self.transform.apply(images.index_select(0, places), params)
        some = None if masks is None else masks.index_select(0, places)
        changed_masks = _masked(self.transform, some, params)
        if masks is not None and changed_masks is not None and changed_masks is not some:
            masks = masks.index_copy(0, places, changed_masks)
        return Pictures(images.index_copy(0, places, changed), masks)


@dataclass(frozen=True)
class LevelStep(Step):
    """Neighbouring transforms of levels, as one table per sample; the same bytes as one after the other."""

    parts: list[tuple[LevelTransform, int, slice]]

    def apply(self, pictures: Pictures, uniforms: Uniforms, switches: Sequence[Switch]) -> Pictures:
        images = pictures.images
        rows = self._rows(len(images), switches)
        if not len(rows):
            return Pictures(images, pictures.masks)
        table = self._table(uniforms, switches, rows)
        if len(rows) == len(images):
            return Pictures(apply_levels(images, table), pictures.masks)
        places = to_device(rows, images)
        return Pictures(images.index_copy(0, places, apply_levels(images.index_select(0, places), table)), pictures.masks)

    def _rows(self, count: int, switches: Sequence[Switch]) -> Indices:
        """The samples that anything is done to."""
        active = [switches[number] for _, number, _ in self.parts]
        found: list[Active] = [one for one in active if one is not None]
        return np.arange(count) if len(found) < len(active) else np.flatnonzero(np.logical_or.reduce(found))

    def _table(self, uniforms: Uniforms, switches: Sequence[Switch], rows: Indices) -> Levels:
        same = np.broadcast_to(np.arange(256, dtype=np.uint8), (len(rows), 256))
        table: Levels = same
        for transform, number, columns in self.parts:
            levels, active = transform.levels(transform.draw(uniforms[rows, columns])), switches[number]
            levels = levels if active is None else np.where(active[rows, None], levels, same)
            table = levels if table is same else np.take_along_axis(levels, table, 1)
        return table


def append_pixel_step(steps: list[Step], transform: PixelTransform, number: int, columns: slice) -> None:
    """Add the transform to a list of steps, to the last one where both are tables of levels."""
    if not isinstance(transform, LevelTransform):
        steps.append(PixelStep(transform, number, columns))
    elif steps and isinstance(steps[-1], LevelStep):
        steps[-1].parts.append((transform, number, columns))
    else:
        steps.append(LevelStep([(transform, number, columns)]))


def _masked(transform: PixelTransform, masks: Tensor | None, params: Any) -> Tensor | None:
    return None if masks is None else transform.apply_to_mask(masks, params)
