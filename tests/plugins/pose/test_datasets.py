"""Leeds Sports Pose, its extension, COCO and FLIC: conventions, damage, and the real files where they are at hand."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from toolkit.data.tree import stack
from toolkit.errors import ConfigError, DataError
from toolkit_pose import mat_reader
from toolkit_pose.datasets import CocoKeypoints, Joined, flic
from toolkit_pose.leeds import lsp, lspet
from toolkit_pose.metrics import Pcp
from toolkit_pose.pictures import PosePictures
from toolkit_pose.skeletons import LSP_KEYPOINTS
from toolkit_pose.synthetic import SyntheticPeople
from toolkit_pose.types import PosePrediction

REAL = Path(os.environ.get("TOOLKIT_DATA", "nowhere"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("TOOLKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _read_here(file: Path, out: Path) -> None:
    arrays: Any = mat_reader.plain_arrays(str(file))
    np.savez(out, **arrays)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read MATLAB files here: starting a child takes most of a second."""
    monkeypatch.setattr(mat_reader, "read_in_child", _read_here)


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


@pytest.mark.usefixtures("in_process")
def test_lsp_counts_from_one_labels_everything_and_flags_what_is_hidden(tmp_path: Path) -> None:
    values = joints(4)
    data = lsp("train", root=str(write_lsp(tmp_path / "lsp", values)), train_count=3)
    assert len(data) == 3
    assert data.splits == ("train", "test")
    sample = data[1]
    assert sample.id == "lsp/im0002"
    assert sample.image[0, 0, 0] == 2
    np.testing.assert_allclose(sample.target.points_px.numpy(), values[:, :2, 1] - 1, rtol=1e-6)
    assert sample.target.labelled.all()
    assert sample.target.visible.tolist() == [k % 3 != 0 for k in range(14)]
    assert [s.id for s in lsp("test", root=str(tmp_path / "lsp"), train_count=3)] == ["lsp/im0004"]


@pytest.mark.usefixtures("in_process")
def test_lsp_may_publish_the_end_of_its_training_part_as_validation(tmp_path: Path) -> None:
    options: Any = {"root": str(write_lsp(tmp_path / "lsp", joints(5))), "train_count": 4, "validation_count": 1}
    parts: list[PosePictures] = [lsp(split, **options) for split in ("train", "validation", "test")]
    assert [[sample.id[-1] for sample in part] for part in parts] == [["1", "2", "3"], ["4"], ["5"]]
    assert parts[0].splits == ("train", "validation", "test")
    with pytest.raises(ConfigError, match=r"lsp: validation_count is 4 of 4 pictures that train; leave at least one"):
        lsp("train", **options | {"validation_count": 4})


@pytest.mark.usefixtures("in_process")
def test_a_part_without_validation_adds_no_test_pictures_to_it(tmp_path: Path) -> None:
    official, other = str(write_lsp(tmp_path / "lsp", joints(4))), str(write_lsp(tmp_path / "other", joints(4)))
    parts = (lsp("validation", root=official, train_count=2), lsp("validation", root=other, train_count=3, validation_count=1))
    assert [sample.id for sample in Joined("validation", parts=parts)] == ["lsp/im0003"]


def test_a_margin_cuts_pictures_to_their_labelled_keypoints(tmp_path: Path) -> None:
    values = joints(1)
    values[:, 2] = 0
    values[:3] = np.array([[[20], [30], [1]], [[40], [35], [1]], [[25], [50], [1]]])
    write_pictures(tmp_path / "lspet" / "images", 1, "im{:05d}.webp")  # 60 x 80
    np.save(tmp_path / "lspet" / "joints.npy", values.transpose(2, 0, 1))
    sample = lspet("train", root=str(tmp_path / "lspet"), margin=0.25)[0]
    assert sample.image.shape[:2] == (31, 31)  # 20 .. 40 and 30 .. 50, five more on every side
    assert sample.target.points_px[:3].tolist() == [[5, 5], [25, 10], [10, 25]]
    assert lspet("train", root=str(tmp_path / "lspet"), margin=0.25).signature() != lspet("train", root=str(tmp_path / "lspet")).signature()


