"""MVTec AD's layout and a user's own folders; everything that does not match is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from toolkit.errors import ConfigError, DataError
from toolkit_anomaly.datasets import anomaly_folder, mvtec, regions_of


def write(file: Path, value: int = 90, size: tuple[int, int] = (10, 8), block: bool = False) -> None:
    """A picture of width, height `size`; a mask has a 3 x 2 block of 255."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((size[1], size[0]) if block else (size[1], size[0], 3), 0 if block else value, np.uint8)
    if block:
        pixels[1:3, 4:7] = 255
    Image.fromarray(pixels).save(file)


@pytest.fixture
def category(tmp_path: Path) -> Path:
    """Three good pictures to train with, two to test with, two kinds of defect with masks named in either way."""
    for n in range(3):
        write(tmp_path / f"train/good/{n:03d}.png", 50 + n)
    for n in range(2):
        write(tmp_path / f"test/good/{n:03d}.png")
        write(tmp_path / f"test/crack/{n:03d}.png")
        write(tmp_path / f"ground_truth/crack/{n:03d}_mask.png", block=True)
    write(tmp_path / "test/hole/7.jpg", size=(16, 12))
    write(tmp_path / "ground_truth/hole/7.png", size=(16, 12), block=True)
    return tmp_path


def test_the_published_layout_is_read_with_masks_in_either_naming(category: Path) -> None:
    train, test = mvtec("train", root=str(category)), mvtec("test", root=str(category.parent), category=category.name)
    assert train.info.kinds == test.info.kinds == ("good", "crack", "hole")
    assert train.info.has_masks
    assert [sample.id for sample in test] == [
        "test/good/000.png", "test/good/001.png", "test/crack/000.png", "test/crack/001.png", "test/hole/7.jpg",
    ]  # fmt: skip
    assert [int(sample.truth.kind) for sample in test] == [0, 0, 1, 1, 2]
    assert [int((sample.truth.regions > 0).sum()) for sample in test] == [0, 0, 6, 6, 6]
    assert test[4].truth.regions.shape == (12, 16, 1)
    assert train[0].truth.regions.shape == (8, 10, 0)
    assert len(train) == 3


def test_regions_are_numbered_by_connection_over_corners(category: Path) -> None:
    pixels = np.zeros((8, 10), np.uint8)
    pixels[0, 0] = pixels[1, 1] = pixels[5, 5] = 255
    Image.fromarray(pixels).save(category / "ground_truth/crack/000_mask.png")
    regions = mvtec("test", root=str(category))[2].truth.regions[..., 0]
    assert regions[0, 0] == regions[1, 1] == 1
    assert regions[5, 5] == 2


