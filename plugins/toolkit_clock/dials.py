"""How drawn dials look: outlines, marks, numerals and hands as polygons in dial units.

Dial units: the dial's radius is 1, the origin its middle, 12 o'clock at (0, -1), y downwards. Everything is a polygon, so that one
homography takes a whole clock into the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

Polygon = npt.NDArray[np.float64]
"""[points, 2] x, y in dial units."""
Styles = Literal["train", "held_back", "single"]
Range = tuple[float, float]
HandShape = Callable[[float, float, float], list[Polygon]]
"""(length, half width, tail) -> polygons of a hand that points to 12."""

ROMAN = ("I", "II", "III", "IIII", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII")


@dataclass(frozen=True)
class Stock:
    """What a clock's looks are drawn from: names in the tables below, and ranges.

    dark_faces: share of the faces that are dark with light ink; without a face (outline `none`) the surroundings decide.
    minute_length: of the minute hand, in dial units; hour_length: of the hour hand, in minute hands.
    minute_half: half the minute hand's width, in dial units; hour_half: half the hour hand's, in those of the minute hand.
    tail: of both hands behind the middle; numeral_heights: one of them; both in dial units.
    variety: how often numerals stand radially, print and hands are paler than the ink, and second hands, subdials, brands and inner
        rings occur: 1 as usual, 0 never.
    """

    fonts: tuple[str, ...]
    hands: tuple[str, ...]
    outlines: tuple[str, ...]
    marks: tuple[str, ...]
    numerals: tuple[str, ...]
    dark_faces: float = 0.25
    minute_length: Range = (0.72, 0.92)
    hour_length: Range = (0.5, 0.66)
    minute_half: Range = (0.02, 0.04)
    hour_half: Range = (1.25, 1.9)
    tail: Range = (0.0, 0.16)
    numeral_heights: tuple[float, ...] = (0.13, 0.16, 0.19)
    variety: float = 1.0


STOCKS: dict[Styles, Stock] = {
    "train": Stock(
        fonts=("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral", "STIXGeneralBol", "DejaVuSans-Oblique"),
        hands=("bar", "taper", "lance", "arrow", "baton", "spade", "syringe"),
        outlines=("circle", "circle", "circle", "rounded_square", "none"),
        marks=("lines", "hour_lines", "dots", "bold_hours", "none"),
        numerals=("arabic", "arabic", "arabic", "quarters", "roman", "roman", "roman_quarters", "none"),
    ),
    "held_back": Stock(
        fonts=("cmss10", "cmr10", "cmb10", "cmtt10"),
        hands=("leaf", "breguet", "sword"),
        outlines=("circle", "octagon"),
        marks=("wedges", "railway"),
        numerals=("arabic", "arabic", "quarters", "roman", "roman_quarters", "none"),
    ),
    "single": Stock(
        fonts=("DejaVuSans",),
        hands=("taper",),
        outlines=("circle",),
        marks=("bold_hours",),
        numerals=("arabic",),
        dark_faces=0.0,
        minute_length=(0.85, 0.85),
        hour_length=(0.6, 0.6),
        minute_half=(0.028, 0.028),
        hour_half=(1.5, 1.5),
        tail=(0.1, 0.1),
        numeral_heights=(0.16,),
        variety=0.0,
    ),
}


def turned(polygon: Polygon, turn: float) -> Polygon:
    """The polygon turned clockwise about the origin by `turn` full turns."""
    c, s = np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)
    return np.asarray(polygon @ np.array([[c, s], [-s, c]]))


def disc(radius: float, middle: tuple[float, float] = (0.0, 0.0), points: int = 48) -> Polygon:
    """A filled circle."""
    angle = np.arange(points) * 2 * np.pi / points
    return np.asarray(np.stack([np.sin(angle), -np.cos(angle)], 1) * radius + middle)


def _corners(power: float, points: int = 96) -> Polygon:
    """A superellipse that touches the unit circle's bounding square: 2 is the circle, more is squarer."""
    x, y = disc(1.0, points=points).T
    return np.asarray(np.stack([x, y], 1) / ((np.abs(x) ** power + np.abs(y) ** power) ** (1 / power))[:, None])


OUTLINES: dict[str, Polygon] = {
    "circle": disc(1.0, points=96),
    "rounded_square": _corners(6.0),
    "octagon": turned(disc(1.06, points=8), 1 / 16),
    "none": disc(1.0, points=96),
}
"""The dial's edge; of `none` neither rim nor face is drawn."""


def _kite(*points: tuple[float, float]) -> Polygon:
    """A polygon symmetric about the axis, from its right half (x, y upwards), first to last from bottom to top."""
    right = np.array(points) * (1, -1)
    return np.concatenate([right, right[::-1] * (-1, 1)])


def _bar(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((half, -tail), (half, length))]


def _taper(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((1.2 * half, -tail), (0.25 * half, length))]


def _lance(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((0.3 * half, -tail), (1.3 * half, 0.25 * length), (0.05 * half, length))]


def _baton(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((half, -tail), (half, length - 1.5 * half), (0.0, length))]


