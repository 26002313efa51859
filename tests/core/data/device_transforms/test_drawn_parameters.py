"""What the batched twins draw is distributed as what albumentations draws: two-sample tests over thousands of draws, fixed seeds.

Each test fails by chance with probability 0.001 for each parameter; the seeds are those of a run that did not.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from albumentations.augmentations.geometric import functional
from scipy.stats import chisquare, ks_2samp, kstest

from toolkit.data.device_transforms import Draws, Shape
from toolkit.data.device_transforms.draws import random_bits, random_normals
from toolkit.data.device_transforms.twins import twin_of

COUNT = 2000
SHAPE = Shape(37, 53, 3)
LEAST_P = 0.001
CPU = torch.device("cpu")


def ours(transform: Any, shape: Shape = SHAPE) -> Any:
    """[COUNT, parameters]"""
    twin = twin_of(transform, shape)
    params = twin.draw(Draws((3, 1, 0), np.arange(COUNT)).uniforms(twin.num_uniforms))
    return np.concatenate([np.asarray(getattr(params, f.name), float).reshape(COUNT, -1) for f in dataclasses.fields(params)], 1)


def theirs(transform: Any, values: Callable[[dict[str, Any]], list[Any]]) -> Any:
    """[COUNT, parameters]"""
    transform.set_random_seed(11)
    image = np.zeros(SHAPE, np.uint8)
    rows = []
    for _ in range(COUNT):
        params = transform.update_transform_params(transform.get_params(), {"image": image})
        params |= transform.get_params_dependent_on_data(params, {"image": image})
        rows.append(np.concatenate([np.ravel(value) for value in values(params)]))
    return np.stack(rows).astype(float)


def assert_alike(first: Any, second: Any) -> None:
    assert first.shape == second.shape
    for i, (one, other) in enumerate(zip(first.T, second.T, strict=True)):
        if np.ptp(one) > 1e-9 or np.ptp(other) > 1e-9:
            assert ks_2samp(one, other).pvalue > LEAST_P, f"parameter {i}"
        else:
            np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The last arguments of albumentations' functions that hide what was drawn."""
    seen: dict[str, Any] = {}
    for name in ("create_affine_transformation_matrix", "compute_perspective_params"):
        original = getattr(functional, name)

        def record(*arguments: Any, name: str = name, original: Any = original) -> Any:
            seen[name] = [np.array(one) if isinstance(one, np.ndarray) else one for one in arguments]
            return original(*arguments)

        monkeypatch.setattr(functional, name, record)
    return seen


def coordinates(params: dict[str, Any]) -> list[Any]:
    pads = params.get("pad_params") or params
    x, y = params.get("crop_coords", (0, 0))[:2]
    return [pads.get("pad_left", 0) - x, pads.get("pad_top", 0) - y]


CROPS = [
    A.RandomCrop(20, 31),
    A.RandomCrop(60, 31, pad_if_needed=True, pad_position="random"),
    A.RandomCrop(37, 53),
    A.CenterCrop(20, 30),
    A.Crop(3, 5, 80, 70, pad_if_needed=True, pad_position="random"),
    A.PadIfNeeded(70, 81, position="random"),
    A.PadIfNeeded(70, 80, position="center"),
    A.PadIfNeeded(70, 81, position="top_left"),
    A.PadIfNeeded(70, 81, position="top_right"),
    A.PadIfNeeded(70, 81, position="bottom_left"),
    A.PadIfNeeded(None, None, pad_height_divisor=32, pad_width_divisor=10, position="bottom_right"),
    A.Pad((1, 2, 3, 4)),
]


@pytest.mark.parametrize("transform", CROPS, ids=lambda transform: type(transform).__name__)
def test_crops_and_pads(transform: Any) -> None:
    mine, other = ours(transform), theirs(transform, coordinates)
    assert_alike(mine, other)
    for axis in range(2):
        assert set(mine[:, axis]) == set(other[:, axis])  # each place is reached, and none beyond


@pytest.mark.parametrize(
    "transform",
    [
        A.RandomResizedCrop((32, 32)),
        A.RandomResizedCrop((32, 32), scale=(0.7, 1), ratio=(0.2, 0.4)),  # most tries do not fit: the fallback
        A.RandomResizedCrop((32, 32), scale=(0.9, 1), ratio=(2, 3)),
    ],
)
def test_resized_crop(transform: Any) -> None:
    assert_alike(ours(transform), theirs(transform, lambda params: [params["crop_coords"]]))


def test_turns_are_as_likely() -> None:
    square = Shape(32, 32, 3)
    assert_alike(ours(A.RandomRotate90(), square), theirs(A.RandomRotate90(), lambda params: [params["factor"]]))
    names = ["e", "r90", "r180", "r270", "v", "hvt", "h", "t"]
    assert_alike(ours(A.D4(), square), theirs(A.D4(), lambda params: [names.index(params["group_element"])]))


AFFINE = [
    A.Affine(scale=(0.7, 1.3), rotate=(-40, 40), shear=(-10, 20), translate_percent=(-0.1, 0.3)),
    A.Affine(scale={"x": (0.5, 3), "y": (0.9, 1)}, translate_px={"x": (-5, 5), "y": (1, 9)}, shear={"x": 3, "y": (0, 5)}),
    A.Affine(scale=(0.5, 3), balanced_scale=True),
    A.Affine(scale=(1.5, 3), balanced_scale=True),
    A.Affine(scale=(0.5, 3), keep_ratio=True),
    A.Rotate((-10, 70)),
]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # "is a special case of Affine"
    AFFINE.append(A.ShiftScaleRotate(shift_limit_x=0.2, scale_limit=(-0.3, 0.1)))


