from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import albumentations
import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.geometry import apply_homography
from toolkit.data.sample import Sample, Target
from toolkit.data.transforms import TransformList, albumentations_transform, is_deterministic
from toolkit.errors import ConfigError, DataError


@dataclass(frozen=True)
class Label(Target):
    label: Tensor


@dataclass(frozen=True)
class Marks(Target):
    moves: ClassVar[bool] = True
    xy: Tensor
    pixels: Tensor | None = None
    mirrored: Tensor | None = None

    def points(self) -> Tensor:
        return self.xy

    def mask(self) -> Tensor | None:
        return self.pixels

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        assert points is not None
        before = torch.tensor(False) if self.mirrored is None else self.mirrored  # by the leading part, which comes first
        return replace(self, xy=points, pixels=mask, mirrored=before ^ mirrored)


@dataclass(frozen=True)
class Clock(Marks):
    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        if mirrored:
            raise DataError("a mirrored clock shows another time; leave out flips")
        return self


def make(name: str, **options: Any) -> Any:
    factory = albumentations_transform(name)
    assert factory is not None
    return factory(**options)


def random_image(height: int = 24, width: int = 32, channels: int = 3, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


OUTSIDE = torch.tensor([[3.0, 4.0], [30.0, 20.0], [-9.0, 5.0], [50.0, 60.0]], dtype=torch.float64)


def marked(xy: Tensor = OUTSIDE, mask: Tensor | None = None, kind: type[Marks] = Marks) -> Sample[Marks]:
    return Sample("s", random_image(), kind(xy, mask))


def ran(transforms: Sequence[Any], sample: Sample[Any], entropy: Sequence[int] = (0,), *, evaluation: bool = True) -> Sample[Any]:
    both = TransformList(transforms, evaluation=evaluation)
    return both.augment(both.prepare(sample), entropy)


def names(transforms: Sequence[Any]) -> list[str]:
    return [type(transform).__name__ for transform in transforms]


def test_the_list_is_cut_after_its_deterministic_beginning_and_before_its_normalize() -> None:
    cut = TransformList(
        [make("LongestMaxSize", max_size=16), make("PadIfNeeded", min_height=16, min_width=16)]
        + [make("HorizontalFlip", p=0.5), make("Resize", height=8, width=8), make("Normalize")]
    )
    assert names(cut.leading) == ["LongestMaxSize", "PadIfNeeded"]
    assert names(cut.random) == ["HorizontalFlip", "Resize"]
    assert cut.finish.floats_too


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("HorizontalFlip", {"p": 1}, True),
        ("HorizontalFlip", {"p": 0.5}, False),
        ("LongestMaxSize", {"max_size": [8, 16]}, False),
        ("PadIfNeeded", {"min_height": 40, "min_width": 40, "position": "random"}, False),
        ("CenterCrop", {"height": 40, "width": 40, "pad_if_needed": True, "pad_position": "random"}, False),
        ("CenterCrop", {"height": 4, "width": 4}, True),
        ("NoOp", {"p": 0.5}, True),
        ("RandomCrop", {"height": 4, "width": 4}, False),
    ],
)
def test_options_that_ask_for_chance_make_a_transform_random(name: str, options: Any, expected: bool) -> None:
    assert is_deterministic(make(name, **options)) is expected


