"""Whole lists: what is joined, what is refused and why, that a sample looks the same in any batch, and what targets are told."""

from __future__ import annotations

import dataclasses
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import albumentations as A
import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.device_transforms import (
    CannotMatchError,
    DevicePlan,
    DeviceTransform,
    Draws,
    LevelTransform,
    Refusal,
    Shape,
    plan_device,
)
from toolkit.data.device_transforms.stages import ExactStage, GeometricStage, WarpStage
from toolkit.data.device_transforms.steps import LevelStep, Step
from toolkit.data.sample import Target
from toolkit.errors import ConfigError, DataError

SIZE = (40, 48)


@dataclass(frozen=True)
class Label(Target):
    number: Tensor

    def points(self) -> Tensor:
        raise AssertionError("a target that does not move is not asked for its points")


@dataclass(frozen=True)
class Pose(Target):
    """Points [B, 2, 2] that swap when mirrored, and masks [B, 2, H, W]."""

    moves: ClassVar[bool] = True
    xy: Tensor
    areas: Tensor

    def points(self) -> Tensor:
        return self.xy

    def mask(self) -> Tensor:
        return self.areas

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        assert points is not None
        assert mask is not None
        return type(self)(torch.where(mirrored[:, None, None], points.flip(1), points), mask)


@dataclass(frozen=True)
class Clock(Target):
    moves: ClassVar[bool] = True
    minutes: Tensor

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        assert points is None
        assert mask is None
        if mirrored.any():
            raise DataError("a clock face cannot be mirrored")
        return self


def planned(*transforms: Any, size: tuple[int, int] = SIZE, channels: int = 3) -> DevicePlan:
    plan = plan_device(transforms, *size, channels)
    assert isinstance(plan, DevicePlan), str(plan)
    return plan


def refused(*transforms: Any, size: tuple[int, int] = SIZE, channels: int = 3) -> str:
    plan = plan_device(transforms, *size, channels)
    assert isinstance(plan, Refusal)
    return str(plan)


def pictures(count: int, size: tuple[int, int] = SIZE, channels: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, *size, channels), dtype=np.uint8))


def labels(count: int) -> Label:
    return Label(torch.arange(count))


def poses(count: int, size: tuple[int, int] = SIZE) -> Pose:
    rng = np.random.default_rng(1)
    areas = torch.from_numpy(rng.integers(0, 5, (count, 2, *size), dtype=np.uint8))
    return Pose(torch.from_numpy(rng.random((count, 2, 2)) * size[::-1]), areas)


def draws(*positions: int, epoch: int = 0) -> Draws:
    return Draws((3, 1, epoch), np.array(positions))


EVERYTHING = [
    A.RandomCrop(36, 44),
    A.HorizontalFlip(),
    A.Affine(rotate=(-30, 30), scale=(0.8, 1.2), p=0.7),
    A.RandomResizedCrop((32, 32)),
    A.OneOf([A.RandomBrightnessContrast(), A.ColorJitter(), A.RandomGamma()], p=0.8),
    A.SomeOf([A.GaussNoise(p=1), A.GaussianBlur(p=1), A.InvertImg(p=1), A.ToGray(p=1)], n=2),
    A.RandomRotate90(),
    A.CoarseDropout(fill="random", fill_mask=0),
    A.Perspective(),
    A.Normalize(),
]


@pytest.mark.usefixtures("engine")
def test_a_sample_is_the_same_in_any_batch_and_another_in_the_next_epoch() -> None:
    plan, images, given = planned(*EVERYTHING), pictures(6), poses(6)
    together = plan(images, given, draws(0, 1, 2, 3, 4, 5))
    for i in range(6):
        alone = plan(images[i : i + 1], Pose(given.xy[i : i + 1], given.areas[i : i + 1]), draws(i))
        assert torch.equal(alone.images[0], together.images[i])
        assert torch.equal(alone.targets.xy[0], together.targets.xy[i])
        assert torch.equal(alone.targets.areas[0], together.targets.areas[i])
        assert torch.equal(alone.to_new[0], together.to_new[i])
    again = plan(images, given, draws(0, 1, 2, 3, 4, 5, epoch=1))
    assert not (again.images == together.images).flatten(1).all(1).any()


def test_elsewhere_than_on_the_cpu_no_pixel_is_read_by_the_host() -> None:
    """The meta device has shapes but no data: any copy to the host raises."""
    given = poses(6)
    plan = planned(*EVERYTHING[:-1], A.RandomBrightnessContrast(brightness_by_max=False), A.Pad(3, border_mode=cv2.BORDER_REFLECT))
    done = plan(pictures(6).to("meta"), Pose(given.xy.to("meta"), given.areas.to("meta")), draws(*range(6)))
    assert (done.images.device.type, done.images.shape) == ("meta", (6, 38, 38, 3))
    assert (done.targets.areas.device.type, done.targets.areas.shape) == ("meta", (6, 2, 38, 38))
    assert done.targets.xy.device.type == "meta"


