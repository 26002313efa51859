"""Leeds Sports Pose and its extension: conventions, damage, and the real files where they are at hand."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import scipy.sparse
import torch

from tests.plugins.pose.keypoint_files import joints, write_lsp, write_lspet, write_pictures
from toolkit.data.tree import stack
from toolkit.errors import ConfigError, DataError
from toolkit_pose import mat_reader
from toolkit_pose.leeds import lsp, lspet
from toolkit_pose.metrics import Pcp
from toolkit_pose.pictures import PosePictures
from toolkit_pose.types import PosePrediction

REAL = Path(os.environ.get("TOOLKIT_DATA", "nowhere"))


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


@pytest.mark.usefixtures("in_process")
def test_labels_read_in_another_way_are_not_taken_for_the_same_in_the_cache(tmp_path: Path) -> None:
    """The key of prepared pictures knows the code of a data set's own class alone; LSP's convention is applied elsewhere."""
    root = str(write_lsp(tmp_path / "lsp", joints(5)))
    before = lsp("train", root=root, train_count=4)
    after = lsp("train", root=root, train_count=4)
    assert after.signature() == before.signature()
    after.points_px[3, 13, 1] += 1
    assert after.signature() != before.signature()


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


def test_a_person_of_lspet_without_a_label_in_the_picture_is_refused(tmp_path: Path) -> None:
    values = joints(2)
    values[:, 0, 1] = 500.0
    data = lspet("train", root=str(write_lspet(tmp_path / "lspet", values)))
    assert data[0].target.labelled.any()
    with pytest.raises(
        DataError, match=r"im00002.webp: in .*joints.mat every labelled keypoint is outside; expected at least one within its"
    ):
        data[1]


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("reader", [lsp, lspet])
def test_flags_that_are_neither_0_nor_1_are_refused(tmp_path: Path, reader: Any) -> None:
    values = joints(3)
    values[3, 2, 1], values[5, 2, 2] = 2.0, np.nan
    root = str((write_lsp if reader is lsp else write_lspet)(tmp_path / "set", values))
    with pytest.raises(DataError) as caught:
        reader("train", root=root, **({"train_count": 2} if reader is lsp else {}))
    told = str(caught.value).splitlines()
    assert "2 people have a keypoint whose third number is neither 0 nor 1" in told[0]
    assert [line.split(": ")[1] for line in told[1:]] == [f"of person {n} a keypoint's third number is neither 0 nor 1" for n in (2, 3)]


@pytest.mark.usefixtures("in_process")
def test_two_pictures_with_one_number_are_refused_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    root = write_lsp(tmp_path / "lsp", joints(3))
    (root / "images/im0001.txt").write_text("a note")
    assert len(lsp("train", root=str(root), train_count=2)) == 2
    (root / "images/im0002.jpg").with_suffix(".png").write_bytes((root / "images/im0002.jpg").read_bytes())
    with pytest.raises(DataError, match=r"im0002.jpg and .*im0002.png have one number"):
        lsp("train", root=str(root), train_count=2)


@pytest.mark.usefixtures("in_process")
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
    expected = r"im0002.jpg: in .*joints.mat left_hip at \(89.0, .*\); expected within its 60 x 80 pixels"
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
    with pytest.raises(ConfigError, match=r"^lsp: train_count is 4, but .* has 4 pictures; leave at least one to test"):
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
    assert len(list(own_cache.rglob("*.npz"))) == 1
    assert (lsp("train", root=str(root), train_count=1)[0].target.points_px == first).all()


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize(
    ("mark", "offset", "bits"),
    [
        (b"PK\x01\x02", 8, 0x01),
        (b"PK\x01\x02", 10, 0xFF),  # the directory says: encrypted; packed in an unknown way
        (b"(3, 14, ", 1, 0x01),
        (b"{'descr'", 0, 0x40),
        (b"(3, 14, ", 1000, 0xFF),  # headers `(2, 14, ` and `;'descr'`; a number
    ],
)
def test_a_damaged_cache_is_made_again(tmp_path: Path, own_cache: Path, mark: bytes, offset: int, bits: int) -> None:
    values = joints(60).transpose(1, 0, 2)  # large enough that NumPy believes a header before it has read all numbers
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": values})
    first = mat_reader.read_mat(tmp_path / "joints.mat")["joints"]
    (cached,) = own_cache.rglob("*.npz")
    whole = cached.read_bytes()
    content = bytearray(whole)
    content[whole.rindex(mark) + offset] ^= bits
    cached.write_bytes(bytes(content))
    again = mat_reader.read_mat(tmp_path / "joints.mat")["joints"]
    np.testing.assert_array_equal(again, first)
    assert cached.read_bytes() != bytes(content)


def test_arrays_that_hold_objects_are_left_out_and_empty_structs_have_none(tmp_path: Path) -> None:
    nested = np.array([({"x": np.arange(3)}, 1.0)], dtype=[("inner", object), ("number", object)])
    empty = np.empty(0, dtype=[("field", object)])
    content = {"joints": np.ones((3, 14, 2)), "nested": nested, "empty": empty, "sparse": scipy.sparse.eye_array(3)}
    scipy.io.savemat(tmp_path / "mixed.mat", content)
    arrays = mat_reader.plain_arrays(str(tmp_path / "mixed.mat"))
    assert sorted(arrays) == ["joints", "nested.number"]
    np.savez(tmp_path / "arrays.npz", allow_pickle=False, **arrays)


@pytest.mark.slow
def test_a_file_of_version_7_3_is_told_with_its_remedy(tmp_path: Path) -> None:
    file = tmp_path / "joints.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(DataError, match=r"joints.mat is of MATLAB's version 7.3, which SciPy cannot read; save it with -v7$"):
        mat_reader.read_mat(file)


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
        metric.update(
            PosePrediction(points, torch.zeros(1, 1, 14, 4, 2), torch.ones(1, 14, dtype=torch.bool), torch.tensor([0])),
            stack([test[n].target]),
        )
    assert metric.compute()["pcp"] == pytest.approx(0.241, abs=0.0005)


@pytest.mark.skipif(not (REAL / "lspet").is_dir(), reason="no lspet below TOOLKIT_DATA")
def test_the_real_lspet_has_its_known_numbers() -> None:
    data = lspet("train")
    assert len(data) == 10_000
    assert int(data.labelled.sum()) == 123_213
