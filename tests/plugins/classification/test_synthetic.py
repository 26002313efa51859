"""`synthetic_shapes`: a pure function of seed, split and index."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit_classification.synthetic import SHAPES, SyntheticShapes


def test_a_picture_depends_on_neither_order_nor_number_of_pictures() -> None:
    forwards = [SyntheticShapes("train", size=20)[n].image for n in range(20)]
    other = SyntheticShapes("train", size=40)
    for index in reversed(range(20)):
        np.testing.assert_array_equal(other[index].image, forwards[index])


def test_seeds_parts_and_indices_give_different_pictures() -> None:
    pictures = [
        SyntheticShapes("train")[0],
        SyntheticShapes("train")[10],
        SyntheticShapes("test")[0],
        SyntheticShapes("train", seed=1)[0],
    ]
    assert {sample.target.label.item() for sample in pictures} == {0}
    assert len({sample.image.tobytes() for sample in pictures}) == 4


def test_the_test_part_has_a_quarter_of_the_pictures() -> None:
    assert (len(SyntheticShapes("train")), len(SyntheticShapes("test"))) == (4000, 1000)
    assert len(SyntheticShapes("test", size=3)) == 1


def test_every_shape_is_equally_frequent() -> None:
    data = SyntheticShapes("test", size=400)
    assert np.bincount([sample.target.label.item() for sample in data]).tolist() == [10] * 10
    assert data.info.classes == tuple(SHAPES)
    assert [data[0].id, data[-1].id] == ["test/00000", "test/00099"]
    with pytest.raises(IndexError):
        data[100]


@pytest.mark.parametrize(("channels", "image_size"), [(1, 28), (3, 32), (3, 57)])
def test_pictures_have_the_size_asked_for(channels: int, image_size: int) -> None:
    data = SyntheticShapes("train", channels=channels, image_size=image_size)  # type: ignore[arg-type]
    assert data[7].image.shape == (image_size, image_size, channels)
    assert data[7].image.dtype == np.uint8
    assert data.info.input_shape == (channels, image_size, image_size)


def test_without_variation_only_the_colours_of_a_shape_differ() -> None:
    covers, colors = [], []
    for index in (3, 13, 23):  # three stars
        picture = SyntheticShapes("train", variation=0.0)[index].image.astype(float)
        ground, paint = picture[0, 0], picture[15, 15]
        covers.append((picture - ground) @ (paint - ground) / ((paint - ground) ** 2).sum())  # [32, 32], 0 .. 1
        colors.append((*ground, *paint))
    np.testing.assert_allclose(covers[1:], [covers[0]] * 2, atol=0.02)  # colours are whole numbers
    assert 0.1 < covers[0].mean() < 0.5
    assert len(set(colors)) == 3


def test_every_shape_lies_within_the_unit_circle_so_that_none_is_cut_off() -> None:
    for name, contours in SHAPES.items():
        assert max(np.linalg.norm(contour, axis=1).max() for contour in contours) <= 1.0 + 1e-9, name


def test_a_part_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^synthetic_shapes has no split 'validation'; it has train, test$"):
        SyntheticShapes("validation")
