"""`synthetic_shapes`: drawn pictures of ten shapes, for trying the toolkit without any data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Le

from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit_classification.types import ClassificationInfo, LabelTarget

Floats = npt.NDArray[np.floating[Any]]
Contour = npt.NDArray[np.float64]  # [points, 2] x, y within the unit circle, y downwards

_FINER = 4  # shapes are filled on a grid this much finer and averaged down: smooth edges, the same on every machine
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_LEAST_CONTRAST = 80.0  # difference of luma (of 255) between shape and background, so that the shape can always be seen


class SyntheticShapes(Dataset[LabelTarget]):
    """Drawn pictures of ten shapes, of any colour, place and size, turned by up to 34 degrees, over gradients, patterns, clutter and noise.

    Each picture is drawn when asked for and depends on nothing but split, index and the options other than size.

    Args:
        size: pictures to train with; the test part has a quarter of it.
        image_size: side of the square pictures in pixels.
        channels: 3 for colour, 1 for grey.
        seed: another one gives other pictures.
        variation: how much place, size, turn, background and noise vary; at 1 a network without batch norm needs many epochs to begin
            learning, at 0 only colours differ.
    """

    info: ClassificationInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        size: Annotated[int, Ge(1)] = 4000,
        image_size: Annotated[int, Ge(16)] = 32,
        channels: Literal[1, 3] = 3,
        seed: Annotated[int, Ge(0)] = 0,
        variation: Annotated[float, Ge(0), Le(1)] = 1.0,
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"synthetic_shapes has no split '{split}'; it has {', '.join(self.splits)}")
        self.split = split
        self.size = size if split == "train" else max(1, size // 4)
        self.image_size = image_size
        self.seed = seed
        self.variation = variation
        self.info = ClassificationInfo((channels, image_size, image_size), tuple(SHAPES))

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`: shape number `index % 10`, so that all are equally frequent."""
        index = range(self.size)[index]
        label = index % len(SHAPES)
        rng = np.random.default_rng((self.seed, self.splits.index(self.split), index))
        picture = _draw(list(SHAPES.values())[label], self.image_size, self.variation, rng)
        if self.info.input_shape[0] == 1:
            picture = np.asarray(picture @ _LUMA, dtype=np.float32)[..., None]
        image: Pixels = np.clip(picture, 0, 255).astype(np.uint8)
        return Sample(f"{self.split}/{index:05d}", image, LabelTarget(torch.tensor(label)))

    def __len__(self) -> int:
        return self.size


def _draw(contours: tuple[Contour, ...], size: int, variation: float, rng: np.random.Generator) -> Floats:
    """[size, size, 3] in about 0 .. 255."""
    background, color = _two_colors(rng)
    picture = background + variation * (_background(background, size, rng) - background)
    cover = _cover(contours, size, variation, rng)[..., None]  # [size, size, 1]
    shading = 1 + variation * rng.uniform(0.0, 0.25) * _ramp(size, rng)[..., None]
    picture = picture * (1 - cover) + color * shading * cover
    return picture + variation * rng.normal(0, rng.uniform(2, 14), picture.shape).astype(np.float32)


