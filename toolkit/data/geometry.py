"""Find out where a transform moved the picture, from points that travelled with it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from toolkit.data.sample import Matrix

Points = npt.NDArray[np.float64]

_PLACES = np.array([(0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0.5), (0.2, 0.4), (0.7, 0.2), (0.4, 0.9)])
"""Reference points as shares of width and height: the corners decide, the others tell whether straight lines stayed straight."""
NUM_REFERENCES = len(_PLACES)


def reference_points(height: int, width: int) -> Points:
    """[NUM_REFERENCES, 2] x, y spread over a picture, its corners first."""
    return _PLACES * (width, height)


def homography(height: int, width: int, moved: Points) -> tuple[Matrix, bool]:
    """The [3, 3] map that takes `reference_points(height, width)` to `moved`, and whether it does so for all of them.

    Exact for affine and perspective maps, up to the transform's own rounding (albumentations computes in float32). Where
    no such map exists (the picture was bent), the best affine one, and False.
    """
    if np.array_equal(moved, reference_points(height, width)):
        return np.eye(3), True  # the fit below would be off by 1e-15
    tolerance = 0.02 + 1e-5 * float(np.abs(moved).max())
    affine = np.eye(3)
    affine[:2] = (_affine_solver(height, width) @ moved).T
    if np.abs(apply_homography(affine, reference_points(height, width)) - moved).max() <= tolerance:
        return affine, True
    projective = _through_corners(reference_points(height, width)[:4], moved[:4])
    if projective is not None and np.abs(apply_homography(projective, reference_points(height, width)) - moved).max() <= tolerance:
        return projective, True
    return affine, False


def apply_homography(matrix: Matrix, points: Points) -> Points:
    """[..., 2] points mapped by a [3, 3] homography."""
    mapped = points @ matrix[:, :2].T + matrix[:, 2]
    result: Points = mapped[..., :2] / mapped[..., 2:]
    return result


def is_mirrored(matrix: Matrix, height: int, width: int) -> bool:
    """Whether the map turns the orientation over (a mirror image, not a rotation), at the middle of the picture."""
    depth = float(matrix[2] @ (width / 2, height / 2, 1.0))  # a homography is known up to a factor, which may be negative
    return bool(np.linalg.det(matrix) * np.sign(depth) < 0)


@lru_cache(maxsize=256)
def _affine_solver(height: int, width: int) -> Points:
    points = reference_points(height, width)
    return np.linalg.pinv(np.column_stack([points, np.ones(len(points))]))  # [3, NUM_REFERENCES]


def _through_corners(before: Points, after: Points) -> Matrix | None:
    rows = []
    for (x, y), (u, v) in zip(before, after, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    try:
        solved = np.linalg.solve(np.array(rows), after.reshape(-1))
    except np.linalg.LinAlgError:
        return None
    return np.append(solved, 1.0).reshape(3, 3)
