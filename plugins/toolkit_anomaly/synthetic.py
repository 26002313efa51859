"""`synthetic_nuts`: drawn hazelnuts, good ones and ones with a crack, a cut, a hole or a print, each with its mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Le

from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit_anomaly.datasets import regions_of
from toolkit_anomaly.types import GOOD, AnomalyInfo, AnomalyTruth, KindTarget

Floats = npt.NDArray[np.float32]
Generator = np.random.Generator

_FINER = 2  # drawn on a grid this much finer and averaged down, for smooth edges
_SHELL = np.array([0.50, 0.24, 0.13], np.float32)
_CAP = np.array([0.52, 0.37, 0.26], np.float32)
_BACKGROUND = np.array([0.11, 0.11, 0.13], np.float32)
_FLESH = np.array([0.80, 0.66, 0.46], np.float32)
_INK = np.array([0.93, 0.92, 0.90], np.float32)


class SyntheticNuts(Dataset[KindTarget]):
    """Drawn hazelnuts on a dark ground: brown, striped along the axis, with a pale rough cap at one end, turned any way.

    The training part is all good; the test part holds as many good ones as each of crack, cut, hole and print, whose masks are the drawn
    strokes themselves. Each picture is drawn when asked for and depends on nothing but seed, split, index and image_size.

    Args:
        size: pictures to train with; the test part has a quarter of it, at least 10.
        image_size: side of the square pictures in pixels.
        seed: another one gives other nuts.
    """

    info: AnomalyInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        size: Annotated[int, Ge(1)] = 400,
        image_size: Annotated[int, Ge(32), Le(1024)] = 128,
        seed: Annotated[int, Ge(0)] = 0,
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"synthetic_nuts has no split '{split}'; it has {', '.join(self.splits)}")
        self.split = split
        self.size = size if split == "train" else max(10, size // 4)
        self.image_size = image_size
        self.seed = seed
        self.info = AnomalyInfo((3, image_size, image_size), ("good", *_DEFECTS), True)

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`: in the test part of kind `index % 5`, so that all are equally frequent."""
        index = range(self.size)[index]
        kind = GOOD if self.split == "train" else index % (1 + len(_DEFECTS))
        generator = np.random.default_rng((self.seed, self.splits.index(self.split), index))
        nut = _Nut.drawn(self.image_size * _FINER, generator)
        picture, mask = nut.picture, np.zeros(nut.inside.shape, np.float32)
        if kind != GOOD:
            picture, mask = list(_DEFECTS.values())[kind - 1](nut, generator)
        picture, mask = (cv2.resize(array, (self.image_size,) * 2, interpolation=cv2.INTER_AREA) for array in (picture, mask))
        picture = picture + generator.normal(0, 0.008, picture.shape).astype(np.float32)
        image: Pixels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
        label = torch.tensor(kind)
        regions = torch.empty(*image.shape[:2], 0, dtype=torch.int32) if self.split == "train" else regions_of(mask > 0.5)
        name = self.info.kinds[kind]
        return Sample(f"{self.split}/{name}/{index:04d}", image, KindTarget(label), AnomalyTruth(label, regions))

    def __len__(self) -> int:
        return self.size


