"""`synthetic_clocks`: drawn analog clocks, to learn from where no photographs are to be had."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from annotated_types import Ge, Le

from toolkit.data.sample import Dataset, Pixels, Sample, Split
from toolkit_clock.dials import HANDS, OUTLINES, STOCKS, Polygon, Stock, Styles, disc, marks, numerals, turned, words
from toolkit_clock.types import HALF_DAY_MIN, ClockInfo, TimeTarget

Strength = Annotated[float, Ge(0), Le(2)]
Floats = npt.NDArray[np.float32]
Colour = npt.NDArray[np.float64]
Homography = npt.NDArray[np.float64]

_STRIDE = 277  # shares no factor with 720: any run of pictures has its times spread over the half day
_LUMA = np.array([0.299, 0.587, 0.114])
_SUBPIXEL_BITS = 4  # OpenCV places corners on a grid of 1/16 pixel
_CAMERA_RADII = 4.0  # distance of the camera from the dial
_UNMARKED_TURN_DEG = 12.0  # where dials are turned further, each has numerals or a mark at 12, so that a person can tell where it is
_SECOND_HALF = 0.25  # half a second hand's width, in half-widths of the minute hand
_DARKEST = np.float32(0.2)  # of the light; at the strongest setting parts of a dial would be black without it
_BRANDS = ("QUARTZ", "Regula", "NORDIC", "Atelier", "SWISS", "Station", "No. 7", "PARIS")


@dataclass(frozen=True)
class Nuisances:
    """How hard the pictures are; each of the strengths from 0 (none) over 1 to 2."""

    turn_deg: float
    tilt_deg: float
    light: float
    noise: float
    clutter: float


class SyntheticClocks(Dataset[TimeTarget]):
    """Drawn clocks: many faces, numerals, marks and hands, turned, tilted, lit, blurred and noisy, before any background.

    The hour hand moves with the minutes; the minute hand stands at the whole minute; some have a second hand. All 720 times are
    equally frequent. Where dials are turned by more than 12 degrees, each has
    numerals or a mark that says where 12 is, so those pictures may be turned further in training. Each picture is drawn when
    asked for and depends on nothing but the options (not on size), split and index, so no picture is in two parts.

    Args:
        size: pictures to train with; the test part has a ninth of it.
        image_size: side of the square pictures in pixels.
        channels: 1 for grey, 3 for colour.
        seed: another one gives other pictures.
        styles: `train`, or `held_back` for fonts, hands and marks that `train` never shows, and octagons for half of the edges;
            `single` is one design: 1 to 12 in a sans-serif, bold hour marks, tapering hands of one length each, dark on a light
            face. Rim, weight of the marks and cap vary.
        turn_deg: dials are turned by up to this much either way.
        tilt_deg: dials are seen from up to this much aside.
        light: strength of shading, glare and shadows.
        noise: strength of noise and blur.
        clutter: strength of the background's patterns and of what stands on the dial besides.
    """

    info: ClockInfo

    def __init__(
        self,
        split: Split,
        /,
        *,
        size: Annotated[int, Ge(1)] = 16_200,
        image_size: Annotated[int, Ge(32)] = 150,
        channels: Literal[1, 3] = 1,
        seed: Annotated[int, Ge(0)] = 0,
        styles: Styles = "train",
        turn_deg: Annotated[float, Ge(0), Le(180)] = 180.0,
        tilt_deg: Annotated[float, Ge(0), Le(60)] = 20.0,
        light: Strength = 1.0,
        noise: Strength = 1.0,
        clutter: Strength = 1.0,
    ) -> None:
        if split not in self.splits:
            raise ValueError(f"synthetic_clocks has no split '{split}'; it has {', '.join(self.splits)}")
        self.split = split
        self.size = size if split == "train" else max(1, size // 9)
        self.seed = seed
        self.stock = STOCKS[styles]
        self.nuisances = Nuisances(turn_deg, tilt_deg, light, noise, clutter)
        self._styles_number = tuple(STOCKS).index(styles)
        self.info = ClockInfo((channels, image_size, image_size))

    def __getitem__(self, index: Any) -> Any:
        """The sample at `index`."""
        index = range(self.size)[index]
        time_min = index * _STRIDE % HALF_DAY_MIN
        rng = np.random.default_rng((self.seed, self._styles_number, self.splits.index(self.split), index))
        channels, image_size, _ = self.info.input_shape
        image = draw_clock(time_min, self.stock, self.nuisances, image_size, channels, rng)
        return Sample(f"{self.split}/{index:05d}", image, TimeTarget(torch.tensor(time_min)))

    def __len__(self) -> int:
        return self.size


def draw_clock(time_min: int, stock: Stock, nuisances: Nuisances, size: int, channels: int, rng: np.random.Generator) -> Pixels:
    """[size, size, channels] one clock that shows `time_min`."""
    dial = _Dial(stock, nuisances, size, channels, rng)
    dial.face()
    dial.hands(time_min)
    return _photographed(dial.canvas, nuisances, rng)


class _Dial:
    """One clock being drawn: its colours and the homography from dial units to pixels, chosen on the way."""

    def __init__(self, stock: Stock, nuisances: Nuisances, size: int, channels: int, rng: np.random.Generator) -> None:
        self.stock, self.nuisances, self.size, self.channels, self.rng = stock, nuisances, size, channels, rng
        self.paper, self.ink, self.around = _colours(stock.dark_faces, rng)
        self.numerals = str(rng.choice(stock.numerals))
        self.marks = str(rng.choice(stock.marks))
        if self.marks == "none" and self.numerals == "none":
            self.numerals = "arabic"
        self.has_pointer = self.numerals == "none" and (nuisances.turn_deg > _UNMARKED_TURN_DEG or rng.random() < 0.5)  # a triangle at 12
        self.to_pixels = self._view()
        self.canvas = _clouds(self.around, size, channels, nuisances.clutter, rng)
        _boards(self.canvas, self.around, nuisances.clutter, rng)

    def _view(self) -> Homography:
        """From dial units to pixels: turned, tilted about an axis in the dial, seen from a few radii away, somewhere in the picture."""
        rng, nuisances = self.rng, self.nuisances
        turn, axis = np.deg2rad(rng.uniform(-nuisances.turn_deg, nuisances.turn_deg)), rng.uniform(0, 2 * np.pi)
        tilt = np.deg2rad(nuisances.tilt_deg) * np.sqrt(rng.random())
        foreshorten = np.diag([np.cos(tilt), 1.0, 1.0])
        foreshorten[2, 0] = np.sin(tilt) / _CAMERA_RADII
        seen = _rotation(axis) @ foreshorten @ _rotation(-axis) @ _rotation(turn)
        edge = _mapped(seen, OUTLINES["circle"])
        low, high = edge.min(0), edge.max(0)
        width, height = high - low
        scale = self.size * rng.uniform(0.74, 0.97) / max(width, height)
        free = (self.size - scale * np.array([width, height])) / 2
        middle = self.size / 2 - 0.5 + rng.uniform(-1, 1, 2) * free * 0.9
        place = np.diag([scale, scale, 1.0])
        place[:2, 2] = middle - scale * (low + high) / 2
        return place @ seen

    def face(self) -> None:
        """Edge, face, marks, numerals and what else stands on the dial."""
        rng, variety = self.rng, self.stock.variety
        often = self.nuisances.clutter * variety
        outline = str(rng.choice(self.stock.outlines))
        if outline == "none":  # nothing but clouds behind it: a board would hide hands of its own colour
            self.canvas = _clouds(self.around, self.size, self.channels, self.nuisances.clutter, rng)
            self.paper = _as_colour(self.canvas.reshape(-1, self.channels).mean(0))
            self.ink = np.full(3, 20.0) if self.paper @ _LUMA > 128 else np.full(3, 235.0)
        else:
            rim = self.paper + rng.uniform(-1, 1) * 90 + rng.uniform(-25, 25, 3) if rng.random() < 0.5 else self.ink
            self._fill([OUTLINES[outline]], rim)
            self._fill([OUTLINES[outline] * (1 - rng.choice((0.015, 0.03, 0.05)))], self.paper)
        if rng.random() < 0.25 * often:
            radius = rng.uniform(0.3, 0.6)
            self._fill([disc(radius), disc(radius - rng.uniform(0.01, 0.03))], self._pale(0.5))  # an inner ring
        printed = self.ink if rng.random() < 1 - 0.3 * variety else self._pale(rng.uniform(0.55, 0.9))
        self._fill(marks(self.marks, int(rng.integers(3))), printed)
        self._numerals(printed)
        if self.has_pointer:
            self._fill([np.array([(-0.09, -0.95), (0.09, -0.95), (0.0, -0.76)])], printed)
        if rng.random() < 0.35 * often:
            brand, height = str(rng.choice(_BRANDS)), rng.uniform(0.06, 0.1)
            side = 1 if rng.random() < 0.5 else -1
            self._fill([polygon * height + (0, 0.36 * side) for polygon in words(brand, self.stock.fonts[0])], self._pale(0.7))
        if rng.random() < 0.12 * often:
            self._subdial()

    def _numerals(self, colour: Colour) -> None:
        if self.numerals == "none":
            return
        rng = self.rng
        height = float(rng.choice(self.stock.numeral_heights))
        radius = 0.9 - height / 2 if self.marks == "none" else 0.77 - height / 2
        radial = bool(rng.random() < (0.75 if self.numerals.startswith("roman") else 0.15) * self.stock.variety)
        self._fill(numerals(self.numerals, str(rng.choice(self.stock.fonts)), height, radius, radial), colour)

    def _subdial(self) -> None:
        radius, middle = self.rng.uniform(0.12, 0.18), (0.0, float(self.rng.choice((-0.42, 0.42))))
        self._fill([disc(radius, middle), disc(0.9 * radius, middle)], self._pale(0.6))
        pointer = turned(np.array([(0.012, 0.0), (0.012, -0.8 * radius), (-0.012, -0.8 * radius), (-0.012, 0.0)]), self.rng.random())
        self._fill([pointer + middle], self._pale(0.6))

    def hands(self, time_min: int) -> None:
        """Hour, minute and perhaps second hand, their shadows and the cap."""
        rng = self.rng
        shape = HANDS[str(rng.choice(self.stock.hands))]
        minute_length = rng.uniform(*self.stock.minute_length)
        hour_length = minute_length * rng.uniform(*self.stock.hour_length)
        minute_half = rng.uniform(*self.stock.minute_half)
        hour_half = minute_half * rng.uniform(*self.stock.hour_half)
        tail = rng.uniform(*self.stock.tail)
        hour = [turned(polygon, time_min / 720) for polygon in shape(hour_length, hour_half, tail)]
        minute = [turned(polygon, time_min % 60 / 60) for polygon in shape(minute_length, minute_half, tail)]
        if rng.random() < 0.35 * self.nuisances.light:
            self._shadow([*hour, *minute], rng.uniform(-0.05, 0.05, 2))
        # A second hand is pale, or red in colour, and lies below: as dark as the minute hand a person could not tell it from that, since
        # at 112 pixels both are a line of a pixel or two.
        accent = None
        if rng.random() < 0.35 * self.stock.variety:
            is_red = self.channels == 3 and rng.random() < 0.5
            accent = np.array([200.0, 30, 30]) if is_red else self._pale(rng.uniform(0.3, 0.6))
            half = _SECOND_HALF * minute_half
            second = [(half, 0.2), (0.6 * half, -rng.uniform(0.7, 0.9))]
            self._fill([turned(np.array([*second, *((-x, y) for x, y in second[::-1])]), rng.integers(60) / 60)], accent)
        colour = self.ink if rng.random() < 1 - 0.2 * self.stock.variety else self._pale(0.85) + rng.uniform(-30, 30, 3)
        for polygon in [*hour, *minute]:
            self._fill([polygon], colour)
        self._fill([disc(rng.uniform(0.03, 0.07), points=20)], colour if accent is None else accent)

    def _shadow(self, polygons: list[Polygon], offset: npt.NDArray[np.float64]) -> None:
        mask = np.zeros((self.size, self.size), np.uint8)
        for polygon in polygons:
            cv2.fillPoly(mask, self._corners([polygon + offset]), 255, cv2.LINE_AA, _SUBPIXEL_BITS)
        mask = cv2.GaussianBlur(mask, (0, 0), max(0.5, self.size / 120))
        dimmed = self.canvas * (1 - mask[..., None].astype(np.float32) * (self.rng.uniform(0.15, 0.4) / 255))
        self.canvas = dimmed.astype(np.uint8)

    def _fill(self, polygons: list[Polygon] | tuple[Polygon, ...], colour: Colour) -> None:
        if polygons:
            cv2.fillPoly(self.canvas, self._corners(polygons), _in_channels(colour, self.channels), cv2.LINE_AA, _SUBPIXEL_BITS)

    def _corners(self, polygons: list[Polygon] | tuple[Polygon, ...]) -> list[npt.NDArray[np.int32]]:
        pixels = np.rint(_mapped(self.to_pixels, np.concatenate(polygons)) * 2**_SUBPIXEL_BITS).astype(np.int32)
        return np.split(pixels, np.cumsum([len(polygon) for polygon in polygons])[:-1])

    def _pale(self, share: float) -> Colour:
        """Between paper (0) and ink (1)."""
        return self.paper + (self.ink - self.paper) * share


def _colours(dark_faces: float, rng: np.random.Generator) -> tuple[Colour, Colour, Colour]:
    """Of the face, of what is printed and the hands, and of the surroundings; the share `dark_faces` has light ink on dark."""
    light, dark = rng.uniform(165, 250), rng.uniform(5, 70)
    paper, ink = (light, dark) if rng.random() < 1 - dark_faces else (dark, light)
    return paper + rng.uniform(-18, 18, 3), ink + rng.uniform(-18, 18, 3), rng.uniform(20, 240) + rng.uniform(-35, 35, 3)


def _clouds(colour: Colour, size: int, channels: int, clutter: float, rng: np.random.Generator) -> Pixels:
    """A background that varies around `colour`."""
    coarse = rng.normal(0, 1, (int(rng.integers(2, 7)), int(rng.integers(2, 7)))).astype(np.float32)
    cloud = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)[..., None] * (rng.uniform(4, 28) * clutter)
    tint = np.array(_in_channels(colour, channels), dtype=np.float32)
    canvas: Pixels = np.ascontiguousarray(np.clip(cloud + tint, 0, 255).astype(np.uint8))
    return canvas


def _boards(canvas: Pixels, colour: Colour, clutter: float, rng: np.random.Generator) -> None:
    """Now and then rectangles around `colour` on the background."""
    size, _, channels = canvas.shape
    for _ in range(rng.integers(0, 5) if rng.random() < 0.6 * clutter else 0):
        first, second = rng.uniform(-0.2, 1.2, (2, 2)) * size
        shade = _in_channels(colour + rng.uniform(-80, 80) * clutter, channels)
        corners = np.rint([first, (second[0], first[1]), second, (first[0], second[1])]).astype(np.int32)
        cv2.fillPoly(canvas, [corners @ _quarter(rng)], shade)


def _photographed(canvas: Pixels, nuisances: Nuisances, rng: np.random.Generator) -> Pixels:
    """Light that falls from one side, glare, blur and noise."""
    size = len(canvas)
    picture = canvas.astype(np.float32)
    x, y = np.linspace(-1, 1, size, dtype=np.float32), np.linspace(-1, 1, size, dtype=np.float32)[:, None]
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35) * nuisances.light
    side = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    shading = 1 + np.float32(strength) * side - np.float32(rng.uniform(0, 0.3) * nuisances.light)
    picture *= np.maximum(shading, _DARKEST)[..., None]
    if rng.random() < 0.3 * nuisances.light:
        (at_x, at_y), (wide, high) = rng.uniform(-0.7, 0.7, 2).astype(np.float32), rng.uniform(0.1, 0.5, 2).astype(np.float32)
        glare = np.exp(-(((x - at_x) / wide) ** 2) - ((y - at_y) / high) ** 2)[..., None]
        picture += (255 - picture) * glare * np.float32(rng.uniform(0.1, 0.5))
    blur = rng.uniform(0, 1.0) ** 2 * nuisances.noise * size / 120
    if blur > 0.2:
        picture = cv2.GaussianBlur(picture, (0, 0), blur).reshape(canvas.shape)
    picture += rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(0, 14) * nuisances.noise)
    return np.clip(picture, 0, 255).astype(np.uint8)


def _rotation(angle: float) -> Homography:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _mapped(homography: Homography, points: Polygon) -> Polygon:
    moved = points @ homography[:, :2].T + homography[:, 2]
    return np.asarray(moved[:, :2] / moved[:, 2:])


def _quarter(rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Now and then rows and columns swapped, so that boards stand as well as lie."""
    return np.array([[0, 1], [1, 0]] if rng.random() < 0.5 else [[1, 0], [0, 1]], dtype=np.int32)


def _in_channels(colour: Colour, channels: int) -> tuple[float, ...]:
    kept = np.clip(colour, 0, 255)
    return tuple(kept.tolist()) if channels == 3 else (float(kept @ _LUMA),)


def _as_colour(values: npt.NDArray[Any]) -> Colour:
    return np.broadcast_to(values, 3).astype(np.float64)
