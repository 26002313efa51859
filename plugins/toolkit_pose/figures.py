"""Articulated figures: a random pose, and a person drawn in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from toolkit_pose.skeletons import LSP_KEYPOINTS

Points = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Color = npt.NDArray[np.floating[Any]]

_K = {name: index for index, name in enumerate(LSP_KEYPOINTS)}
_SKIN = ((255, 219, 187), (234, 190, 150), (198, 145, 105), (141, 92, 60), (92, 58, 38))
_HAIR = ((30, 24, 20), (92, 60, 34), (198, 160, 90), (128, 128, 128), (140, 52, 30))


def random_pose(rng: np.random.Generator) -> Points:
    """[14, 2] a person seen from the front, about 1 high, y downwards, the pelvis near 0; in LSP's order.

    The person's right is on the picture's left; arms and legs go almost anywhere, bodies lean by up to 25 degrees.
    """
    lean = rng.uniform(-25, 25)
    up, across = _direction(180 + lean), _direction(90 + lean)  # across: towards the person's left
    turned = rng.uniform(0.65, 1.0)
    keypoints = np.zeros((14, 2))
    chest = up * 0.29 * rng.uniform(0.85, 1.0)
    for side, sign in (("right", -1.0), ("left", 1.0)):
        hip, shoulder = sign * across * 0.075 * turned, chest + sign * across * 0.115 * turned
        raised, bent = sign * _arm_angle(rng), sign * rng.uniform(0, 100)
        elbow = shoulder + _direction(lean + raised) * 0.165 * rng.uniform(0.75, 1)
        wrist = elbow + _direction(lean + raised + bent) * 0.15 * rng.uniform(0.75, 1)
        spread, folded = sign * rng.normal(14, 18), -sign * abs(rng.normal(0, 28))
        knee = hip + _direction(0.4 * lean + spread) * 0.24 * rng.uniform(0.75, 1)
        ankle = knee + _direction(0.4 * lean + spread + folded) * 0.235 * rng.uniform(0.8, 1)
        places = {"hip": hip, "shoulder": shoulder, "elbow": elbow, "wrist": wrist, "knee": knee, "ankle": ankle}
        for name, place in places.items():
            keypoints[_K[f"{side}_{name}"]] = place
    nod = _direction(180 + lean + rng.uniform(-20, 20))
    keypoints[_K["neck"]] = chest + up * 0.03
    keypoints[_K["head_top"]] = keypoints[_K["neck"]] + nod * 0.16
    return keypoints


@dataclass(frozen=True)
class _Clothes:
    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    sleeves: bool
    shorts: bool


def draw_person(picture: Picture, keypoints: Points, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Draw a person with these keypoints [14, 2] (pixels of `picture`, which is changed).

    Returns: [H, W] which part is on top at each pixel, as `PART_OF` numbers them; -1 for none.
    """
    shirt, trousers, shoes = np.clip(rng.uniform(30, 225, (3, 1)) + rng.normal(0, 45, (3, 3)), 0, 255)
    skin, hair = _SKIN[rng.integers(len(_SKIN))], _HAIR[rng.integers(len(_HAIR))]
    clothes = _Clothes(
        np.array(skin, float), np.array(hair, float), shirt, trousers, shoes * 0.6, bool(rng.random() < 0.4), bool(rng.random() < 0.4)
    )
    body = _Body(picture, np.full(picture.shape[:2], -1, dtype=np.int8), keypoints, _height(keypoints) * rng.uniform(0.85, 1.15), clothes)
    behind = [side for side in ("right", "left") if rng.random() < 0.25]
    for side in behind:
        body.arm(side)
    for side in ("right", "left") if rng.random() < 0.5 else ("left", "right"):
        body.leg(side)
    body.torso()
    body.head()
    for side in ("right", "left"):
        if side not in behind:
            body.arm(side)
    return body.parts


PART_OF = (0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 5)
"""The part that each keypoint belongs to: right leg, left leg, right arm, left arm, torso, head."""
SEEN_ON = tuple(
    {part, 4} if name.endswith(("hip", "shoulder")) else {part, 5} if name == "neck" else {part}
    for name, part in zip(LSP_KEYPOINTS, PART_OF, strict=True)
)
"""The parts on which each keypoint counts as visible: hips and shoulders are the torso's, too, and the neck the head's."""


