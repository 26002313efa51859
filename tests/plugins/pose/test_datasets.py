"""Joined data sets, COCO's format and FLIC: conventions and damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from tests.plugins.pose.keypoint_files import joints, write_coco, write_lsp, write_lspet, write_pictures
from toolkit.errors import ConfigError, DataError
from toolkit_pose.coco import CocoKeypoints
from toolkit_pose.datasets import Joined, flic
from toolkit_pose.leeds import lsp, lspet
from toolkit_pose.skeletons import LSP_KEYPOINTS
from toolkit_pose.synthetic import SyntheticPeople


@pytest.mark.usefixtures("in_process")
def test_a_part_without_validation_adds_no_test_pictures_to_it(tmp_path: Path) -> None:
    official, other = str(write_lsp(tmp_path / "lsp", joints(4))), str(write_lsp(tmp_path / "other", joints(4)))
    parts = (lsp("validation", root=official, train_count=2), lsp("validation", root=other, train_count=3, validation_count=1))
    assert [sample.id for sample in Joined("validation", parts=parts)] == ["2/lsp/im0003"]


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
    ((1, 2), r"^data.repeats: \[1, 2\], but no part publishes a validation part, and one cut from repeated pictures would count "
             r"them as often; let a part publish one, such as lsp with validation_count: 200, or repeat nothing$"),
])  # fmt: skip
@pytest.mark.parametrize("split", ["train", "test"])
def test_repeats_that_do_not_fit_or_would_leak_into_validation_are_refused(split: Any, repeats: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Joined(split, parts=(SyntheticPeople(split, size=4), SyntheticPeople(split, size=4, seed=1)), repeats=repeats)


def test_sets_of_different_skeletons_are_not_joined(tmp_path: Path) -> None:
    expected = r"one part has keypoints right_ankle, .*, another left_shoulder, .*; join data sets of one skeleton"
    with pytest.raises(ConfigError, match=expected):
        Joined("train", parts=(SyntheticPeople("train", size=2), CocoKeypoints("train", root=str(write_coco(tmp_path)))))


def write_flic(root: Path, coords: Any, films: tuple[str, ...] = ("one", "two", "one")) -> Path:
    """Three stills, the second to test; `coords` [3, 2, 29]."""
    write_pictures(root / "images", 3, "film-{}.jpg")
    kinds = [("coords", object), ("filepath", object), ("moviename", object), ("istrain", object), ("istest", object)]
    examples = np.empty(3, dtype=kinds)
    for n in range(3):
        examples[n] = (coords[n], f"film-{n + 1}.jpg", films[n], n != 1, n == 1)
    scipy.io.savemat(root / "examples.mat", {"examples": examples})
    return root


@pytest.mark.usefixtures("in_process")
def test_flic_reads_its_eleven_keypoints_and_its_split(tmp_path: Path) -> None:
    coords = np.random.default_rng(0).uniform(5, 50, (3, 2, 29))
    coords[:, :, 9] = np.nan  # nobody's right hip is labelled
    coords[2, 0, 3] = 75.0  # the right shoulder lies outside of a picture 60 px wide
    root = str(write_flic(tmp_path / "FLIC", coords))
    data = flic("train", root=root)
    assert [sample.id for sample in data] == ["flic/film-1", "flic/film-3"]
    assert data.groups() == ["one", "one"]
    target = data[1].target
    place = data.info.keypoints.index
    np.testing.assert_allclose(target.points_px[place("right_wrist")], coords[2, :, 5] - 1, rtol=1e-6)
    np.testing.assert_allclose(target.points_px[place("nose")], coords[2, :, 16] - 1, rtol=1e-6)
    unlabelled = [name for name, is_labelled in zip(data.info.keypoints, target.labelled, strict=True) if not is_labelled]
    assert unlabelled == ["right_shoulder", "right_hip"]
    assert [sample.id for sample in flic("test", root=root)] == ["flic/film-2"]
    first = flic("train", root=root, limit=1)
    assert [sample.id for sample in first] == ["flic/film-1"]
    assert first.groups() == ["one"]
    assert len(flic("validation", root=root)) == 0


@pytest.mark.usefixtures("in_process")
def test_damaged_flic_is_told_with_what_is_wrong(tmp_path: Path) -> None:
    root = write_flic(tmp_path / "FLIC", np.ones((3, 2, 29)))
    (root / "images/film-1.jpg").unlink()
    with pytest.raises(DataError, match=r"^[^\n]*film-1.jpg: no such file$"):
        flic("train", root=str(root))
    scipy.io.savemat(root / "examples.mat", {"examples": np.ones(3)})
    with pytest.raises(DataError, match=r"examples.mat holds examples; expected a struct array examples with coords \(2 x 29\), filepath"):
        flic("train", root=str(root))


@pytest.mark.usefixtures("in_process")
def test_parts_of_one_reader_have_ids_and_groups_of_their_own(tmp_path: Path) -> None:
    one, two = (str(write_coco(tmp_path / name, keypoints=[20, 30, 2] * 5)) for name in ("one", "two"))
    joined = Joined("train", parts=(CocoKeypoints("train", root=one), CocoKeypoints("train", root=two)))
    assert [sample.id for sample in joined] == ["1/coco/7", "2/coco/7"]
    assert joined.groups() == ["0/1", "1/1"]