def test_a_single_keypoint_outside_its_picture_is_cut_to_the_nearest_pixel(tmp_path: Path) -> None:
    values = joints(1)
    values[:, 2] = 0
    values[0] = [[61], [40], [1]]  # two pixels beyond the last column of 60: still labelled
    write_pictures(tmp_path / "lspet" / "images", 1, "im{:05d}.webp")
    np.save(tmp_path / "lspet" / "joints.npy", values.transpose(2, 0, 1))
    sample = lspet("train", root=str(tmp_path / "lspet"), margin=0.16)[0]
    assert sample.image.shape[:2] == (1, 1)
    assert sample.target.points_px[0].tolist() == [2, 0]


@pytest.mark.usefixtures("in_process")
def test_lspet_counts_from_one_and_labels_what_is_flagged_visible(tmp_path: Path) -> None:
    values = joints(3)
    data = lspet("train", root=str(write_lspet(tmp_path / "lspet", values)))
    sample = data[2]
    assert sample.target.labelled.tolist() == sample.target.visible.tolist() == [k % 3 == 0 for k in range(14)]
    np.testing.assert_allclose(sample.target.points_px.numpy()[::3], values[::3, :2, 2] - 1, rtol=1e-6)
    assert len(lspet("test", root=str(tmp_path / "lspet"))) == 0
    assert data.splits == ("train",)


def test_cropped_copies_of_lspet_count_from_zero(tmp_path: Path) -> None:
    values = joints(2)
    write_pictures(tmp_path / "lspet" / "images", 2, "im{:05d}.webp")
    np.save(tmp_path / "lspet" / "joints.npy", values.transpose(2, 0, 1).astype(np.float32))
    sample = lspet("train", root=str(tmp_path / "lspet"))[0]
    np.testing.assert_allclose(sample.target.points_px.numpy()[::3], values[::3, :2, 0], rtol=1e-6)


def test_labels_of_lspet_outside_their_picture_do_not_count(tmp_path: Path) -> None:
    values = joints(1)
    values[:, 2] = 1
    values[3, 0], values[4, 0] = -1.5, -2.5  # the picture is 60 x 80
    write_pictures(tmp_path / "lspet" / "images", 1, "im{:05d}.webp")
    np.save(tmp_path / "lspet" / "joints.npy", values.transpose(2, 0, 1))
    target = lspet("train", root=str(tmp_path / "lspet"))[0].target
    assert [k for k in range(14) if not target.labelled[k]] == [4]
    assert not target.visible[4]


@pytest.mark.usefixtures("in_process")
def test_joined_sets_follow_each_other_and_are_tested_on_the_parts_that_can_be(tmp_path: Path) -> None:
    extended, official = str(write_lspet(tmp_path / "lspet", joints(3))), str(write_lsp(tmp_path / "lsp", joints(4)))
    train = Joined("train", parts=(lspet("train", root=extended), lsp("train", root=official, train_count=3)))
    assert [sample.id for sample in train] == ["lspet/im00001", "lspet/im00002", "lspet/im00003", "lsp/im0001", "lsp/im0002", "lsp/im0003"]
    assert train.splits == ("train", "test")
    assert train.info.keypoints == LSP_KEYPOINTS
    test = Joined("test", parts=(lspet("test", root=extended), lsp("test", root=official, train_count=3)))
    assert [sample.id for sample in test] == ["lsp/im0004"]


def test_sets_of_different_skeletons_are_not_joined(tmp_path: Path) -> None:
    expected = r"one part has keypoints right_ankle, .*, another left_shoulder, .*; join data sets of one skeleton"
    with pytest.raises(ConfigError, match=expected):
        Joined("train", parts=(SyntheticPeople("train", size=2), CocoKeypoints("train", root=str(write_coco(tmp_path)))))


