"""Skeletons: names, left and right, limbs and colours, of the data sets that the plugin reads."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit_pose.types import Limb, PoseInfo

_RIGHT_LEG, _LEFT_LEG, _RIGHT_ARM, _LEFT_ARM, _MIDDLE = "#D55E00", "#0072B2", "#E69F00", "#56B4E9", "#009E73"
"""Okabe and Ito, Color Universal Design: warm is the person's right, cool the left."""

LSP_KEYPOINTS = (
    "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
    "right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist", "neck", "head_top",
)  # fmt: skip
"""The order of Leeds Sports Pose; left and right are the person's own."""

FLIC_KEYPOINTS = (
    "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    "left_hip", "right_hip", "left_eye", "right_eye", "nose",
)  # fmt: skip
FLIC_NAMES = ("lsho", "lelb", "lwri", "rsho", "relb", "rwri", "lhip", "rhip", "leye", "reye", "nose")
"""FLIC's own names of `FLIC_KEYPOINTS`."""

_LIMBS = (
    ("upper_arm", "shoulder", "elbow"),
    ("lower_arm", "elbow", "wrist"),
    ("upper_leg", "hip", "knee"),
    ("lower_leg", "knee", "ankle"),
)
_COLORS = {"left_arm": _LEFT_ARM, "right_arm": _RIGHT_ARM, "left_leg": _LEFT_LEG, "right_leg": _RIGHT_LEG}


def pose_info(keypoints: Sequence[str], input_shape: tuple[int, int, int] = (3, 0, 0)) -> PoseInfo:
    """The skeleton that keypoints with these names have: `left_x` and `right_x` are a pair, limbs are those whose ends exist.

    Raises: ValueError if there is no left_shoulder or right_hip, whose distance measures the torso.
    """
    place = {name: index for index, name in enumerate(keypoints)}
    missing = [name for name in ("left_shoulder", "right_hip") if name not in place]
    if missing:
        raise ValueError(
            f"no keypoint named {' or '.join(missing)}; the torso is measured from left_shoulder to right_hip; "
            f"there are: {', '.join(keypoints)}"
        )
    pairs = [(place[name], place[f"right_{name[5:]}"]) for name in keypoints if name.startswith("left_") and f"right_{name[5:]}" in place]
    return PoseInfo(input_shape, tuple(keypoints), tuple(pairs), tuple(_limbs(place)), (place["left_shoulder"], place["right_hip"]))


def _limbs(place: dict[str, int]) -> list[Limb]:
    limbs = []
    for side in ("right", "left"):
        for part, start, end in _LIMBS:
            ends = (f"{side}_{start}", f"{side}_{end}")
            if set(ends) <= place.keys():
                color = _COLORS[f"{side}_{part[6:]}"]
                limbs.append(Limb(f"{side}_{part}", (place[ends[0]],), (place[ends[1]],), color))
    if {"left_shoulder", "right_shoulder", "left_hip", "right_hip"} <= place.keys():
        top = (place["neck"],) if "neck" in place else (place["left_shoulder"], place["right_shoulder"])
        limbs.append(Limb("torso", top, (place["left_hip"], place["right_hip"]), _MIDDLE, in_mean=False))
    if {"neck", "head_top"} <= place.keys():
        limbs.append(Limb("head", (place["neck"],), (place["head_top"],), _MIDDLE, in_mean=False))
    return limbs