@pytest.mark.usefixtures("engine")
def test_nothing_that_is_given_is_written_to() -> None:
    images, given = pictures(6), poses(6)
    before = images.clone(), given.areas.clone(), given.xy.clone()
    planned(*EVERYTHING)(images, given, draws(*range(6)))
    assert torch.equal(images, before[0])
    assert torch.equal(given.areas, before[1])
    assert torch.equal(given.xy, before[2])


def test_a_list_that_ends_in_normalize_gives_floats_with_the_channels_last() -> None:
    images = pictures(2)
    done = planned(A.HorizontalFlip(p=1), A.Normalize())(images, labels(2), draws(0, 1))
    expected = np.stack([A.Normalize()(image=A.HorizontalFlip(p=1)(image=one)["image"])["image"] for one in images.numpy()])
    np.testing.assert_allclose(done.images.numpy(), expected, atol=1e-5)


def test_a_normalize_for_another_number_of_channels_is_an_error() -> None:
    with pytest.raises(ConfigError, match="Normalize has mean and std for 3 channels, but the pictures have 1"):
        plan_device([A.Normalize()], *SIZE, 1)


def test_pictures_may_lie_in_memory_in_any_way() -> None:
    images = pictures(4).permute(0, 2, 1, 3)
    plan = planned(A.InvertImg(p=1), A.GaussianBlur(p=1), A.HorizontalFlip(p=1), size=SIZE[::-1])
    expected = plan(images.contiguous(), labels(4), draws(*range(4)))
    assert torch.equal(plan(images, labels(4), draws(*range(4))).images, expected.images)


def test_an_empty_list_and_noop_change_nothing() -> None:
    images = pictures(2)
    for plan in (planned(), planned(A.NoOp())):
        done = plan(images, poses(2), draws(0, 1))
        assert torch.equal(done.images, images)
        assert torch.equal(done.to_new, torch.eye(3, dtype=torch.float64).expand(2, 3, 3))