def test_without_ground_truth_there_are_pictures_and_no_masks(category: Path) -> None:
    for file in sorted((category / "ground_truth").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    (category / "ground_truth").rmdir()
    test = mvtec("test", root=str(category))
    assert not test.info.has_masks
    assert test[2].truth.regions.shape == (8, 10, 0)


def test_all_pictures_without_mask_and_masks_without_picture_are_named(category: Path) -> None:
    (category / "ground_truth/crack/001_mask.png").unlink()
    write(category / "ground_truth/hole/9_mask.png", block=True)
    write(category / "ground_truth/dent/0.png", block=True)
    with pytest.raises(DataError) as caught:
        mvtec("train", root=str(category))
    lines = str(caught.value).splitlines()
    assert lines[0].endswith(": 3 pictures or masks are out of place (without a folder of masks whole pictures are scored)")
    assert lines[1].endswith("test/crack/001.png: has no mask; expected " + str(category / "ground_truth/crack/001_mask.png"))
    assert lines[2].endswith(f"ground_truth/hole/9_mask.png: is a mask without a picture in {category / 'test/hole'}")
    assert lines[3].endswith(f"ground_truth/dent: masks without pictures; expected a folder of defects {category / 'test/dent'}")


def listed(error: pytest.ExceptionInfo[DataError], root: Path) -> list[str]:
    """The lines below the first, without the root."""
    return [line.strip().replace(f"{root}/", "") for line in str(error.value).splitlines()[1:]]


def test_every_one_of_many_mismatches_is_named(category: Path) -> None:
    for n in range(10, 45):
        write(category / f"test/crack/{n:03d}.png")
    with pytest.raises(DataError, match=": 35 pictures or masks are out of place") as caught:
        mvtec("train", root=str(category))
    names = [line.split(":")[0] for line in listed(caught, category)]
    assert names == [f"test/crack/{n:03d}.png" for n in range(10, 45)]


def test_defects_among_the_training_pictures_and_masks_beside_their_folders_are_named(category: Path) -> None:
    write(category / "train/crack/7.png")
    write(category / "ground_truth/0.png", block=True)
    (category / "ground_truth/good").mkdir()  # empty, as some copies have it
    with pytest.raises(DataError) as caught:
        mvtec("train", root=str(category))
    assert listed(caught, category) == [
        "train/crack: is not read, only good pictures are trained with",
        "ground_truth/0.png: is not read, it lies beside the folders of pictures; move it into one",
    ]


def test_pictures_where_none_are_read_are_named(category: Path) -> None:
    for name in ("train/0.png", "train/good/sub/1.png", "test/2.png", "test/good/sub/3.png", "test/crack/a/b/4.png", "test/hole/.x/5.png"):
        write(category / name)
    with pytest.raises(DataError, match=": 5 pictures or masks are out of place") as caught:
        mvtec("test", root=str(category))
    assert listed(caught, category) == [
        "train/0.png: is not read, it lies beside the folders of pictures; move it into one",
        "train/good/sub/1.png: is not read, it lies too deep; move it to train/good",
        "test/2.png: is not read, it lies beside the folders of pictures; move it into one",
        "test/good/sub/3.png: is not read, it lies too deep; move it to test/good",
        "test/crack/a/b/4.png: is not read, it lies too deep; move it to test/crack",
    ]


def test_two_pictures_that_would_share_a_mask_are_named(category: Path) -> None:
    write(category / "test/crack/001.jpg")
    with pytest.raises(DataError, match=r"crack/001.png: is named as 001.jpg, and one mask cannot be that of both; rename one"):
        mvtec("test", root=str(category))


def test_an_empty_folder_of_a_defect_holds_none(category: Path) -> None:
    (category / "test/dent").mkdir()
    test = mvtec("test", root=str(category))
    assert test.info.kinds == ("good", "crack", "dent", "hole")
    assert [int(sample.truth.kind) for sample in test] == [0, 0, 1, 1, 3]


def test_more_regions_than_16_bits_can_number_are_told_apart() -> None:
    mask = np.zeros((400, 400), bool)
    mask[::2, ::2] = True
    regions = regions_of(mask)
    assert regions.min() == 0
    assert regions.unique().numel() == 40_000 + 1


def test_two_masks_for_one_picture_are_refused(category: Path) -> None:
    write(category / "ground_truth/hole/7_mask.png", size=(16, 12), block=True)
    with pytest.raises(DataError, match=r"7_mask.png: a second mask for '7' beside 7.png; expected one"):
        mvtec("test", root=str(category))


def test_a_mask_of_another_size_than_its_picture_is_named_with_both_sizes(category: Path) -> None:
    write(category / "ground_truth/hole/7.png", size=(8, 6), block=True)
    with pytest.raises(
        DataError, match=r"hole/7.png: the mask is 6 high, 8 wide, but its picture .*hole/7.jpg is 12 high, 16 wide; expected"
    ):
        mvtec("test", root=str(category))[4]


def test_a_mask_that_marks_nothing_is_refused(category: Path) -> None:
    Image.fromarray(np.ones((12, 16), np.uint8)).save(category / "ground_truth/hole/7.png")
    with pytest.raises(DataError, match=r"7.png: marks no defect, its highest value is 1; expected 255 on the defect"):
        mvtec("test", root=str(category))[4]


def test_an_empty_folder_of_good_pictures_is_refused(category: Path) -> None:
    for file in (category / "train/good").iterdir():
        file.unlink()
    with pytest.raises(
        DataError, match=r"train/good: has no pictures; expected good ones to train with, at least 1, in this folder itself"
    ):
        mvtec("train", root=str(category))


def test_a_folder_that_is_no_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train/good: no such folder; expected good pictures to train with"):
        mvtec("train", root=str(tmp_path))
    with pytest.raises(ValueError, match=r"mvtec has no split 'validation'; it has train, test"):
        mvtec("validation", root=str(tmp_path))


def test_a_limit_keeps_samples_of_every_kind(category: Path) -> None:
    assert [int(s.truth.kind) for s in mvtec("test", root=str(category), limit=3)] == [0, 0, 1]
    assert len(mvtec("train", root=str(category), limit=99)) == 3


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Ten good pictures, two bad ones without kinds."""
    for n in range(10):
        write(tmp_path / f"good/{n}.jpg")
    for n in range(2):
        write(tmp_path / f"bad/{n}.jpg")
    return tmp_path


def test_a_share_of_the_good_pictures_is_kept_for_testing_and_the_parts_share_none(own: Path) -> None:
    options: dict[str, Any] = {"root": str(own), "test_share": 0.3}
    train, test = anomaly_folder("train", **options), anomaly_folder("test", **options)
    assert train.info.kinds == ("good", "bad")
    assert (len(train), len(test)) == (7, 3 + 2)
    ids = [sample.id for part in (train, test) for sample in part]
    assert sorted(ids) == sorted([f"good/{n}.jpg" for n in range(10)] + ["bad/0.jpg", "bad/1.jpg"])
    assert [sample.id for sample in anomaly_folder("train", **options)] == [sample.id for sample in train]
    assert not test.info.has_masks


def test_kinds_are_folders_and_masks_lie_alike(own: Path) -> None:
    for n in range(2):
        (own / f"bad/{n}.jpg").unlink()
    write(own / "bad/dent/a.png")
    write(own / "masks/dent/a.png", block=True)
    test = anomaly_folder("test", root=str(own))
    assert test.info.kinds == ("good", "dent")
    assert int((test[len(test) - 1].truth.regions > 0).sum()) == 6


def test_masks_of_a_bad_folder_without_kinds_are_found(own: Path) -> None:
    write(own / "masks/0_mask.png", block=True)
    with pytest.raises(DataError, match=r"bad/1.jpg: has no mask; expected .*masks/1_mask.png"):
        anomaly_folder("test", root=str(own))
    write(own / "masks/1.png", block=True)
    assert anomaly_folder("test", root=str(own)).info.has_masks


def test_a_folder_without_bad_pictures_has_good_ones_to_test_with(own: Path) -> None:
    for n in range(2):
        (own / f"bad/{n}.jpg").unlink()
    (own / "bad").rmdir()
    test = anomaly_folder("test", root=str(own))
    assert test.info.kinds == ("good",)
    assert len(test) == 2


def test_an_empty_folder_of_bad_pictures_holds_no_defects(own: Path) -> None:
    for n in range(2):
        (own / f"bad/{n}.jpg").unlink()
    assert [int(sample.truth.kind) for sample in anomaly_folder("test", root=str(own))] == [0, 0]


@pytest.mark.parametrize("option", ["good", "bad", "masks"])
@pytest.mark.parametrize("name", ["../elsewhere", "/elsewhere", "good/../.."])
def test_a_folder_that_is_not_below_root_is_refused(own: Path, option: str, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        anomaly_folder("test", **{"root": str(own), option: name})
    assert caught.value.path == f"data.{option}"
    assert str(caught.value) == f"data.{option}: must be below root ({own}), found '{name}'; set data.root to a folder that holds all"


def test_an_absolute_folder_below_root_is_read(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(own.parent)
    monkeypatch.setenv("TOOLKIT_DATA", ".")
    test = anomaly_folder("test", root=own.name, bad=str(own / "bad"))
    assert [sample.id for sample in test][2:] == ["bad/0.jpg", "bad/1.jpg"]


@pytest.mark.parametrize("option", ["bad", "masks"])
def test_a_folder_that_was_named_must_be_there(own: Path, option: str) -> None:
    with pytest.raises(DataError) as caught:
        anomaly_folder("test", **{"root": str(own), option: "defekt"})
    assert str(caught.value) == f"{own}/defekt: no such folder; folders in {own}: bad, good; set data.{option} to the right one"


def test_pictures_beside_the_folders_of_kinds_and_too_deep_ones_are_named(own: Path) -> None:
    write(own / "bad/dent/a/2.png")
    write(own / "good/sub/3.png")
    with pytest.raises(DataError, match=": 4 pictures or masks are out of place") as caught:
        anomaly_folder("train", root=str(own))
    assert [line.split(":")[0] for line in listed(caught, own)] == ["good/sub/3.png", "bad/0.jpg", "bad/1.jpg", "bad/dent/a/2.png"]


def test_good_pictures_may_lie_in_the_root_itself(own: Path) -> None:
    for n in range(10):
        (own / f"good/{n}.jpg").rename(own / f"{n}.jpg")
    assert len(anomaly_folder("train", root=str(own), good=".")) == 8


def test_a_folder_named_good_among_the_defects_is_refused(own: Path) -> None:
    for n in range(2):
        (own / f"bad/{n}.jpg").unlink()
    write(own / "bad/good/0.png")
    with pytest.raises(DataError, match=r"bad/good: no defect can be named 'good'; rename the folder, or move it elsewhere if its"):
        anomaly_folder("test", root=str(own))


def test_a_single_good_picture_is_too_few(tmp_path: Path) -> None:
    write(tmp_path / "good/0.png")
    with pytest.raises(DataError, match=r"good: has 1 pictures; expected good ones to train with, at least 2"):
        anomaly_folder("train", root=str(tmp_path))