@dataclass(frozen=True)
class _Nut:
    """A good nut.

    picture: [S, S, 3] in 0 .. 1. inside: [S, S] in 0 .. 1. shade: [S, S] how much light falls there.
    centre, radius, axis: of the nut in pixels, and the angle from base to tip.
    """

    picture: Floats
    inside: Floats
    shade: Floats
    centre: npt.NDArray[np.float64]
    radius: float
    axis: float

    @classmethod
    def drawn(cls, side: int, generator: Generator) -> _Nut:
        """A nut on a picture of `side` pixels."""
        centre = side / 2 + generator.uniform(-0.04, 0.04, 2) * side
        radius, axis = side * generator.uniform(0.32, 0.37), generator.uniform(0, 2 * np.pi)
        y, x = np.mgrid[:side, :side].astype(np.float32)
        x, y = (x - centre[0]) / radius, (y - centre[1]) / radius
        along = np.cos(axis) * x + np.sin(axis) * y  # -1 at the base, 1 at the tip
        across = (-np.sin(axis) * x + np.cos(axis) * y) / generator.uniform(0.86, 0.96)
        tip = 1 + 0.16 * np.clip(along, 0, 1) ** 3 * np.exp(-12 * across**2)  # drawn out a little
        distance = np.sqrt(along**2 + across**2) / tip
        inside = np.clip((1 - distance) * radius / 2, 0, 1).astype(np.float32)
        height = np.sqrt(np.clip(1 - distance**2, 0, 1))
        shade = (0.42 + 0.58 * np.clip(0.85 * height - 0.30 * x - 0.38 * y, 0, 1.1)).astype(np.float32)
        longitude = np.arcsin(np.clip(across / np.sqrt(np.clip(1 - np.clip(along, -0.98, 0.98) ** 2, 0.04, 1)), -1, 1))
        stripes = _curve(generator, 24)((longitude / np.pi + 0.5) * 23)
        grain = _clouds(side, generator, 40) * 0.5 + _clouds(side, generator, 12)
        shell = _SHELL * (1 + (0.16 * stripes + 0.07 * grain)[..., None]) * generator.uniform(0.9, 1.1)
        edge = -0.52 + 0.10 * across**2 + 0.03 * _clouds(side, generator, 16)
        cap = np.clip((edge - along) * 12, 0, 1)[..., None]
        rough = _CAP * (1 + 0.16 * _clouds(side, generator, 64)[..., None])
        surface = (shell * (1 - cap) + rough * cap) * shade[..., None]
        ground = _BACKGROUND * (1 + 0.03 * _clouds(side, generator, 6)[..., None])
        picture = ground * (1 - inside[..., None]) + surface * inside[..., None]
        return cls(picture.astype(np.float32), inside, shade, centre, float(radius), float(axis))

    def places(self, along: Any, across: Any) -> npt.NDArray[np.float64]:
        """Points on the nut, given in radii along and across its axis, as [..., 2] x, y in pixels."""
        along, across = np.asarray(along) * self.radius, np.asarray(across) * self.radius
        x = np.cos(self.axis) * along - np.sin(self.axis) * across
        y = np.sin(self.axis) * along + np.cos(self.axis) * across
        return np.stack([x, y], axis=-1) + self.centre

    def stroked(self, points: npt.NDArray[np.float64], width: float, *, closed: bool = False) -> Floats:
        """[S, S] in 0 .. 1: a line of `width` radii through [N, 2] points, or the area within; only where the nut is."""
        cover = np.zeros(self.inside.shape, np.uint8)
        line = np.rint(points * 8).astype(np.int32)
        if closed:
            cv2.fillPoly(cover, [line], 255, cv2.LINE_AA, shift=3)
        else:
            cv2.polylines(cover, [line], False, 255, max(1, round(width * self.radius)), cv2.LINE_AA, shift=3)
        return np.asarray(cover.astype(np.float32) / 255 * self.inside, np.float32)

    def painted(self, cover: Floats, colour: Any) -> Floats:
        """The picture with `colour` ([3] or [S, S, 3]) laid over it."""
        return np.asarray(self.picture * (1 - cover[..., None]) + colour * cover[..., None], np.float32)


def _crack(nut: _Nut, generator: Generator) -> tuple[Floats, Floats]:
    """A dark jagged gap along the axis, wider in the middle, with a pale broken edge."""
    steps = 14
    along = np.linspace(generator.uniform(-0.55, -0.2), generator.uniform(0.3, 0.7), steps)
    across = generator.uniform(-0.35, 0.35) + np.cumsum(generator.normal(0, 0.035, steps))
    half = generator.uniform(0.035, 0.07) * np.sin(np.linspace(0.15, np.pi - 0.15, steps)) * generator.uniform(0.7, 1.3, steps)
    outline = np.concatenate([nut.places(along, across - half), nut.places(along, across + half)[::-1]])
    gap = nut.stroked(outline, 0, closed=True)
    rim = np.maximum(nut.stroked(nut.places(along, across + 1.2 * half), 0.022) * generator.uniform(0.5, 0.9), gap)
    picture = nut.painted(rim, _FLESH * nut.shade[..., None])
    gap = gap[..., None]
    return np.asarray(picture * (1 - gap) + np.float32(0.05) * gap, np.float32), rim


