"""`image_folder`: parts, classes, cuts and what is refused."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from toolkit.data.images import write_png
from toolkit.errors import DataError
from toolkit_classification.image_folder import ImageFolder

REAL = Path(os.environ.get("TOOLKIT_DATA", "nowhere"))


def write_pictures(folder: Path, count: int, start: int = 0) -> None:
    """4x6 pictures `0.png`, `1.png`, ... filled with their number."""
    folder.mkdir(parents=True)
    for number in range(start, start + count):
        write_png(folder / f"{number}.png", np.full((4, 6, 3), number, dtype=np.uint8))


def ids(data: ImageFolder) -> list[str]:
    return [sample.id for sample in data]


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """10 cats, 20 dogs."""
    write_pictures(tmp_path / "dog", 20)
    write_pictures(tmp_path / "cat", 10)
    return tmp_path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """train, val and test with two classes each."""
    for part, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("cat", "dog"):
            write_pictures(tmp_path / part / name, count)
    return tmp_path


def test_classes_are_the_sorted_folders(pool: Path) -> None:
    data = ImageFolder("train", root=str(pool))
    assert data.info.classes == ("cat", "dog")
    assert data.info.input_shape == (3, 0, 0)
    for sample in data:
        assert data.info.classes[sample.target.label] == sample.id.split("/")[0]
        assert sample.image.shape == (4, 6, 3)
        assert (sample.image == int(Path(sample.id).stem)).all()


def test_the_test_part_has_the_same_share_of_every_class(pool: Path) -> None:
    train, test = ImageFolder("train", root=str(pool)), ImageFolder("test", root=str(pool))
    assert train.splits == ("train", "test")
    assert [sum(name.startswith(animal) for name in ids(test)) for animal in ("cat", "dog")] == [2, 4]  # a fifth
    assert set(ids(train)) | set(ids(test)) == {f"cat/{n}.png" for n in range(10)} | {f"dog/{n}.png" for n in range(20)}
    assert not set(ids(train)) & set(ids(test))


def test_the_cut_depends_on_the_seed_and_on_nothing_else(pool: Path) -> None:
    first = ids(ImageFolder("test", root=str(pool)))
    assert ids(ImageFolder("test", root=str(pool))) == first
    assert ids(ImageFolder("test", root=str(pool), split_seed=1)) != first
    assert len(ImageFolder("test", root=str(pool), test_share=0.5)) == 15


def test_a_class_keeps_a_picture_to_train_with(tmp_path: Path) -> None:
    write_pictures(tmp_path / "rare", 1)
    write_pictures(tmp_path / "common", 9)
    train = ImageFolder("train", root=str(tmp_path), test_share=0.9)
    assert [name.split("/")[0] for name in ids(train)] == ["common", "rare"]


def test_published_parts_are_kept(published: Path) -> None:
    parts = {split: ImageFolder(split, root=str(published)) for split in ("train", "validation", "test")}
    assert parts["train"].splits == ("train", "validation", "test")
    assert {split: len(data) for split, data in parts.items()} == {"train": 6, "validation": 4, "test": 2}
    assert ids(parts["validation"]) == ["val/cat/0.png", "val/cat/1.png", "val/dog/0.png", "val/dog/1.png"]


def test_a_folder_without_a_test_part_says_so(tmp_path: Path) -> None:
    for part in ("train", "validation"):
        write_pictures(tmp_path / part / "cat", 1)
        write_pictures(tmp_path / part / "dog", 1)
    assert ImageFolder("train", root=str(tmp_path)).splits == ("train", "validation")
    with pytest.raises(ValueError, match=f"^{tmp_path} has no split 'test'; it has train, validation$"):
        ImageFolder("test", root=str(tmp_path))


def test_a_class_that_one_part_lacks_is_named(published: Path) -> None:
    write_pictures(published / "test" / "eel", 1)
    text = f"^{published}/test/eel is a class, but {published}/train has no folder 'eel'; every part needs the same classes$"
    with pytest.raises(DataError, match=text):
        ImageFolder("train", root=str(published))


def test_a_class_that_only_the_training_part_has_is_named(published: Path) -> None:
    write_pictures(published / "train" / "eel", 1)
    text = f"^{published}/train/eel is a class, but {published}/(val|test) has no folder 'eel'; every part needs the same classes$"
    with pytest.raises(DataError, match=text):
        ImageFolder("test", root=str(published))


def test_files_that_are_no_pictures_and_hidden_ones_are_passed_over(pool: Path) -> None:
    (pool / "LICENSE.txt").touch()
    (pool / "cat" / "notes.txt").touch()
    (pool / "cat" / "._0.png").touch()
    (pool / ".cache").mkdir()
    assert ImageFolder("train", root=str(pool)).info.classes == ("cat", "dog")
    assert len(ImageFolder("train", root=str(pool))) == 24


def test_an_empty_class_folder_is_named(pool: Path) -> None:
    (pool / "eel").mkdir()
    with pytest.raises(DataError, match=f"^class folder {pool}/eel has no pictures; add some or remove it$"):
        ImageFolder("train", root=str(pool))


def test_fewer_than_two_classes_are_refused(tmp_path: Path) -> None:
    text = f"^{tmp_path} needs at least two folders, one per class, with pictures in them; found none$"
    with pytest.raises(DataError, match=text):
        ImageFolder("train", root=str(tmp_path))
    write_pictures(tmp_path / "cat", 3)
    with pytest.raises(DataError, match=f"^{tmp_path} needs at least two folders, .*; found only 'cat'$"):
        ImageFolder("train", root=str(tmp_path))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    expected = "no such folder; expected one folder of pictures per class; set TOOLKIT_DATA or data.root to where it is"
    with pytest.raises(DataError, match=f"^{tmp_path}/flowers: {expected}$"):
        ImageFolder("train", root=str(tmp_path / "flowers"))


def test_a_limit_keeps_pictures_of_every_class(pool: Path) -> None:
    data = ImageFolder("train", root=str(pool), limit=6)
    assert [sample.target.label.item() for sample in data] == [0, 0, 1, 1, 1, 1]  # of 8 cats and 16 dogs


def test_grey_pictures_have_one_channel(pool: Path) -> None:
    data = ImageFolder("train", root=str(pool), channels=1)
    assert data.info.input_shape == (1, 0, 0)
    assert data[0].image.shape == (4, 6, 1)


def test_a_damaged_picture_is_named_when_it_is_read(pool: Path) -> None:
    (pool / "cat" / "3.png").write_bytes(b"")
    data = ImageFolder("train", root=str(pool), test_share=0.01)
    with pytest.raises(DataError, match=f"^{pool}/cat/3.png: is empty; "):
        data[3]


@pytest.mark.skipif(not (REAL / "flower_photos").is_dir(), reason="no flower_photos below TOOLKIT_DATA")
def test_real_flowers_have_their_published_numbers() -> None:
    train, test = ImageFolder("train", root="flower_photos"), ImageFolder("test", root="flower_photos")
    assert train.info.classes == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    counts = np.bincount([label for _, label in [*train.files, *test.files]])
    assert counts.tolist() == [633, 898, 641, 699, 799]
    assert train[0].image.shape[2] == 3