def _two_colors(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Colours of background and shape, told apart by their luma alone, so that grey pictures work as well."""
    while True:
        first, second = rng.uniform(15, 240, (2, 3)).astype(np.float32)
        if abs(float((first - second) @ _LUMA)) >= _LEAST_CONTRAST:
            return first, second


def _background(color: Floats, size: int, rng: np.random.Generator) -> Floats:
    """A gradient with one of four patterns on it and a few strokes of clutter; luma stays near that of `color`."""
    amplitude = rng.uniform(4, 16)
    wave = np.sin(_ramp(size, rng) * rng.uniform(4, 14))
    patterns: tuple[Callable[[], Floats], ...] = (
        lambda: np.zeros((size, size), dtype=np.float32),
        lambda: wave,
        lambda: np.sign(wave * np.sin(_ramp(size, rng) * rng.uniform(4, 14))),
        lambda: cv2.resize(rng.normal(0, 1, (5, 5)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC),
    )
    pattern = patterns[rng.integers(len(patterns))]()
    picture = color + 20 * _ramp(size, rng)[..., None] + amplitude * pattern[..., None]
    for _ in range(rng.integers(0, 5)):
        ends = rng.integers(0, size, (2, 2))
        tint = color + rng.uniform(-45, 45, 3)
        cv2.line(picture, tuple(map(int, ends[0])), tuple(map(int, ends[1])), tint.tolist(), max(1, size // 32))
    return picture


def _ramp(size: int, rng: np.random.Generator) -> Floats:
    """[size, size] rising from about -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return np.float32(np.cos(angle)) * axis + np.float32(np.sin(angle)) * axis[:, None]


def _cover(contours: tuple[Contour, ...], size: int, variation: float, rng: np.random.Generator) -> Floats:
    """[size, size] in 0 .. 1: how much of each pixel the shape covers, somewhere wholly inside the picture."""
    angle, radius = variation * rng.uniform(-0.6, 0.6), size * (0.34 + variation * rng.uniform(-0.08, 0.08))
    stretch = np.diag(1 - variation * rng.uniform(0.0, 0.15, 2))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    room = size / 2 - radius
    center = size / 2 + variation * rng.uniform(-room, room, 2)
    finer = [np.rint((contour @ stretch @ turn * radius + center) * _FINER).astype(np.int32) for contour in contours]
    mask = np.zeros((size * _FINER, size * _FINER), dtype=np.uint8)
    cv2.fillPoly(mask, finer, 255)  # even-odd: a second contour is a hole
    return np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA), dtype=np.float32) / 255


def _polar(radius: Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64] | float], points: int = 72) -> Contour:
    """The closed curve radius(angle), starting at the top."""
    angle = np.arange(points) * 2 * np.pi / points
    distance = np.broadcast_to(radius(angle), angle.shape)
    return np.stack([distance * np.sin(angle), -distance * np.cos(angle)], axis=1)


def _spikes(points: int, inner: float) -> Contour:
    corners = _polar(lambda angle: 1.0, 2 * points)
    corners[1::2] *= inner
    return corners


def _cross(half_width: float = 0.3, reach: float = 0.95) -> Contour:
    """A plus sign: one arm's three corners, turned by four quarters."""
    arm = np.array([(-half_width, -reach), (half_width, -reach), (half_width, -half_width)])
    quarter_turn = np.array([(0, 1), (-1, 0)])
    return np.concatenate([arm @ np.linalg.matrix_power(quarter_turn, n) for n in range(4)])


def _crescent(shift: float = 0.5, inner: float = 0.78) -> Contour:
    """A unit disc less a smaller one moved to its right; moved back so that its middle lies near the origin."""
    x = (shift**2 + 1 - inner**2) / (2 * shift)  # where the circles cross
    y = np.sqrt(1 - x**2)
    outer_end, inner_end = np.arctan2(y, x), np.arctan2(y, x - shift)
    outer = np.linspace(outer_end, 2 * np.pi - outer_end, 48)
    back = np.linspace(2 * np.pi - inner_end, inner_end, 48)
    arcs = [np.stack([np.cos(outer), np.sin(outer)], axis=1), np.stack([np.cos(back), np.sin(back)], axis=1) * inner + (shift, 0)]
    return np.concatenate(arcs)


def _heart() -> Contour:
    t = np.arange(72) * 2 * np.pi / 72
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -(y + 2.5)], axis=1) / 18.21  # its farthest point lies on the unit circle


_ARROW = np.array([(1.0, 0.0), (0.1, -0.75), (0.1, -0.27), (-0.95, -0.27), (-0.95, 0.27), (0.1, 0.27), (0.1, 0.75)])

SHAPES: dict[str, tuple[Contour, ...]] = {
    "circle": (_polar(lambda angle: 0.9),),
    "square": (_polar(lambda angle: 1.0, 4),),
    "triangle": (_polar(lambda angle: 1.0, 3),),
    "star": (_spikes(5, 0.42),),
    "cross": (_cross(),),
    "ring": (_polar(lambda angle: 0.95), _polar(lambda angle: 0.5)),
    "crescent": (_crescent(),),
    "heart": (_heart(),),
    "arrow": (_ARROW,),
    "flower": (_polar(lambda angle: 0.74 + 0.24 * np.cos(6 * angle)),),
}
"""Name -> contours of the shape; their order is that of the labels."""
