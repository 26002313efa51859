"""Joined data sets, COCO's format and FLIC: conventions and damage."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tests.plugins.pose.keypoint_files import joints, write_lsp, write_lspet, write_pictures
from toolkit.errors import ConfigError, DataError
from toolkit_pose.datasets import CocoKeypoints, Joined, flic
from toolkit_pose.leeds import lsp, lspet
from toolkit_pose.skeletons import LSP_KEYPOINTS
from toolkit_pose.synthetic import SyntheticPeople


@pytest.mark.usefixtures("in_process")
def test_a_part_without_validation_adds_no_test_pictures_to_it(tmp_path: Path) -> None:
    official, other = str(write_lsp(tmp_path / "lsp", joints(4))), str(write_lsp(tmp_path / "other", joints(4)))
    parts = (lsp("validation", root=official, train_count=2), lsp("validation", root=other, train_count=3, validation_count=1))
    assert [sample.id for sample in Joined("validation", parts=parts)] == ["lsp/im0003"]


@pytest.mark.usefixtures("in_process")
def test_joined_sets_follow_each_other_and_are_tested_on_the_parts_that_can_be(tmp_path: Path) -> None:
    extended, official = str(write_lspet(tmp_path / "lspet", joints(3))), str(write_lsp(tmp_path / "lsp", joints(4)))
    train = Joined("train", parts=(lspet("train", root=extended), lsp("train", root=official, train_count=3)))
    assert [sample.id for sample in train] == ["lspet/im00001", "lspet/im00002", "lspet/im00003", "lsp/im0001", "lsp/im0002", "lsp/im0003"]
    assert train.splits == ("train", "test")
    assert train.info.keypoints == LSP_KEYPOINTS
    test = Joined("test", parts=(lspet("test", root=extended), lsp("test", root=official, train_count=3)))
    assert [sample.id for sample in test] == ["lsp/im0004"]


@pytest.mark.usefixtures("in_process")
def test_every_kind_of_part_adds_nothing_to_a_split_that_it_does_not_publish(tmp_path: Path) -> None:
    root, people = str(write_lsp(tmp_path / "lsp", joints(5))), str(write_coco(tmp_path, LSP_KEYPOINTS, keypoints=[20, 30, 2] * 14))

    def ids(split: Any, *leave_out: str) -> list[str]:
        parts = {
            "coco": CocoKeypoints(split, root=people),
            "lsp": lsp(split, root=root, train_count=4, validation_count=1),
            "synthetic": SyntheticPeople(split, size=4),
        }
        return [sample.id for sample in Joined(split, parts=tuple(part for name, part in parts.items() if name not in leave_out))]

    assert ids("train") == ["coco/7", "lsp/im0001", "lsp/im0002", "lsp/im0003", *(f"train/0000{n}" for n in range(4))]
    assert ids("validation") == ["lsp/im0004"]
    assert ids("test") == ["lsp/im0005", "test/00000"]
    assert ids("test", "lsp", "synthetic") == ids("validation", "lsp") == []


@pytest.mark.usefixtures("in_process")
def test_parts_may_repeat_in_training_alone(tmp_path: Path) -> None:
    extended, official = str(write_lspet(tmp_path / "lspet", joints(2))), str(write_lsp(tmp_path / "lsp", joints(4)))

    def made(split: Any, repeats: tuple[int, ...] | None = (1, 3)) -> Joined:
        parts = (lspet(split, root=extended), lsp(split, root=official, train_count=3, validation_count=1))
        return Joined(split, parts=parts, repeats=repeats)

    train = made("train")
    assert [sample.id for sample in train] == [
        "lspet/im00001", "lspet/im00002", "lsp/im0001", "lsp/im0002", "lsp/im0001@2", "lsp/im0002@2", "lsp/im0001@3", "lsp/im0002@3",
    ]  # fmt: skip
    assert train[3].image[0, 0, 0] == train[7].image[0, 0, 0] == 2
    assert [sample.id for sample in made("validation")] == ["lsp/im0003"]
    assert [sample.id for sample in made("test")] == ["lsp/im0004"]
    assert train.signature() != made("train", None).signature() == made("train", (1, 1)).signature()


@pytest.mark.parametrize(("repeats", "message"), [
    ((2,), r"^data.repeats: 1 numbers for 2 parts; give one for each$"),
    ((), r"^data.repeats: 0 numbers for 2 parts; give one for each$"),
    ((1, 2), r"^data.repeats: \[1, 2\], but no part publishes a validation part, and one cut from repeated pictures would hold some that "
             r"also train; let a part publish one, such as lsp with validation_count: 200, or repeat nothing$"),
])  # fmt: skip
@pytest.mark.parametrize("split", ["train", "test"])
def test_repeats_that_do_not_fit_or_would_leak_into_validation_are_refused(split: Any, repeats: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Joined(split, parts=(SyntheticPeople(split, size=4), SyntheticPeople(split, size=4, seed=1)), repeats=repeats)


def test_sets_of_different_skeletons_are_not_joined(tmp_path: Path) -> None:
    expected = r"one part has keypoints right_ankle, .*, another left_shoulder, .*; join data sets of one skeleton"
    with pytest.raises(ConfigError, match=expected):
        Joined("train", parts=(SyntheticPeople("train", size=2), CocoKeypoints("train", root=str(write_coco(tmp_path)))))


COCO_NAMES = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_elbow"]


def write_coco(root: Path, names: Sequence[str] = COCO_NAMES, **changes: Any) -> Path:
    """One person of 20 x 40 px at (10, 20) with a hidden elbow and an unlabelled shoulder; a crowd; a person without labels."""
    if not (root / "images").exists():
        write_pictures(root / "images", 1)
    person = {
        "id": 7, "image_id": 1, "iscrowd": 0, "bbox": [10, 20, 20, 40],
        "keypoints": [12, 22, 2, 0, 0, 0, 14, 50, 2, 25, 51, 2, 29, 30, 1], **changes,
    }  # fmt: skip
    others = [{**person, "id": 8, "iscrowd": 1}, {**person, "id": 9, "keypoints": [0] * 15}]
    content = {
        "categories": [{"keypoints": names}],
        "images": [{"id": 1, "file_name": "im0001.jpg"}],
        "annotations": [person, *others],
    }
    (root / "annotations").mkdir(exist_ok=True)
    (root / "annotations" / "train.json").write_text(json.dumps(content))
    return root


def test_a_person_of_coco_is_cut_out_with_its_margin(tmp_path: Path) -> None:
    data = CocoKeypoints("train", root=str(write_coco(tmp_path)), margin=0.1)
    assert [sample.id for sample in data] == ["coco/7"]
    assert data.splits == ("train",)
    assert data.info.flip_pairs == ((0, 1), (2, 3))
    sample = data[0]
    assert sample.image.shape == (48, 28, 3)  # 4 px on each side
    assert sample.target.points_px[0].tolist() == [12 - 6, 22 - 16]
    assert sample.target.labelled.tolist() == [True, False, True, True, True]
    assert sample.target.visible.tolist() == [True, False, True, True, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": 3}, "annotation 7: no picture has id 3"),
        ({"keypoints": [1, 2, 2]}, "annotation 7: 3 numbers under keypoints; expected 3 for each of 5"),
        ({"bbox": [1, 2, 0, 4]}, r"annotation 7: bbox \[1, 2, 0, 4\]; expected left, top, width and height"),
    ],
)
def test_mistakes_in_annotations_are_named(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"train.json: {message}"):
        CocoKeypoints("train", root=str(write_coco(tmp_path, **changes)))


def test_a_labelled_keypoint_outside_the_picture_is_refused(tmp_path: Path) -> None:
    data = CocoKeypoints("train", root=str(write_coco(tmp_path, keypoints=[12, 22, 2, 0, 0, 0, 14, 500, 2, 25, 51, 2, 29, 30, 1])))
    with pytest.raises(DataError, match=r"annotation 7: left_hip labelled outside of the picture; expected places within 60 x 80"):
        data[0]


def test_annotations_that_are_no_json_or_lack_a_torso_are_refused(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    file = root / "annotations" / "train.json"
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"][0] = "nose"
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"train.json: no keypoint named left_shoulder, which measure the torso; there are: nose"):
        CocoKeypoints("train", root=str(root))
    file.write_text("{")
    with pytest.raises(DataError, match=r"train.json is damaged: .*; expected annotations in COCO's keypoint format"):
        CocoKeypoints("train", root=str(root))


@pytest.mark.usefixtures("in_process")
def test_flic_reads_its_eleven_keypoints_and_its_split(tmp_path: Path) -> None:
    write_pictures(tmp_path / "FLIC" / "images", 3, "film-{}.jpg")
    coords = np.random.default_rng(0).uniform(5, 50, (3, 2, 29))
    coords[:, :, 9] = np.nan  # nobody's right hip is labelled
    kinds = np.dtype([("coords", object), ("filepath", object), ("istrain", object), ("istest", object)])
    examples = np.empty(3, dtype=kinds)
    for n in range(3):
        examples[n] = (coords[n], f"film-{n + 1}.jpg", n != 1, n == 1)
    scipy.io.savemat(tmp_path / "FLIC" / "examples.mat", {"examples": examples})
    data = flic("train", root=str(tmp_path / "FLIC"))
    assert [sample.id for sample in data] == ["flic/film-1", "flic/film-3"]
    target = data[1].target
    place = data.info.keypoints.index
    np.testing.assert_allclose(target.points_px[place("right_wrist")], coords[2, :, 5] - 1, rtol=1e-6)
    np.testing.assert_allclose(target.points_px[place("nose")], coords[2, :, 16] - 1, rtol=1e-6)
    assert [name for name, known in zip(data.info.keypoints, target.labelled, strict=True) if not known] == ["right_hip"]
    assert [sample.id for sample in flic("test", root=str(tmp_path / "FLIC"))] == ["flic/film-2"]
    assert len(flic("validation", root=str(tmp_path / "FLIC"))) == 0