def test_a_plugins_transform_can_say_that_it_is_deterministic() -> None:
    class Same(albumentations.NoOp):  # type: ignore[misc]
        toolkit_deterministic = True

    class Other(albumentations.NoOp):  # type: ignore[misc]
        pass

    assert is_deterministic(Same(p=1))
    assert not is_deterministic(Other(p=1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "transform",
    [
        albumentations.Normalize(mean=0.3, std=0.2),
        albumentations.Normalize(mean=0.0, std=1.0, max_pixel_value=1.0),
        albumentations.ToFloat(),
        albumentations.ToFloat(max_value=100.0),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_finish_equals_albumentations(transform: Any, channels: int, channels_last: bool) -> None:
    images = np.stack([random_image(channels=channels, seed=seed) for seed in range(3)])
    expected = np.stack([transform(image=image)["image"].reshape(image.shape) for image in images]).transpose(0, 3, 1, 2)
    found = TransformList([transform]).finish(torch.from_numpy(images), channels_last=channels_last)
    assert found.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert np.abs(found.numpy() - expected).max() <= 1e-5 * max(1, np.abs(expected).max())


def test_the_default_normalize_equals_albumentations() -> None:
    image = random_image()
    expected = albumentations.Normalize()(image=image)["image"].transpose(2, 0, 1)
    found = TransformList([make("Normalize")]).finish(torch.from_numpy(image[None]))
    assert np.abs(found[0].numpy() - expected).max() <= 1e-5


def test_without_a_normalize_bytes_are_divided_by_255_and_floats_are_left_alone() -> None:
    finish = TransformList([]).finish
    assert finish(torch.full((1, 1, 1, 1), 51, dtype=torch.uint8)).item() == pytest.approx(0.2)
    assert finish(torch.full((1, 1, 1, 1), 0.7)).item() == pytest.approx(0.7)


def test_a_finish_never_writes_into_its_argument() -> None:
    images = torch.rand(2, 3, 4, 3)
    before = images.clone()
    TransformList([make("Normalize", max_pixel_value=1.0)]).finish(images)
    assert torch.equal(images, before)


def test_a_float_picture_in_the_middle_reaches_the_normalize_as_float() -> None:
    image = random_image()
    transforms = [make("ToFloat"), make("HorizontalFlip", p=1), make("Normalize", max_pixel_value=1.0)]
    expected = image
    for transform in transforms:
        expected = transform(image=expected)["image"]
    listed = TransformList(transforms)
    sample = listed.augment(listed.prepare(Sample("s", image, Label(torch.tensor(0)))), (0,))
    assert sample.image.dtype == np.float32
    assert np.abs(listed.finish(torch.from_numpy(sample.image[None]))[0].permute(1, 2, 0).numpy() - expected).max() <= 1e-5


def test_normalize_for_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mean and std for 3 channels, but the pictures have 1; give mean and std as one number each"):
        TransformList([make("Normalize")]).finish.check_channels(1)


GEOMETRIC: list[tuple[str, dict[str, Any]]] = [
    ("HorizontalFlip", {"p": 1}),
    ("VerticalFlip", {"p": 1}),
    ("Transpose", {"p": 1}),
    ("D4", {"p": 1}),
    ("RandomRotate90", {"p": 1}),
    ("Resize", {"height": 60, "width": 20}),
    ("LongestMaxSize", {"max_size": 16}),
    ("PadIfNeeded", {"min_height": 50, "min_width": 50}),
    ("CenterCrop", {"height": 10, "width": 12}),
    ("RandomCrop", {"height": 10, "width": 12}),
    ("RandomResizedCrop", {"size": [20, 20]}),
    ("Rotate", {"limit": [30, 30], "p": 1}),
    ("SafeRotate", {"limit": [30, 30], "p": 1}),
    ("Affine", {"rotate": [-40, 40], "scale": [0.8, 1.25], "shear": [-10, 10], "translate_percent": [-0.2, 0.2], "p": 1}),
    ("ShiftScaleRotate", {"p": 1}),
    ("Perspective", {"scale": [0.1, 0.1], "p": 1}),
    ("CoarseDropout", {"p": 1}),
    ("PixelDropout", {"p": 1}),
]


@pytest.mark.parametrize(("name", "options"), GEOMETRIC)
def test_to_original_takes_moved_points_back_even_from_outside_the_frame(name: str, options: Any) -> None:
    before = np.array([[2.0, 0, 5], [0, 2, 7], [0, 0, 1]])  # the sample's own pixels are not the file's
    sample = replace(marked(), to_original=before)
    for draw in range(5):
        after = ran([make(name, **options)], sample, (draw,))
        back = apply_homography(after.to_original, after.target.xy.numpy())
        assert np.abs(back - apply_homography(before, OUTSIDE.numpy())).max() < 0.01
        assert after.image.shape[2] == 3


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("HorizontalFlip", {"p": 1}),
        ("VerticalFlip", {"p": 1}),
        ("Transpose", {"p": 1}),
        ("PadIfNeeded", {"min_height": 50, "min_width": 50}),
    ]
    + [("CenterCrop", {"height": 20, "width": 22}), ("D4", {"p": 1}), ("RandomRotate90", {"p": 1})],
)
def test_a_point_stays_on_its_pixel_and_its_mask(name: str, options: Any, channels: int) -> None:
    image = np.zeros((24, 32, channels), dtype=np.uint8)
    image[10, 14] = 255
    mask = torch.from_numpy(image[:, :, 0].copy())
    for draw in range(5):
        after = ran([make(name, **options)], Sample("s", image, Marks(torch.tensor([[14.0, 10.0]]), mask)), (draw,))
        x, y = after.target.xy[0].int().tolist()
        assert after.image.shape[2] == channels
        assert after.image[y, x].tolist() == [255] * channels
        assert after.target.pixels[y, x] == 255
        assert after.image.sum() == 255 * channels


@pytest.mark.parametrize(
    ("flips", "mirrored"),
    [(["HorizontalFlip"], True), (["VerticalFlip"], True), (["Transpose"], True), (["HorizontalFlip", "VerticalFlip"], False), ([], False)],
)
def test_mirroring_is_what_turns_the_orientation_over(flips: list[str], mirrored: bool) -> None:
    after = ran([make(name, p=1) for name in flips] + [make("Rotate", limit=[20, 20], p=1)], marked())
    assert bool(after.target.mirrored) is mirrored


def test_a_target_that_cannot_be_mirrored_names_its_sample() -> None:
    with pytest.raises(DataError, match=r"^s: a mirrored clock shows another time; leave out flips$"):
        ran([make("HorizontalFlip", p=1)], marked(kind=Clock))


def test_several_masks_keep_their_shape() -> None:
    masks = torch.zeros(2, 24, 32, dtype=torch.uint8)
    masks[0, 0, 0], masks[1, 23, 31] = 1, 2
    after = ran([make("HorizontalFlip", p=1)], marked(mask=masks))
    assert after.target.pixels.shape == (2, 24, 32)
    assert (int(after.target.pixels[0, 0, 31]), int(after.target.pixels[1, 23, 0])) == (1, 2)


def test_a_label_costs_no_geometry_in_training_but_keeps_to_original_in_evaluation() -> None:
    sample = Sample("s", random_image(), Label(torch.tensor(3)))
    flips = [make("OneOf", transforms=["HorizontalFlip"], p=1)]
    assert np.array_equal(ran(flips, sample, evaluation=False).to_original, np.eye(3))
    assert np.allclose(ran(flips, sample).to_original, [[-1, 0, 31], [0, 1, 0], [0, 0, 1]], atol=1e-6)


def test_the_leading_part_always_keeps_to_original() -> None:
    sample = Sample("s", random_image(), Label(torch.tensor(3)))
    prepared = TransformList([make("Resize", height=12, width=8)]).prepare(sample)
    assert np.allclose(prepared.to_original, np.diag([4, 2, 1]))


def test_bending_is_refused_in_evaluation_and_allowed_in_training() -> None:
    bend = make("ElasticTransform", alpha=300, sigma=5, keypoint_remapping_method="direct", p=1)
    with pytest.raises(
        ConfigError, match=r"needs an affine or perspective pipeline; ElasticTransform bends the picture; use it in transforms.train"
    ):
        ran([make("HorizontalFlip", p=1), bend], marked())
    assert ran([bend], marked(), evaluation=False).target.xy.shape == (4, 2)


def test_a_transform_that_loses_keypoints_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"OpticalDistortion loses keypoints near the edge.*set keypoint_remapping_method: direct"):
        ran([make("OpticalDistortion", p=1)], marked(), evaluation=False)