def _cut(nut: _Nut, generator: Generator) -> tuple[Floats, Floats]:
    """One or two pale straight scratches."""
    cover = np.zeros_like(nut.inside)
    angle, middle = generator.uniform(0, np.pi), generator.uniform(-0.3, 0.3, 2)
    for number in range(generator.integers(1, 3)):
        reach = generator.uniform(0.18, 0.38)
        ends = np.array([-1, 0, 1])
        offset = number * 0.13
        along = middle[0] + ends * reach * np.cos(angle) - offset * np.sin(angle)
        across = middle[1] + ends * reach * np.sin(angle) + offset * np.cos(angle) + np.array([0, 0.02, 0])
        cover = np.maximum(cover, nut.stroked(nut.places(along, across), generator.uniform(0.04, 0.06)))
    return nut.painted(cover, _FLESH * nut.shade[..., None]), cover


def _hole(nut: _Nut, generator: Generator) -> tuple[Floats, Floats]:
    """A round dark hole with a pale frayed rim."""
    middle, radius = generator.uniform(-0.35, 0.35, 2), generator.uniform(0.09, 0.16)
    angle = np.arange(28) * 2 * np.pi / 28
    rings = []
    for wide in (1.0, generator.uniform(0.55, 0.75)):
        away = radius * wide * generator.uniform(0.88, 1.12, 28)
        rings.append(nut.stroked(nut.places(middle[0] + away * np.cos(angle), middle[1] + away * np.sin(angle)), 0, closed=True))
    rim, hole = rings
    picture = nut.painted(rim, _FLESH * nut.shade[..., None])
    return np.asarray(picture * (1 - hole[..., None]) + np.float32(0.05) * hole[..., None], np.float32), rim


def _print(nut: _Nut, generator: Generator) -> tuple[Floats, Floats]:
    """White capital letters, worn in places."""
    side = nut.inside.shape[0]
    text = "".join(generator.choice(list("KOINUTSELH"), generator.integers(3, 5)))
    canvas = np.zeros((side, side), np.uint8)
    scale, thickness = nut.radius / 78, max(1, round(nut.radius * 0.06))
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, thickness)
    cv2.putText(canvas, text, ((side - width) // 2, (side + height) // 2), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, thickness, cv2.LINE_AA)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(generator.uniform(0, 360)), 1.0)
    turn[:, 2] += nut.places(*generator.uniform(-0.2, 0.2, 2)) - side / 2
    ink = cv2.warpAffine(canvas, turn, (side, side)).astype(np.float32) / 255
    worn = np.clip(1.6 + 1.5 * _clouds(side, generator, 14), 0, 1)
    cover = np.asarray(ink * nut.inside * worn, np.float32)
    return nut.painted(cover, _INK * (0.35 + 0.65 * nut.shade[..., None])), cover


def _curve(generator: Generator, knots: int) -> Callable[[Any], Any]:
    """A smooth random function on 0 .. knots - 1, about -1 to 1."""
    values = generator.normal(0, 0.6, knots)
    finer = cv2.resize(values[None], (8 * knots, 1), interpolation=cv2.INTER_CUBIC)[0]
    return lambda places: np.interp(places, np.linspace(0, knots - 1, 8 * knots), finer)


def _clouds(side: int, generator: Generator, cells: int) -> Floats:
    """[side, side] smooth noise of so many cells across the picture, about -1 to 1."""
    noise = generator.normal(0, 0.5, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


_DEFECTS: dict[str, Callable[[_Nut, Generator], tuple[Floats, Floats]]] = {"crack": _crack, "cut": _cut, "hole": _hole, "print": _print}
"""Name -> what draws it on a nut: picture and cover, both on the finer grid; their order is that of the kinds."""
