"""COCO's keypoint format: conventions, parts, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import toolkit
from tests.plugins.pose.keypoint_files import write_coco, write_pictures
from toolkit.config import check_config, read_text
from toolkit.errors import DataError
from toolkit.extension.discovery import load_plugins
from toolkit_pose.coco import CocoKeypoints


def test_a_person_of_coco_is_cut_out_with_its_margin(tmp_path: Path) -> None:
    data = CocoKeypoints("train", root=str(write_coco(tmp_path)), margin=0.1)
    assert [sample.id for sample in data] == ["coco/7"]
    assert data.splits == ("train",)
    assert data.groups() == ["1"]
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
        ({"bbox": [1, 2, 0, 4]}, r"annotation 7: bbox \[1.0, 2.0, 0.0, 4.0\]; expected left, top, width and height"),
        ({"bbox": [1, 2, float("nan"), 4]}, r"annotation 7: bbox \[1.0, 2.0, nan, 4.0\]; expected left, top, width and height"),
        ({"bbox": None}, "annotation 7: TypeError: 'NoneType' object is not iterable"),
        ({"bbox": ["left", 2, 3, 4]}, "annotation 7: ValueError: could not convert string to float: 'left'"),
        ({"image_id": [1]}, r"annotation 7: TypeError: an id is \[1\], neither a number nor text"),
        ({"keypoints": [float("inf"), 22, 2, 0, 0, 0, 14, 50, 2, 25, 51, 2, 29, 30, 1]}, "annotation 7: a keypoint is not finite"),
    ],
)
def test_mistakes_in_annotations_are_named(tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"train.json: {message}"):
        CocoKeypoints("train", root=str(write_coco(tmp_path, **changes)))


def test_a_labelled_keypoint_outside_the_picture_is_refused(tmp_path: Path) -> None:
    data = CocoKeypoints("train", root=str(write_coco(tmp_path, keypoints=[12, 22, 2, 0, 0, 0, 14, 500, 2, 25, 51, 2, 29, 30, 1])))
    with pytest.raises(DataError, match=r"im0001.jpg: annotation 7 in .*: left_hip at \(14.0, 500.0\); expected within its 60 x 80 pixels"):
        data[0]
    data = CocoKeypoints("train", root=str(write_coco(tmp_path, bbox=[400, 20, 20, 40])))
    with pytest.raises(DataError, match=r"annotation 7 in .*: its bbox \[400.0, .*\] is outside of the picture; expected one"):
        data[0]


def test_annotations_that_are_no_json_or_lack_a_torso_are_refused(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    file = root / "annotations" / "train.json"
    content = json.loads(file.read_text())
    content["categories"][0]["keypoints"][0] = "nose"
    file.write_text(json.dumps(content))
    with pytest.raises(
        DataError,
        match=r"no keypoint named left_shoulder; the torso is measured from left_shoulder to right_hip; there are: nose,",
    ):
        CocoKeypoints("train", root=str(root))
    file.write_text("{")
    with pytest.raises(DataError, match=r"train.json is damaged: .*; expected annotations in COCO's keypoint format"):
        CocoKeypoints("train", root=str(root))


def changed(root: Path, change: Callable[[Any], object], name: str = "train") -> str:
    """A copy of the training annotations, changed, as part `name`."""
    content = json.loads((root / "annotations/train.json").read_text())
    change(content)
    (root / f"annotations/{name}.json").write_text(json.dumps(content))
    return str(root)


def test_all_mistakes_are_told_together(tmp_path: Path) -> None:
    def spoil(content: Any) -> None:
        content["annotations"][0]["image_id"] = 5
        content["annotations"].append({**content["annotations"][0], "id": 10, "image_id": 1, "bbox": []})
        del content["annotations"][2]["bbox"]

    with pytest.raises(DataError) as caught:
        CocoKeypoints("train", root=changed(write_coco(tmp_path), spoil))
    assert str(caught.value).splitlines()[1:] == [
        "  annotation 7: no picture has id 5",
        "  annotation 9: KeyError: 'bbox'",
        "  annotation 10: bbox []; expected left, top, width and height",
    ]


def test_annotations_of_other_categories_and_people_without_labels_are_skipped(tmp_path: Path) -> None:
    def add(content: Any) -> None:
        content["categories"] = [{"id": 3, "name": "car"}, {"id": 1, "keypoints": content["categories"][0]["keypoints"]}]
        person = content["annotations"][0]
        person["category_id"] = 1
        unlabelled = [12, 22, -1, *[0] * 12]
        content["annotations"] += [{**person, "id": 10, "category_id": 3}, {**person, "id": 11, "keypoints": unlabelled}]

    assert [person.id for person in CocoKeypoints("train", root=changed(write_coco(tmp_path), add))] == ["coco/7"]


@pytest.mark.parametrize(
    ("categories", "reason"),
    [
        ([{"id": 1}], "0 categories have keypoints"),
        ([{"id": 1, "keypoints": ["a"]}, {"id": 2, "keypoints": ["a"]}], "2 categories have keypoints"),
        ([{"id": 1, "keypoints": [1, 2]}], "a keypoint's name is no text"),
    ],
)
def test_not_exactly_one_category_with_keypoints_is_refused(tmp_path: Path, categories: Any, reason: str) -> None:
    root = changed(write_coco(tmp_path), lambda content: content.update(categories=categories))
    with pytest.raises(DataError, match=rf"train.json: {reason}; expected COCO's categories, of which one has keypoints, images with id"):
        CocoKeypoints("train", root=root)


def test_annotations_of_nobody_are_refused(tmp_path: Path) -> None:
    def number(content: Any) -> None:
        content["categories"][0]["id"] = 1  # which no annotation names

    with pytest.raises(DataError, match=r"train.json: nobody to learn from: none of its annotations is of the category with keypoints"):
        CocoKeypoints("train", root=changed(write_coco(tmp_path), number))


def test_every_part_may_have_its_own_annotations_and_pictures(tmp_path: Path) -> None:
    root = write_coco(tmp_path)
    (tmp_path / "images").rename(tmp_path / "train2017")
    write_pictures(tmp_path / "val2017", 1, size=(30, 70))
    changed(root, lambda content: content["annotations"][0].update(id=21), "val")
    text = (
        f"task: pose\ndata: {{name: coco_keypoints, root: {root}, images: train2017, validation_file: annotations/val.json,"
        " validation_images: val2017, margin: 5.0}\nmodel: {backbone: pyramid, head: keypoints}\n"
        "fit: {phases: [{epochs: 1, optimizer: adam}]}"
    )
    options = check_config(read_text(text, "coco.yaml"), load_plugins().registry).data.options
    train, validation, test = (CocoKeypoints(split, **options) for split in ("train", "validation", "test"))
    assert train.splits == ("train", "validation")
    assert [(sample.id, sample.image.shape) for sample in train] == [("coco/7", (80, 60, 3))]
    assert [(sample.id, sample.image.shape) for sample in validation] == [("coco/21", (70, 30, 3))]
    assert len(test) == 0
    assert test.info == train.info


def test_a_part_that_counts_its_keypoints_in_another_order_is_refused(tmp_path: Path) -> None:
    root = str(write_coco(tmp_path))

    def swap(content: Any) -> None:
        names = content["categories"][0]["keypoints"]
        names[0], names[1] = names[1], names[0]

    changed(tmp_path, swap, "test")
    config = {
        "task": "pose",
        "data": {"name": "coco_keypoints", "root": root, "validation_file": "annotations/train.json", "test_file": "annotations/test.json"},
        "transforms": {"train": [{"name": "Resize", "height": 64, "width": 64}], "eval": [{"name": "Resize", "height": 64, "width": 64}]},
        "model": {"backbone": "alexnet_form", "head": "keypoints"},
        "fit": {"phases": [{"epochs": 1, "optimizer": "adam"}]},
    }
    first, second = CocoKeypoints("train", root=root).info.keypoints[:2]
    told = (
        "^the test part of 'coco_keypoints' has 5 names for a model's outputs, the training part 5; "
        f"the first difference is at 0: {second}, not {first}; give data with the same names in the same order$"
    )
    with pytest.raises(DataError, match=told):
        toolkit.run(config, out=tmp_path / "run")


def test_people_of_one_picture_are_one_group_and_a_limit_keeps_the_first(tmp_path: Path) -> None:
    def add(content: Any) -> None:
        content["annotations"] += [{**content["annotations"][0], "id": number} for number in (10, 11)]

    root = changed(write_coco(tmp_path), add)
    assert CocoKeypoints("train", root=root).groups() == ["1", "1", "1"]
    first = CocoKeypoints("train", root=root, limit=2)
    assert [sample.id for sample in first] == ["coco/7", "coco/10"]
    assert first.signature() != CocoKeypoints("train", root=root).signature()