JOINED = {
    "pad, crop and flips: one gather": ([A.PadIfNeeded(60, 60), A.RandomCrop(32, 32), A.HorizontalFlip(), A.VerticalFlip()], 1),
    "crop, turn and flip before a warp": ([A.RandomCrop(32, 32), A.RandomRotate90(), A.HorizontalFlip(), A.Rotate(p=1)], 1),
    "flip and crop after a warp": ([A.Affine(rotate=(-30, 30), p=1), A.HorizontalFlip(), A.RandomCrop(30, 30), A.D4()], 1),
    "resized crop and flip": ([A.RandomResizedCrop((32, 32)), A.HorizontalFlip()], 1),
    "a pad is gathered before a warp": ([A.PadIfNeeded(60, 60, fill=9), A.Rotate(p=1)], 2),
    "two pads with other fills": ([A.Pad(2, fill=9), A.Pad(3, fill=7)], 2),
    "two warps": ([A.Rotate(p=1), A.Perspective(p=1)], 2),
    "tables": ([A.RandomGamma(), A.InvertImg(), A.RandomBrightnessContrast()], 1),
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("name", JOINED)
def test_joined_steps_give_what_they_give_one_after_the_other(name: str) -> None:
    """Whole pixels exactly; a resampling that is joined with others within one level."""
    transforms, steps = JOINED[name]
    plan, images, given = planned(*transforms), pictures(8), poses(8)
    assert len(plan._steps) == steps
    joined, apart = (one(images, given, draws(*range(8))) for one in (plan, taken_apart(plan)))
    resamples = any(isinstance(step, WarpStage) for step in plan._steps)
    assert (joined.images.int() - apart.images.int()).abs().max() <= (1 if resamples else 0)
    assert (joined.targets.areas != apart.targets.areas).float().mean() <= (0.001 if resamples else 0)
    torch.testing.assert_close(joined.targets.xy, apart.targets.xy)
    torch.testing.assert_close(joined.to_new, apart.to_new)


def taken_apart(plan: DevicePlan) -> DevicePlan:
    """The same plan with one step for each transform."""
    steps: list[Step] = []
    for step in plan._steps:
        if isinstance(step, GeometricStage):
            steps += [ExactStage(placed) if placed.transform.exact else WarpStage(placed) for placed in step.placed]
        elif isinstance(step, LevelStep):
            steps += [LevelStep([part]) for part in step.parts]
    return dataclasses.replace(plan, _steps=steps)


def test_what_a_first_warp_left_outside_does_not_come_back_in_a_second() -> None:
    """Shifted out and back in again, as albumentations does: the border remains."""
    there, back = A.Affine(translate_px={"x": 20, "y": 0}, p=1), A.Affine(translate_px={"x": -20, "y": 0}, p=1)
    images = pictures(1)
    done = planned(there, back)(images, labels(1), draws(0)).images[0].numpy()
    assert np.array_equal(done, back(image=there(image=images[0].numpy())["image"])["image"])
    assert (done[:, -20:] == 0).all()


@pytest.mark.usefixtures("engine")
def test_samples_that_a_transform_leaves_out_keep_their_bytes() -> None:
    images = pictures(40)
    for transform in (A.RandomResizedCrop(SIZE, scale=(0.1, 0.2), p=0.5), A.Rotate((20, 30), p=0.5), A.GaussNoise(p=0.5)):
        done = planned(transform)(images, labels(40), draws(*range(40)))
        kept = (done.images == images).flatten(1).all(1)
        assert 8 <= int(kept.sum()) <= 32  # four standard deviations
        if isinstance(transform, A.DualTransform):
            assert torch.equal(kept, (done.to_new == torch.eye(3)).flatten(1).all(1))


def test_a_crop_that_shows_nothing_of_the_picture_is_all_fill() -> None:
    done = planned(A.Pad(30, fill=7), A.Crop(0, 0, 20, 20))(pictures(2), labels(2), draws(0, 1))
    assert (done.images == 7).all()


@pytest.mark.usefixtures("engine")
def test_targets_move_with_their_pictures_and_know_when_they_are_mirrored() -> None:
    """Each flag by hand: an odd number of mirrorings turns left and right over, a quarter turn does not."""
    images, given = pictures(1), poses(1)
    for transforms, mirrored in [
        ([A.HorizontalFlip(p=1)], True),
        ([A.VerticalFlip(p=1)], True),
        ([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)], False),
        ([A.Transpose(p=1)], True),
        ([A.Rotate((90, 90), p=1)], False),
        ([A.Affine(scale={"x": (-1, -1), "y": (1, 1)}, p=1)], True),
        ([A.Perspective(p=1)], False),
    ]:
        done = planned(*transforms)(images, given, draws(0))
        xy = given.xy.double() @ done.to_new[:, :, :2].mT + done.to_new[:, None, :, 2]
        expected = xy[..., :2] / xy[..., 2:]
        torch.testing.assert_close(done.targets.xy, expected.flip(1) if mirrored else expected)
        assert done.targets.areas.shape[2:] == done.images.shape[1:3]


def test_half_of_a_batch_is_mirrored_and_a_target_may_object() -> None:
    plan = planned(A.HorizontalFlip(p=0.5))
    flipped = plan(pictures(200), labels(200), draws(*range(200))).to_new[:, 0, 0] < 0
    assert 70 <= int(flipped.sum()) <= 130  # four standard deviations
    with pytest.raises(DataError, match="a clock face cannot be mirrored"):
        plan(pictures(20), Clock(torch.zeros(20)), draws(*range(20)))
    planned(A.Rotate())(pictures(20), Clock(torch.zeros(20)), draws(*range(20)))