@pytest.mark.parametrize("transform", AFFINE, ids=lambda transform: type(transform).__name__)
def test_affine_family(calls: dict[str, Any], transform: Any) -> None:
    def values(params: dict[str, Any]) -> list[Any]:
        translate, shear, scale, rotate, _ = calls["create_affine_transformation_matrix"]
        return [translate["x"], translate["y"], shear["x"], shear["y"], scale["x"], scale["y"], rotate]

    mine, other = ours(transform), theirs(transform, values)
    assert_alike(mine, other)
    assert np.array_equal(mine[:, 4] == mine[:, 5], other[:, 4] == other[:, 5]), "keep_ratio"


def test_perspective(calls: dict[str, Any]) -> None:
    transform = A.Perspective(scale=(0.02, 0.2))
    assert_alike(ours(transform), theirs(transform, lambda params: [calls["compute_perspective_params"][0]]))


def test_brightness_and_contrast() -> None:
    transform = A.RandomBrightnessContrast(brightness_limit=(-0.1, 0.4), contrast_limit=(-0.3, 0.1))
    assert_alike(ours(transform), theirs(transform, lambda params: [params["alpha"], params["beta"] / 255]))


def test_gamma() -> None:
    assert_alike(ours(A.RandomGamma((70, 190))), theirs(A.RandomGamma((70, 190)), lambda params: [params["gamma"]]))


def test_colour_jitter_with_the_order_of_its_operations() -> None:
    def values(params: dict[str, Any]) -> list[Any]:
        return [params[name] for name in ("brightness", "contrast", "saturation", "hue", "order")]

    transform = A.ColorJitter((0.5, 2), 0.3, (1, 3), 0.1)
    mine, other = ours(transform), theirs(transform, values)
    assert_alike(mine, other)
    code = np.array([64, 16, 4, 1])  # each of the 24 orders by one number
    assert len(np.unique(mine[:, 4:] @ code)) == 24
    assert ks_2samp(mine[:, 4:] @ code, other[:, 4:] @ code).pvalue > LEAST_P
    correlations = np.corrcoef(mine.T)[:4, 4:]
    assert np.abs(correlations).max() < 5 / np.sqrt(COUNT)  # the order is independent of the factors


@pytest.mark.parametrize("transform", [A.GaussianBlur(), A.GaussianBlur((3, 8), sigma_limit=(1, 4))])
def test_blur_kernels(transform: Any) -> None:
    twin = twin_of(transform, SHAPE)
    kernels = twin.draw(Draws((3, 1, 0), np.arange(COUNT)).uniforms(twin.num_uniforms))
    mine = np.stack([kernels.sizes, kernels.weights.max(1)], 1)
    assert_alike(mine, theirs(transform, lambda params: [len(params["kernel"]), params["kernel"].max()]))


DROPOUTS = [
    A.CoarseDropout(num_holes_range=(1, 1)),
    A.CoarseDropout(num_holes_range=(1, 4), hole_height_range=(0.05, 0.5), hole_width_range=(0.3, 0.9)),
    A.CoarseDropout(num_holes_range=(2, 3), hole_height_range=(3, 9), hole_width_range=(5, 60)),
]


@pytest.mark.parametrize("transform", DROPOUTS)
def test_holes(transform: Any) -> None:
    """The number of holes, and the first one's corners (every sample has one)."""
    twin = twin_of(transform, SHAPE)
    corners = twin.draw(Draws((3, 1, 0), np.arange(COUNT)).uniforms(twin.num_uniforms)).corners
    number = (corners[:, :, 2] > corners[:, :, 0]).sum(1)
    mine = np.concatenate([number[:, None], corners[:, 0]], 1)
    assert_alike(mine, theirs(transform, lambda params: [len(params["holes"]), params["holes"][0]]))


@pytest.mark.parametrize("transform", [A.GaussNoise(mean_range=(-0.2, 0.5)), A.GaussNoise(per_channel=False, noise_scale_factor=0.5)])
def test_noise_maps(transform: Any) -> None:
    """Deviation and mean of each sample's noise, and how alike the channels and neighbouring pixels are."""

    def summary(noise: Any) -> list[Any]:
        return [noise.std(), noise.mean(), np.abs(noise[..., 0] - noise[..., 1]).mean(), np.abs(np.diff(noise[..., 0])).mean()]

    twin = twin_of(transform, SHAPE)
    params = twin.draw(Draws((3, 1, 0), np.arange(500)).uniforms(twin.num_uniforms))
    noise = np.broadcast_to(twin.noise(params, CPU).numpy(), (500, *SHAPE))
    other = theirs(transform, lambda params: summary(params["noise_map"]))
    for i, mine in enumerate(np.array([summary(one) for one in noise]).T):
        if np.ptp(mine) > 0 or np.ptp(other[:, i]) > 0:
            assert ks_2samp(mine, other[:, i]).pvalue > LEAST_P, i


def test_random_normals_are_normal_and_unrelated_between_samples() -> None:
    """Against the normal distribution itself."""
    normals = random_normals(np.array([0.5, 0.5 + 2.0**-53, 0.7]), 40001, CPU).numpy()
    for row in normals:
        assert kstest(row, "norm").pvalue > LEAST_P
    assert np.abs(np.corrcoef(normals) - np.eye(3)).max() < 4 / np.sqrt(40000)  # four standard deviations
    assert abs(np.corrcoef(normals[0][:-1], normals[0][1:])[0, 1]) < 4 / np.sqrt(40000)


def test_random_bytes_are_uniform() -> None:
    counts = np.bincount(random_bits(np.array([0.3]), 256 * 400, CPU).to(torch.uint8).flatten().numpy(), minlength=256)
    assert chisquare(counts).pvalue > LEAST_P
