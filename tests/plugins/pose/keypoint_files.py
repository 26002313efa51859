"""Small data sets in the layouts of LSP, LSPET and COCO."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from PIL import Image


def write_pictures(folder: Path, count: int, pattern: str = "im{:04d}.jpg", size: tuple[int, int] = (60, 80)) -> None:
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        Image.fromarray(np.full((size[1], size[0], 3), number, dtype=np.uint8)).save(folder / pattern.format(number))


def joints(count: int) -> Any:
    """[14, 3, count] x, y within 10 .. 50 and flags that change from keypoint to keypoint."""
    rng = np.random.default_rng(0)
    values = rng.uniform(10, 50, (14, 3, count))
    values[:, 2] = (np.arange(14) % 3 == 0)[:, None]
    return values


def write_lsp(root: Path, values: Any, count: int | None = None) -> Path:
    """LSP's layout; `values` as `joints` gives them."""
    write_pictures(root / "images", values.shape[2] if count is None else count)
    scipy.io.savemat(root / "joints.mat", {"joints": values.transpose(1, 0, 2)})
    return root


def write_lspet(root: Path, values: Any) -> Path:
    write_pictures(root / "images", values.shape[2], "im{:05d}.webp")
    scipy.io.savemat(root / "joints.mat", {"joints": values})
    return root


COCO_NAMES = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_elbow"]


def write_coco(root: Path, names: Sequence[str] = COCO_NAMES, **changes: Any) -> Path:
    """One person of 20 x 40 px at (10, 20) with a hidden elbow and an unlabelled shoulder; a crowd; a person without labels."""
    if not (root / "images").exists():
        write_pictures(root / "images", 1)
    person = {
        "id": 7, "image_id": 1, "iscrowd": 0, "bbox": [10, 20, 20, 40],
        "keypoints": [12, 22, 2, 0, 0, 0, 14, 50, 2, 25, 51, 2, 29, 30, 1],
    }  # fmt: skip
    others = [{**person, "id": 8, "iscrowd": 1}, {**person, "id": 9, "keypoints": [0] * 15}]
    content = {
        "categories": [{"keypoints": names}],
        "images": [{"id": 1, "file_name": "im0001.jpg"}],
        "annotations": [{**person, **changes}, *others],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    return root
