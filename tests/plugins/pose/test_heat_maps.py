"""Reading heat maps, against loops and by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from toolkit_pose.heat_maps import moments, peak

Floats = npt.NDArray[np.float64]


def hill(height: int, width: int, y: float, x: float, deviation: float) -> Floats:
    """A normal distribution around row y, column x; its cells add up to 1."""
    rows, columns = np.mgrid[:height, :width]
    heights = np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * deviation**2))
    return np.asarray(heights / heights.sum())


def as_maps(*maps: Any) -> torch.Tensor:
    return torch.from_numpy(np.stack(maps)[None]).float()


def in_cells(points: torch.Tensor, height: int, width: int) -> Floats:
    """[1, K, 2] shares of the picture -> [K, 2] x, y counted in cells from the first one's middle."""
    return (points[0].double().numpy() + 0.5) * (width, height) - 0.5


@pytest.mark.parametrize(("height", "width"), [(32, 32), (24, 40), (64, 48)])
def test_the_peak_is_the_heavier_of_two_also_where_the_other_is_higher(height: int, width: int) -> None:
    narrow, wide = hill(height, width, 6.3, 7.8, 0.7), hill(height, width, 15.7, 24.2, 1.0)
    lighter, heavier = 0.4 * narrow + 0.6 * wide, 0.6 * narrow + 0.4 * wide
    assert lighter.argmax() == narrow.argmax()  # the highest cell is the lighter hill's
    found = in_cells(peak(as_maps(lighter, heavier)), height, width)
    np.testing.assert_allclose(found, [[24.2, 15.7], [7.8, 6.3]], atol=0.01)
    mean = in_cells(moments(as_maps(lighter))[0], height, width)
    np.testing.assert_allclose(mean, [[0.4 * 7.8 + 0.6 * 24.2, 0.4 * 6.3 + 0.6 * 15.7]], atol=1e-3)


def test_a_peak_in_a_corner_is_read_from_the_cells_that_are_there() -> None:
    corner = np.zeros((32, 32))
    corner[0, 31], corner[1, 31], corner[20, 4] = 0.4, 0.2, 0.4
    np.testing.assert_allclose(in_cells(peak(as_maps(corner)), 32, 32), [[31, 1 / 3]], atol=1e-4)


def peak_by_loop(shares: Floats) -> tuple[float, float]:
    """x, y in cells of one map [h, w]."""
    height, width = shares.shape
    found_within, averaged_within = max(0.094 * max(height, width), 1), max(0.125 * max(height, width), 1)

    def around(y: int, x: int, radius: float) -> list[tuple[int, int]]:
        return [(v, u) for v in range(height) for u in range(width) if (v - y) ** 2 + (u - x) ** 2 <= radius**2]

    held = {(y, x): sum(shares[cell] for cell in around(y, x, found_within)) for y in range(height) for x in range(width)}
    near = around(*max(held, key=lambda cell: held[cell]), averaged_within)
    total = sum(shares[cell] for cell in near)
    return sum(shares[y, x] * x for y, x in near) / total, sum(shares[y, x] * y for y, x in near) / total


@pytest.mark.parametrize(("height", "width"), [(16, 16), (9, 21), (22, 7), (3, 4), (1, 1)])
def test_the_peak_of_random_maps_is_what_a_loop_over_cells_finds(height: int, width: int) -> None:
    maps = np.random.default_rng(0).exponential(size=(6, height, width)) ** 2
    maps = (maps / maps.sum(axis=(1, 2), keepdims=True)).astype(np.float32).astype(np.float64)
    expected = [peak_by_loop(shares) for shares in maps]
    np.testing.assert_allclose(in_cells(peak(as_maps(*maps)), height, width), expected, atol=1e-4)


def test_the_peak_is_found_in_float32_also_where_the_network_runs_in_bfloat16() -> None:
    maps = torch.rand(4, 14, 32, 32, generator=torch.Generator().manual_seed(0))  # discs that differ little
    shares = maps / maps.sum(dim=(2, 3), keepdim=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = peak(shares)
    torch.testing.assert_close(found, peak(shares))


def test_moments_are_those_of_a_weighted_sum_over_cells() -> None:
    shares = np.random.default_rng(0).dirichlet(np.ones(15)).reshape(3, 5)
    x, y = (np.arange(5) + 0.5) / 5 - 0.5, (np.arange(3) + 0.5) / 3 - 0.5
    places = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)  # [15, 2]
    mean, variance = moments(as_maps(shares))
    expected = np.average(places, axis=0, weights=shares.ravel())
    np.testing.assert_allclose(mean[0, 0], expected, atol=1e-6)
    np.testing.assert_allclose(variance[0, 0], np.average((places - expected) ** 2, axis=0, weights=shares.ravel()), atol=1e-6)
