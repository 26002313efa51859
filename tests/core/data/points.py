"""A target that moves with its picture: one point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from torch import Tensor

from toolkit.data.sample import Target


@dataclass(frozen=True)
class Point(Target):
    moves: ClassVar[bool] = True
    xy: Tensor

    def points(self) -> Tensor:
        return self.xy

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        assert points is not None
        return type(self)(points)