def test_pictures_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"pictures are \[2, 9, 48, 3\] torch.uint8; expected \[B, 40, 48, 3\] uint8"):
        planned(A.HorizontalFlip())(pictures(2, (9, 48)), labels(2), draws(0, 1))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    REFUSED: dict[str, list[Any]] = {
        "ElasticTransform has no batched twin": [A.HorizontalFlip(), A.ElasticTransform(), A.Blur()],
        "Blur has no batched twin": [A.OneOf([A.HorizontalFlip(), A.Sequential([A.Blur()])])],
        "SelectiveChannelTransform is a composition without a batched twin": [A.SelectiveChannelTransform([A.InvertImg()])],
        "Affine fit_output is true, so pictures of one batch would differ in size": [A.Affine(fit_output=True)],
        "Affine interpolation is 2; expected 0 (nearest) or 1 (linear)": [A.Affine(interpolation=cv2.INTER_CUBIC)],
        "Resize interpolation is 3; expected 0 (nearest) or 1 (linear)": [A.Resize(8, 8, interpolation=cv2.INTER_AREA)],
        "Rotate mask_interpolation is 1; expected 0 (nearest)": [A.Rotate(mask_interpolation=cv2.INTER_LINEAR)],
        "Rotate border_mode is 2; expected 0 (constant), 1 (replicate) or 4 (reflect_101)": [A.Rotate(border_mode=cv2.BORDER_REFLECT)],
        "Rotate crop_border is true, so pictures of one batch would differ in size": [A.Rotate(crop_border=True)],
        "Affine fill has 2 values for 3 channels": [A.Affine(fill=(1, 2))],
        "Perspective keep_size is false, so pictures of one batch would differ in size": [A.Perspective(keep_size=False)],
        "Perspective needs pictures of at least 8 pixels a side, not 5 x 48": [A.CenterCrop(5, 48), A.Perspective()],
        "RandomRotate90 turns only some of the pictures, which are not square (40 x 48)": [A.RandomRotate90()],
        "Transpose makes pictures of 40 x 48 x 3 into 48 x 40 x 3, but is not applied to all of them": [A.Transpose(p=0.5)],
        "RandomCrop makes pictures of 40 x 48 x 3 into 8 x 8 x 3, but is not applied to all of them": [
            A.OneOf([A.RandomCrop(8, 8), A.NoOp()], p=1)
        ],
        "RandomCrop is larger (99 x 8) than the pictures (40 x 48)": [A.RandomCrop(99, 8)],
        "Crop reaches beyond the pictures (40 x 48)": [A.Crop(0, 0, 60, 10)],
        "LongestMaxSize max_size is a list, so pictures of one batch would differ in size": [A.LongestMaxSize([10, 20])],
        "Resize area_for_downscale is not done on the device; leave it out": [A.Resize(8, 8, area_for_downscale="image")],
        "RandomResizedCrop area_for_downscale is not done on the device; leave it out": [
            A.RandomResizedCrop((8, 8), area_for_downscale="image")
        ],
        "ToGray method is pca; expected weighted_average, desaturation, average or max": [A.ToGray(method="pca")],
        "ToGray makes pictures of 40 x 48 x 3 into 40 x 48 x 1, but is not applied to all of them": [A.ToGray(num_output_channels=1)],
        "ToGray num_output_channels is 5; expected 1 or 3": [A.ToGray(num_output_channels=5, p=1)],
        "CoarseDropout fill is inpaint_ns; expected numbers, random or random_uniform": [A.CoarseDropout(fill="inpaint_ns")],
        "CoarseDropout fill has 2 values for 3 channels": [A.CoarseDropout(fill=(1, 2))],
        "GaussianBlur sigma_limit begins at 0.0; expected more than 0": [A.GaussianBlur(sigma_limit=(0, 1))],
        "RandomBrightnessContrast ensure_safe_range is true with brightness_by_max false": [
            A.RandomBrightnessContrast(brightness_by_max=False, ensure_safe_range=True)
        ],
        "Normalize is done at the end of the list only, with p 1 and standard normalization": [A.Normalize(), A.HorizontalFlip()],
        "ToFloat is done at the end of the list only, with p 1 and standard normalization": [A.ToFloat(p=0.5)],
    }


@pytest.mark.parametrize("text", REFUSED)
def test_the_first_transform_and_option_that_cannot_be_matched_are_named(text: str) -> None:
    assert refused(*REFUSED[text]) == text


class Halve(A.ImageOnlyTransform):
    """A plugin's transform with a batched twin."""

    def __init__(self, least: int = 0, p: float = 0.5) -> None:
        super().__init__(p=p)
        self.least = least

    def apply(self, img: Any, **params: Any) -> Any:
        return np.maximum(img // 2, self.least)

    def toolkit_device(self, shape: Shape) -> DeviceTransform:
        if self.least > 9:
            raise CannotMatchError(f"least is {self.least}; expected at most 9")
        return Halved(shape, self.least)


class Halved(LevelTransform):
    def __init__(self, shape: Shape, least: int) -> None:
        super().__init__(shape)
        self.least = least

    def draw(self, uniforms: Any) -> Any:
        return np.full(len(uniforms), self.least)

    def levels(self, params: Any) -> Any:
        return np.maximum(np.arange(256) // 2, params[:, None]).astype(np.uint8)


class Strange(A.ImageOnlyTransform):
    def toolkit_device(self, shape: Shape) -> Any:
        return self


def test_a_plugins_transform_brings_its_batched_twin() -> None:
    images = pictures(3)
    done = planned(Halve(least=5, p=1), A.HorizontalFlip(p=1))(images, labels(3), draws(0, 1, 2))
    assert torch.equal(done.images, (images // 2).clamp(min=5).flip(2))
    assert refused(Halve(least=10)) == "Halve least is 10; expected at most 9"
    assert refused(Strange()) == "Strange has a batched twin that is a Strange; expected a GeometricTransform or PixelTransform"