@dataclass(frozen=True)
class _Body:
    """A person under the pen. size: the person's height in pixels."""

    picture: Picture
    parts: npt.NDArray[np.int8]
    keypoints: Points
    size: float
    clothes: _Clothes

    def arm(self, side: str) -> None:
        part, clothes = (2 if side == "right" else 3), self.clothes
        shoulder, elbow, wrist = (self.keypoints[_K[f"{side}_{name}"]] for name in ("shoulder", "elbow", "wrist"))
        lower = clothes.shirt * 0.92 if clothes.sleeves else clothes.skin
        hand = wrist + (wrist - elbow) * 0.12
        self._tapered(part, wrist, hand, 0.019, 0.022, clothes.skin)
        self._tapered(part, elbow, wrist, 0.026, 0.019, lower)
        self._tapered(part, shoulder, elbow, 0.034, 0.027, clothes.shirt * 0.92)

    def leg(self, side: str) -> None:
        part, clothes = (0 if side == "right" else 1), self.clothes
        hip, knee, ankle = (self.keypoints[_K[f"{side}_{name}"]] for name in ("hip", "knee", "ankle"))
        outwards = np.array([-1.0 if side == "right" else 1.0, 0.55])
        self._tapered(part, ankle, ankle + outwards * 0.045 * self.size, 0.024, 0.018, clothes.shoes)
        self._tapered(part, knee, ankle, 0.038, 0.025, clothes.skin if clothes.shorts else clothes.trousers)
        self._tapered(part, hip, knee, 0.052, 0.04, clothes.trousers)

    def torso(self) -> None:
        right_shoulder, left_shoulder = self.keypoints[_K["right_shoulder"]], self.keypoints[_K["left_shoulder"]]
        right_hip, left_hip = self.keypoints[_K["right_hip"]], self.keypoints[_K["left_hip"]]
        belt = (right_hip - right_shoulder) * 0.08
        self._tapered(4, right_hip, left_hip, 0.045, 0.045, self.clothes.trousers)
        self._filled(4, [right_shoulder, left_shoulder, left_hip - belt, right_hip - belt], 0.032, self.clothes.shirt)

    def head(self) -> None:
        neck, top = self.keypoints[_K["neck"]], self.keypoints[_K["head_top"]]
        along = top - neck
        length = float(np.linalg.norm(along))
        angle = float(np.degrees(np.arctan2(along[1], along[0])))
        axes = (0.36 * length, max(0.27 * length, 0.036 * self.size))
        self._tapered(5, neck - along * 0.1, neck + along * 0.4, 0.024, 0.024, self.clothes.skin * 0.9)
        self._ellipse(neck + along * 0.66, (axes[0], axes[1] * 1.12), angle, self.clothes.hair)
        self._ellipse(neck + along * 0.57, (axes[0] * 0.85, axes[1] * 0.88), angle, self.clothes.skin)
        left = np.array([-along[1], along[0]])
        for sign in (-1, 1):
            eye = neck + along * 0.6 + sign * left * 0.1
            cv2.circle(self.picture, _whole(eye), max(1, round(0.035 * length)), (25, 20, 20), -1)
        mouth = neck + along * 0.4
        cv2.circle(self.picture, _whole(mouth), max(1, round(0.03 * length)), (150, 60, 60), -1)

    def _tapered(self, part: int, start: Points, end: Points, width_start: float, width_end: float, color: Color) -> None:
        """A limb, rounded at both ends; widths are radii in shares of the person's height."""
        radii = (width_start * self.size, width_end * self.size)
        for grown, shade in ((0.006 * self.size, color * 0.55), (0.0, color)):
            self._stroke(self.picture, start, end, radii[0] + grown, radii[1] + grown, shade.tolist())
        self._stroke(self.parts, start, end, *radii, part)

    def _stroke(self, canvas: npt.NDArray[Any], start: Points, end: Points, radius_start: float, radius_end: float, color: Any) -> None:
        along = end - start
        side = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-6)
        corners = [start + side * radius_start, end + side * radius_end, end - side * radius_end, start - side * radius_start]
        cv2.fillConvexPoly(canvas, np.array([_whole(c) for c in corners]), color)
        cv2.circle(canvas, _whole(start), round(radius_start), color, -1)
        cv2.circle(canvas, _whole(end), round(radius_end), color, -1)

    def _filled(self, part: int, corners: Sequence[Points], rounding: float, color: Color) -> None:
        polygon = np.array([_whole(corner) for corner in corners])
        dark, light = (color * 0.55).tolist(), color.tolist()
        for canvas, shade, grown in ((self.picture, dark, 0.006), (self.picture, light, 0.0), (self.parts, part, 0.0)):
            width = max(1, round(2 * (rounding + grown) * self.size))
            cv2.fillPoly(canvas, [polygon], shade)
            cv2.polylines(canvas, [polygon], True, shade, width)

    def _ellipse(self, middle: Points, axes: tuple[float, float], angle: float, color: Color) -> None:
        whole = (max(1, round(axes[0])), max(1, round(axes[1])))
        cv2.ellipse(self.picture, _whole(middle), whole, angle, 0, 360, color.tolist(), -1)
        cv2.ellipse(self.parts, _whole(middle), whole, angle, 0, 360, 5, -1)


def _arm_angle(rng: np.random.Generator) -> float:
    """Degrees from hanging down: mostly low, sometimes up over the head."""
    return float(rng.uniform(5, 75) if rng.random() < 0.6 else rng.uniform(75, 150))


def _direction(degrees: float) -> Points:
    """A unit vector; 0 points down, 90 to the right, 180 up."""
    radians = np.radians(degrees)
    return np.array([np.sin(radians), np.cos(radians)])


def _height(keypoints: Points) -> float:
    """What the person would measure standing straight, from the limbs that foreshortening leaves most of."""

    def distance(a: str, b: str) -> float:
        return float(np.linalg.norm(keypoints[_K[a]] - keypoints[_K[b]]))

    legs = max(distance(f"{side}_hip", f"{side}_knee") + distance(f"{side}_knee", f"{side}_ankle") for side in ("left", "right"))
    return legs / 0.475


def _whole(point: Points) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))