@pytest.mark.usefixtures("in_process")
def test_every_label_that_is_not_finite_is_named_in_one_message(tmp_path: Path) -> None:
    values = joints(4)
    values[2, 0, 1] = np.nan
    values[12, 1, 3] = np.inf
    root = write_lsp(tmp_path / "lsp", values)
    with pytest.raises(DataError) as caught:
        lsp("train", root=str(root), train_count=3)
    assert str(caught.value).count("\n") == 0  # the other one is in the test part
    assert "im0002.jpg: right_hip is labelled at (nan, " in str(caught.value)
    values[5, 0, 0] = np.nan
    scipy.io.savemat(root / "joints.mat", {"joints": values.transpose(1, 0, 2)})
    with pytest.raises(
        DataError, match=r"(?s)2 labels cannot be used.*im0001.jpg: left_ankle is labelled.*im0002.jpg: right_hip is labelled"
    ):
        lsp("train", root=str(root), train_count=3)


@pytest.mark.usefixtures("in_process")
def test_a_keypoint_far_outside_its_picture_is_refused_and_one_just_outside_is_not(tmp_path: Path) -> None:
    values = joints(2)
    values[3, 0, 0] = 62.0  # 61 from 0; the picture is 60 wide
    values[3, 0, 1] = 90.0
    data = lsp("train", root=str(write_lsp(tmp_path / "lsp", values)), train_count=1)
    assert data[0].target.labelled.all()
    expected = r"im0002.jpg: left_hip at \(89.0, .*\) in .*joints.mat; expected places within its 60 x 80 pixels"
    with pytest.raises(DataError, match=expected):
        lsp("test", root=str(tmp_path / "lsp"), train_count=1)[0]


@pytest.mark.usefixtures("in_process")
def test_a_person_without_any_label_is_refused(tmp_path: Path) -> None:
    values = joints(2)
    values[:, 2, 1] = 0
    with pytest.raises(DataError, match=r"im00002.webp: no keypoint is labelled in .*joints.mat; expected at least one"):
        lspet("train", root=str(write_lspet(tmp_path / "lspet", values)))


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        (
            2,
            r"has 2 pictures, but .*joints.mat has keypoints of 4; expected one picture for each\n.*no picture number 3\n.*number 4$",
        ),
        (5, r"im0005.jpg: a picture without keypoints$"),
    ],
)
def test_pictures_and_keypoints_must_be_equally_many(tmp_path: Path, pictures: int, message: str) -> None:
    root = write_lsp(tmp_path / "lsp", joints(4), pictures)
    with pytest.raises(DataError, match=message):
        lsp("train", root=str(root), train_count=3)


@pytest.mark.usefixtures("in_process")
def test_another_data_sets_file_is_recognised_by_its_shape(tmp_path: Path) -> None:
    root = write_lspet(tmp_path / "lsp", joints(4))
    with pytest.raises(
        DataError, match=r"joints is 14 x 3 x 4 of type float64; expected 3 x 14 x N numbers; is it another data set's file\?"
    ):
        lsp("train", root=str(root))
    scipy.io.savemat(root / "joints.mat", {"points": np.zeros(3)})
    with pytest.raises(DataError, match=r"joints.mat has no array 'joints', but points; expected joints, 3 x 14 x N"):
        lsp("train", root=str(root))


@pytest.mark.usefixtures("in_process")
def test_a_share_that_leaves_nothing_to_test_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.train_count is 4, but .* has 4 pictures; leave at least one to test"):
        lsp("train", root=str(write_lsp(tmp_path / "lsp", joints(4))), train_count=4)


