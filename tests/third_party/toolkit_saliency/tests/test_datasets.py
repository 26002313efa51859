"""`saliency_folder`: files in, samples or a message that names the file out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from toolkit.data import write_png
from toolkit.errors import DataError

from toolkit_saliency.datasets import SaliencyFolder


def grey(height: int, width: int, value: int = 90) -> np.ndarray:
    return np.full((height, width, 3), value, dtype=np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """One picture of 4 x 6 with its mask, all object."""
    for kind in ("images", "masks"):
        (tmp_path / "train" / kind).mkdir(parents=True)
        write_png(tmp_path / "train" / kind / "cat.png", grey(4, 6, 90 if kind == "images" else 255))
    return tmp_path


def test_a_picture_comes_with_its_mask(root: Path) -> None:
    [sample] = SaliencyFolder("train", root=root)
    assert sample.id == "cat.png"
    assert sample.image.shape == (4, 6, 3)
    assert sample.target.salient.tolist() == [[1] * 6] * 4


def test_a_missing_mask_is_named(root: Path) -> None:
    mask = root / "train" / "masks" / "cat.png"
    mask.unlink()
    image = root / "train" / "images" / "cat.png"
    with pytest.raises(DataError, match=f"^{re.escape(f'{image}: there is no mask; expected {mask}')}$"):
        SaliencyFolder("train", root=root)[0]


def test_a_mask_of_another_size_is_named(root: Path) -> None:
    write_png(root / "train" / "masks" / "cat.png", grey(4, 5))
    with pytest.raises(DataError, match=r"masks/cat\.png: the mask is 4x5, but its picture .*images/cat\.png is 4x6$"):
        SaliencyFolder("train", root=root)[0]


def test_a_missing_part_is_named(root: Path) -> None:
    with pytest.raises(DataError, match=r"/test: no such folder; expected the folders images and masks; set TOOLKIT_DATA or data\.root"):
        SaliencyFolder("test", root=root)
