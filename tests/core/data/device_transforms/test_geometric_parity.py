"""Same parameters, same pictures, masks and points as albumentations, for every transform that moves pixels.

On the CPU OpenCV does the work for both: the bytes are equal. In torch the interpolation is linear in float32, where OpenCV
rounds last (warps) or works in units of 1/2048 (resizing): one level at most, on noise as on smooth pictures.
"""

from __future__ import annotations

import warnings
from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest

SHAPES = [(37, 53, 3), (52, 31, 1)]
POINTS_PX = 0.01  # albumentations moves them in float32
REPLICATE, WRAP, REFLECT, REFLECT_101 = cv2.BORDER_REPLICATE, cv2.BORDER_WRAP, cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101
NEAREST = cv2.INTER_NEAREST

EXACT = [
    A.HorizontalFlip(p=1),
    A.VerticalFlip(p=1),
    A.Transpose(p=1),
    A.RandomCrop(20, 31),
    A.RandomCrop(37, 31),
    A.RandomCrop(60, 31, pad_if_needed=True, pad_position="random", fill=9, fill_mask=4),
    A.CenterCrop(20, 30),
    A.CenterCrop(61, 30, pad_if_needed=True),
    A.Crop(3, 5, 30, 25),
    A.Crop(3, 5, 80, 70, pad_if_needed=True, border_mode=REPLICATE),
    A.Crop(3, 5, 80, 70, pad_if_needed=True, pad_position="random", fill=7),
    A.Pad((1, 2, 3, 4), fill=7),
    A.Pad(9, border_mode=REPLICATE),
    A.PadIfNeeded(70, 81, fill=200, position="random"),
    A.PadIfNeeded(70, 81, fill=200, position="top_right"),
    A.PadIfNeeded(70, 81, border_mode=REPLICATE, position="bottom_left"),
    A.PadIfNeeded(None, None, pad_height_divisor=32, pad_width_divisor=32, border_mode=WRAP),
]
SQUARE = [A.RandomRotate90(p=1), A.D4(p=1), A.Transpose(p=1)]
REFLECTING = [A.PadIfNeeded(70, 81, border_mode=REFLECT), A.PadIfNeeded(120, 181, border_mode=REFLECT_101)]
NEAREST_NEIGHBOUR = [A.Resize(50, 20, interpolation=NEAREST), A.LongestMaxSize(77, interpolation=NEAREST)]
SCALING = [
    A.Resize(50, 61),
    A.Resize(20, 70),
    A.LongestMaxSize(80),
    A.LongestMaxSize(max_size_hw=(40, 70)),
    A.SmallestMaxSize(20),
    A.SmallestMaxSize(max_size_hw=(None, 70)),
    A.RandomResizedCrop((32, 40)),
    A.RandomResizedCrop((64, 40), scale=(0.02, 0.2)),
]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ShiftScaleRotate: "is a special case of Affine"
    WARPS = [
        A.Affine(scale=(0.7, 1.3), rotate=(-40, 40), shear=(-10, 10), translate_percent=(-0.1, 0.1), p=1),
        A.Affine(scale={"x": (0.5, 2), "y": (0.9, 1)}, translate_px=(-5, 5), rotate=(-180, 180), fill=120, fill_mask=2, p=1),
        A.Affine(scale=(0.7, 1.3), rotate=(-40, 40), border_mode=REPLICATE, p=1),
        A.Rotate((-90, 90), p=1),
        A.ShiftScaleRotate(p=1),
        A.Perspective(p=1),
        A.Perspective(scale=(0.02, 0.2), fit_output=True, fill=77, p=1),
        A.Perspective(border_mode=REPLICATE, p=1),
    ]
    WARPS_BY_NEAREST = [
        A.Affine(scale=(0.7, 1.3), rotate=(-40, 40), interpolation=NEAREST, p=1),
        A.Perspective(interpolation=NEAREST, p=1),
    ]
    WARPS_REFLECTING = [A.Affine(scale=(0.3, 0.7), rotate=(-40, 40), border_mode=REFLECT_101, p=1)]


def name_of(value: Any) -> str:
    return type(value).__name__ if isinstance(value, A.BasicTransform) else "x".join(map(str, value))


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("transform", EXACT, ids=name_of)
def test_whole_pixels_land_exactly_where_albumentations_puts_them(compare: Any, transform: Any, shape: Any) -> None:
    if type(transform) is A.RandomCrop and transform.height == 37 and shape[1] < 31:
        pytest.skip("larger than the picture")
    compared = compare(transform, shape, rough=True)
    assert compared.differences.max() == 0
    assert compared.masks_differ == 0
    assert compared.points_differ_px <= POINTS_PX


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("shape", [(41, 41, 3), (32, 32, 1)], ids=name_of)
@pytest.mark.parametrize("transform", SQUARE, ids=name_of)
def test_quarter_turns_of_squares_are_exact(compare: Any, transform: Any, shape: Any) -> None:
    compared = compare(transform, shape, rough=True)
    assert compared.differences.max() == 0
    assert compared.masks_differ == 0
    assert compared.points_differ_px <= POINTS_PX


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("transform", REFLECTING, ids=name_of)
def test_reflecting_pads_are_exact(compare: Any, transform: Any, shape: Any) -> None:
    """Points are left out: albumentations mirrors them too and drops some; ours only move with the picture."""
    compared = compare(transform, shape, rough=True, with_points=False)
    assert compared.differences.max() == 0
    assert compared.masks_differ == 0


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("transform", NEAREST_NEIGHBOUR, ids=name_of)
def test_scaling_by_nearest_neighbour_takes_the_same_pixels(compare: Any, transform: Any, shape: Any) -> None:
    compared = compare(transform, shape, rough=True)
    assert compared.differences.max() == 0
    assert compared.masks_differ == 0


@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("transform", [*SCALING, *WARPS, *WARPS_BY_NEAREST], ids=name_of)
def test_interpolation_is_within_one_level_and_the_same_bytes_on_the_cpu(compare: Any, engine: str, transform: Any, shape: Any) -> None:
    compared = compare(transform, shape, rough=True)
    if transform in WARPS_BY_NEAREST and engine == "batched":
        assert (compared.differences > 0).mean() <= 0.001  # places halfway between two pixels
    else:
        assert compared.differences.max() <= 1
        assert compared.differences.mean() <= (0.0002 if engine == "native" else 0.2)  # the matrix differs in its last bits
    assert compared.masks_differ_inside == 0
    assert compared.masks_differ <= (0 if engine == "native" else 0.1)  # where a new row lies between two, OpenCV takes either
    assert compared.points_differ_px <= POINTS_PX


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("shape", SHAPES, ids=name_of)
@pytest.mark.parametrize("transform", WARPS_REFLECTING, ids=name_of)
def test_warps_that_reflect_are_within_one_level(compare: Any, transform: Any, shape: Any) -> None:
    compared = compare(transform, shape, rough=True, with_points=False)
    assert compared.differences.max() <= 1
    assert compared.masks_differ <= 0.001


def test_the_comparison_sees_a_wrong_direction(compare: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from toolkit.data.device_transforms import warping

    right = warping.affine_matrices
    monkeypatch.setattr(warping, "affine_matrices", lambda params, shape: np.linalg.inv(right(params, shape)))
    compared = compare(A.Rotate((20, 40), p=1), (37, 53, 3))
    assert compared.differences.mean() > 5
    assert compared.points_differ_px > 5