def _arrow(length: float, half: float, tail: float) -> list[Polygon]:
    head = min(5 * half, 0.3 * length)
    return [_kite((0.5 * half, -tail), (0.5 * half, length - head)), _kite((1.9 * half, length - head), (0.0, length))]


def _spade(length: float, half: float, tail: float) -> list[Polygon]:
    shaft = _kite((0.5 * half, -tail), (0.5 * half, 0.62 * length))
    return [shaft, _kite((0.5 * half, 0.6 * length), (1.8 * half, 0.7 * length), (1.4 * half, 0.8 * length), (0.0, length))]


def _syringe(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((0.4 * half, -tail), (half, 0.1 * length), (half, 0.6 * length), (0.3 * half, 0.7 * length), (0.2 * half, length))]


def _leaf(length: float, half: float, tail: float) -> list[Polygon]:
    along = np.linspace(0, 1, 9)
    bulge = half * (0.35 + 1.15 * np.sin(np.pi * along) ** 1.5) * (1 - 0.9 * along**6)
    return [_kite((0.4 * half, -tail), *zip(bulge.tolist(), (along * length).tolist(), strict=True))]


def _breguet(length: float, half: float, tail: float) -> list[Polygon]:
    ring = 1.9 * half
    return [
        _kite((0.55 * half, -tail), (0.45 * half, 0.62 * length)),
        disc(ring, (0, -(0.62 * length + ring)), 24),
        _kite((0.5 * half, 0.62 * length + 2 * ring), (0.0, length)),
    ]


def _sword(length: float, half: float, tail: float) -> list[Polygon]:
    return [_kite((0.5 * half, -tail), (0.5 * half, 0.2 * length), (1.4 * half, 0.75 * length), (0.0, length))]


HANDS: dict[str, HandShape] = {
    "bar": _bar, "taper": _taper, "lance": _lance, "arrow": _arrow, "baton": _baton, "spade": _spade, "syringe": _syringe,
    "leaf": _leaf, "breguet": _breguet, "sword": _sword,
}  # fmt: skip


def _line(outer: float, inner: float, half: float, at_min: float) -> Polygon:
    return turned(_kite((half, inner), (half, outer)), at_min / 60)


@lru_cache(maxsize=256)
def marks(kind: str, weight: int) -> tuple[Polygon, ...]:
    """The ring of marks at the minutes or hours; none overlaps another.

    weight: 0 fine, 1 medium, 2 bold.
    """
    thin, bold = 0.006 + 0.003 * weight, 0.014 + 0.007 * weight
    minutes, hours = [m for m in range(60) if m % 5], range(0, 60, 5)
    match kind:
        case "lines":
            return tuple(_line(0.94, 0.88 if m % 5 else 0.84, thin if m % 5 else 1.6 * thin, m) for m in range(60))
        case "bold_hours":
            return tuple(_line(0.94, 0.9, thin, m) for m in minutes) + tuple(_line(0.94, 0.83, bold, m) for m in hours)
        case "hour_lines":
            return tuple(_line(0.94, 0.8, bold, m) for m in hours)
        case "dots":
            return tuple(turned(disc(1.6 * bold, (0, -0.9), 12), m / 60) for m in hours)
        case "wedges":
            return tuple(turned(_kite((0.3 * bold, 0.8), (1.8 * bold, 0.94)), m / 60) for m in hours)
        case "railway":
            rungs = [_line(0.945, 0.885, thin, m) for m in minutes] + [_line(0.945, 0.865, bold, m) for m in hours]
            return (*rungs, disc(0.965, points=96), disc(0.955, points=96))  # two circles even-odd: a ring
    return ()


@lru_cache(maxsize=512)
def words(text: str, font: str) -> tuple[Polygon, ...]:
    """The outline of a text of height 1, its middle at the origin; holes by the even-odd rule."""
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    path = TextPath((0, 0), text, size=32, prop=FontProperties(fname=file))
    outlines = [np.asarray(polygon)[:-1] for polygon in path.to_polygons(closed_only=True)]
    every = np.concatenate(outlines)
    low, high = every.min(0), every.max(0)
    return tuple((polygon - (low + high) / 2) / (high[1] - low[1]) * (1, -1) for polygon in outlines)


@lru_cache(maxsize=1024)
def numerals(kind: str, font: str, height: float, radius: float, radial: bool) -> tuple[Polygon, ...]:
    """The numerals around the dial.

    kind: `arabic` 1 to 12, `quarters` 12 3 6 9, `roman` I to XII, `roman_quarters`.
    radial: each stands with its foot to the middle; otherwise all are upright.
    """
    texts = ROMAN if kind.startswith("roman") else tuple(map(str, range(1, 13)))
    placed: list[Polygon] = []
    for hour, text in enumerate(texts, start=1):
        if kind.endswith("quarters") and hour % 3:
            continue
        turn = hour / 12
        place = np.array([np.sin(2 * np.pi * turn), -np.cos(2 * np.pi * turn)]) * radius
        squeeze = np.array([min(1.0, 2.6 / len(text)), 1.0]) if kind.startswith("roman") else 1.0  # VIII is as wide as it may be
        for polygon in words(text, font):
            shape = polygon * squeeze * height
            placed.append((turned(shape, turn) if radial else shape) + place)
    return tuple(placed)