def test_a_transform_that_cannot_be_applied_names_transform_and_sample() -> None:
    with pytest.raises(ConfigError, match=r"transforms: RandomCrop cannot be applied to sample 's' \(24 x 32 x 3\): .*100"):
        ran([make("RandomCrop", height=100, width=100)], marked())


def test_two_transforms_of_one_list_are_drawn_independently() -> None:
    corners = np.zeros((4, 4, 1), dtype=np.uint8)
    corners[0, 0] = 1
    listed = TransformList([make("HorizontalFlip", p=0.5), make("VerticalFlip", p=0.5)])
    sample = Sample("s", corners, Label(torch.tensor(0)))
    seen = Counter(tuple(np.argwhere(listed.augment(sample, (0, draw)).image[:, :, 0])[0].tolist()) for draw in range(400))
    assert set(seen) == {(0, 0), (0, 3), (3, 0), (3, 3)}
    assert min(seen.values()) > 60  # 100 expected, with a standard deviation of 9


def test_random_transforms_are_a_function_of_their_entropy() -> None:
    listed = TransformList([make("OneOf", transforms=["ColorJitter", "GaussNoise"], p=1), make("CoarseDropout", p=0.5)])
    first, second, other = (listed.augment(marked(), entropy).image for entropy in ((1, 2), (1, 2), (1, 3)))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


class Blacken(albumentations.ImageOnlyTransform):  # type: ignore[misc]
    def apply(self, img: Any, **params: Any) -> Any:
        img[:] = 0
        return img


def test_a_transform_that_writes_into_what_it_is_given_does_not_reach_the_prepared_picture() -> None:
    sample = marked()
    before = sample.image.copy()
    assert ran([Blacken(p=1)], sample).image.max() == 0
    assert np.array_equal(sample.image, before)


def test_leading_keys_tell_options_apart() -> None:
    small, again, large = (TransformList([make("Resize", height=n, width=8)]).leading_key for n in (8, 8, 9))
    assert small == again != large


class Shuffle(albumentations.NoOp):  # type: ignore[misc]
    def apply_to_keypoints(self, keypoints: Any, **params: Any) -> Any:
        return keypoints[::-1]


def test_keypoints_that_a_transform_reorders_are_put_back_in_order() -> None:
    assert torch.equal(ran([Shuffle(p=1)], marked()).target.xy, OUTSIDE)