@pytest.mark.slow
def test_a_damaged_mat_file_is_told_in_one_line_and_a_good_one_is_cached(tmp_path: Path, own_cache: Path) -> None:
    root = write_lsp(tmp_path / "lsp", joints(2))
    whole = (root / "joints.mat").read_bytes()
    (root / "joints.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"^[^\n]*joints.mat is damaged: [^\n]+; expected a MATLAB file; fetch it again$"):
        lsp("train", root=str(root), train_count=1)
    assert not own_cache.exists()
    (root / "joints.mat").write_bytes(whole)
    first = lsp("train", root=str(root), train_count=1)[0].target.points_px
    (cached,) = own_cache.rglob("*.npz")
    assert (lsp("train", root=str(root), train_count=1)[0].target.points_px == first).all()
    content = bytearray(cached.read_bytes())
    content[len(content) // 2] ^= 0xFF
    cached.write_bytes(bytes(content))  # noticed by its checksum, and made again
    assert (lsp("train", root=str(root), train_count=1)[0].target.points_px == first).all()
    assert cached.read_bytes() != bytes(content)


def test_a_reader_that_dies_is_told_as_a_damaged_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died:
        returncode = -11

    monkeypatch.setattr("subprocess.run", lambda *args, **options: Died())
    (tmp_path / "joints.mat").write_bytes(b"anything")
    with pytest.raises(DataError, match="is damaged: its reader was killed by signal 11; expected a MATLAB file; fetch it again"):
        mat_reader.read_mat(tmp_path / "joints.mat")


def test_a_missing_set_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"^{re.escape(str(tmp_path / 'lsp'))}: no such folder; expected joints.mat and images/; set TOOLKIT_DATA"
    ):
        lsp("train", root=str(tmp_path / "lsp"))
    (tmp_path / "lsp").mkdir()
    with pytest.raises(DataError, match=r"joints.mat: no such file; expected MATLAB annotations; set TOOLKIT_DATA or data.root"):
        lsp("train", root=str(tmp_path / "lsp"))


COCO_NAMES = ["left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_elbow"]


def write_coco(root: Path, **changes: Any) -> Path:
    """One person of 20 x 40 px at (10, 20) with a hidden elbow and an unlabelled shoulder; a crowd; a person without labels."""
    if not (root / "images").exists():
        write_pictures(root / "images", 1)
    person = {
        "id": 7, "image_id": 1, "iscrowd": 0, "bbox": [10, 20, 20, 40],
        "keypoints": [12, 22, 2, 0, 0, 0, 14, 50, 2, 25, 51, 2, 29, 30, 1], **changes,
    }  # fmt: skip
    others = [{**person, "id": 8, "iscrowd": 1}, {**person, "id": 9, "keypoints": [0] * 15}]
    content = {
        "categories": [{"keypoints": COCO_NAMES}],
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


@pytest.mark.skipif(not (REAL / "lsp").is_dir(), reason="no lsp below TOOLKIT_DATA")
def test_the_real_lsp_has_its_known_numbers() -> None:
    train, test = lsp("train"), lsp("test")
    assert (len(train), len(test)) == (1000, 1000)
    hidden = (~train.visible).sum() + (~test.visible).sum()
    assert int(hidden) == 2044  # ones in the file's third row


@pytest.mark.skipif(not (REAL / "lsp").is_dir(), reason="no lsp below TOOLKIT_DATA")
def test_one_pose_for_everybody_scores_what_the_readme_says() -> None:
    """The median of the training keypoints, in shares of the picture padded to a square, by the plugin's own PCP."""

    def padded(data: PosePictures, index: int) -> tuple[int, Any]:
        height, width = data[index].image.shape[:2]
        return max(height, width), np.array([max(height - width, 0), max(width - height, 0)]) / 2

    train, test = lsp("train"), lsp("test")
    shares = [(train.points_px[n].numpy() + offset) / side for n in range(len(train)) for side, offset in [padded(train, n)]]
    median, metric = np.median(shares, axis=0), Pcp(test.info)
    for n in range(len(test)):
        side, offset = padded(test, n)
        points = torch.from_numpy(median * side - offset).float()[None, None]
        metric.update(PosePrediction(points, torch.zeros(1, 1, 14, 4, 2)), stack([test[n].target]))
    assert metric.compute()["pcp"] == pytest.approx(0.241, abs=0.0005)


@pytest.mark.skipif(not (REAL / "lspet").is_dir(), reason="no lspet below TOOLKIT_DATA")
def test_the_real_lspet_has_its_known_numbers() -> None:
    data = lspet("train")
    assert len(data) == 10_000
    assert int(data.labelled.sum()) == 123_213
