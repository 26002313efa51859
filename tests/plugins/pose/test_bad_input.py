"""What is wrong with a pose data set ends `toolkit run` with one message that names all offenders, and exit code 3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.commands import Command, assert_fails
from tests.plugins.pose.keypoint_files import joints, write_lsp

pytestmark = pytest.mark.slow


def config(tmp_path: Path) -> Path:
    file = tmp_path / "pose.yaml"
    sections = {
        "task": "pose",
        "data": {"name": "lsp", "root": str(tmp_path / "lsp"), "train_count": 6, "validation_count": 2},
        "transforms": {part: [{"name": "Resize", "height": 32, "width": 32}, {"name": "Normalize"}] for part in ("train", "eval")},
        "model": {"name": "deeppose", "backbone": "torchvision/squeezenet1_1", "stages": 1, "input_size": 32, "hidden": [8]},
        "fit": {"batch_size": 2, "phases": [{"epochs": 1, "optimizer": "adam"}]},
        "runtime": {"device": "cpu", "threads": 1},
    }
    file.write_text(yaml.safe_dump(sections))
    return file


def test_every_keypoint_outside_its_picture_is_named(command: Command, tmp_path: Path) -> None:
    values = joints(8)
    values[3, 0, [1, 2, 5]] = 90.0, -8.0, 64.0
    values[:, 1] = 30.0
    folder = write_lsp(tmp_path / "lsp", values)

    def told(number: int, x: float) -> str:
        return f"{folder}/images/im000{number}.jpg: in {folder}/joints.mat left_hip at ({x}, 29.0); expected within its 60 x 80 pixels"

    expected = f"2 of 4 samples of the training part cannot be used\n  {told(2, 89.0)}\n  {told(3, -9.0)}\n{told(6, 63.0)}"
    assert_fails(command("run", config(tmp_path), "--out", tmp_path / "out"), 3, expected)


def test_every_keypoint_that_is_not_finite_is_named(command: Command, tmp_path: Path) -> None:
    values = joints(8)
    values[0, 0, 0], values[13, 1, 2] = np.nan, np.inf
    folder = write_lsp(tmp_path / "lsp", values)
    ended = command("run", config(tmp_path), "--out", tmp_path / "out")
    assert ended.returncode == 3
    heading, *lines = ended.stderr.splitlines()
    assert heading == f"error: {folder}/joints.mat: 2 labels cannot be used"
    assert [line.split(": ")[1].split(" at ")[0] for line in lines] == ["right_ankle is labelled", "head_top is labelled"]


def test_pictures_and_annotations_that_do_not_match_are_named(command: Command, tmp_path: Path) -> None:
    folder = write_lsp(tmp_path / "lsp", joints(8), count=9)
    (folder / "images/im0004.jpg").unlink()
    expected = (
        f"{folder}/images has 8 pictures, but {folder}/joints.mat has keypoints of 8; expected one picture for each\n"
        f"  {folder}/images: no picture number 4\n  {folder}/images/im0009.jpg: a picture without keypoints"
    )
    assert_fails(command("run", config(tmp_path), "--out", tmp_path / "out"), 3, expected)


def test_a_damaged_mat_file_is_named(command: Command, tmp_path: Path) -> None:
    folder = write_lsp(tmp_path / "lsp", joints(8))
    (folder / "joints.mat").write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + bytes(100))
    ended = command("run", config(tmp_path), "--out", tmp_path / "out")
    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"error: {folder}/joints.mat is damaged: ")
    assert line.endswith("; expected a MATLAB file; fetch it again")


def test_training_pictures_of_another_size_than_those_of_evaluation_are_refused(command: Command, tmp_path: Path) -> None:
    write_lsp(tmp_path / "lsp", joints(8))
    transforms = "[{name: Resize, height: 48, width: 32}, {name: Normalize}]"
    file = config(tmp_path)
    ended = command("run", file, f"transforms.train={transforms}", "--out", tmp_path / "out")
    expected = (
        "make pictures of 32 x 48 pixels; the first of transforms.eval is 32 x 32; let transforms.train and transforms.eval end in one size"
    )
    line = file.read_text().splitlines().index("transforms:") + 1
    assert_fails(ended, 2, f"{file}:{line}:1: transforms: {expected}")
