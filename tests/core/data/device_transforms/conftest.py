"""Runs an albumentations transform and its batched twin with the same drawn parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import albumentations
import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.geometric import functional
from torch import Tensor

from toolkit.data.device_transforms import DevicePlan, Draws, colour_kernels, kernels, noise, plan_device, stages
from toolkit.data.device_transforms.colour import Gamma, Jitter, Linear
from toolkit.data.device_transforms.exact import ELEMENTS, Shift, Turn
from toolkit.data.device_transforms.noise import Holes, Kernels
from toolkit.data.device_transforms.resizing import Window
from toolkit.data.device_transforms.warping import AffineParams, PerspectiveParams
from toolkit.data.sample import Target

BATCH = 12


@dataclass(frozen=True)
class Marked(Target):
    """A target with points [B, K, 2] and a mask [B, H, W]."""

    moves: ClassVar[bool] = True
    xy: Tensor
    areas: Tensor
    mirrored: Tensor

    def points(self) -> Tensor:
        return self.xy

    def mask(self) -> Tensor:
        return self.areas

    def moved(self, points: Tensor | None, mask: Tensor | None, mirrored: Tensor) -> Self:
        assert points is not None
        assert mask is not None
        return type(self)(points, mask, mirrored)


@dataclass(frozen=True)
class Still(Target):
    """A target without geometry."""

    label: Tensor


@dataclass(frozen=True)
class Compared:
    """The same samples from both engines: ours first."""

    images: tuple[Any, Any]
    masks: tuple[Any, Any]
    points: tuple[Any, Any]

    @property
    def differences(self) -> Any:
        """In levels, of every value."""
        ours, theirs = (images.astype(np.float64) for images in self.images)
        assert ours.shape == theirs.shape
        return np.abs(ours - theirs)

    @property
    def masks_differ(self) -> float:
        """Share of mask pixels that differ."""
        assert self.masks[0].shape == self.masks[1].shape
        return float((self.masks[0] != self.masks[1]).mean())

    @property
    def masks_differ_inside(self) -> float:
        """The same, leaving out the pixels beside the edges of areas."""
        box = np.ones((3, 3), np.uint8)
        inside = np.stack([cv2.dilate(mask, box) == cv2.erode(mask, box) for mask in self.masks[1]])
        return float(((self.masks[0] != self.masks[1]) & inside).mean())

    @property
    def points_differ_px(self) -> float:
        return float(np.abs(self.points[0] - self.points[1]).max())


class Compare(Protocol):
    def __call__(self, transform: Any, shape: tuple[int, int, int], *, rough: bool = False, with_points: bool = True) -> Compared: ...


@pytest.fixture(params=["native", "batched"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to do it: OpenCV on the CPU, and torch as on an accelerator."""
    if request.param == "batched":
        for module in (kernels, colour_kernels, noise, stages):
            monkeypatch.setattr(module, "is_native", lambda images: False)
    return str(request.param)


def pictures(shape: tuple[int, int, int], count: int = BATCH, *, rough: bool = False, seed: int = 0) -> Any:
    """[B, H, W, C] uint8 over the full range: smooth like photographs, or noise where every pixel differs from its neighbours."""
    noisy = np.random.default_rng(seed).random((count, *shape), dtype=np.float32)
    if not rough:
        noisy = np.stack([cv2.GaussianBlur(one, (0, 0), 2.0).reshape(shape) for one in noisy])
    low, high = noisy.min((1, 2, 3), keepdims=True), noisy.max((1, 2, 3), keepdims=True)
    return np.rint((noisy - low) / (high - low) * 255).astype(np.uint8)


def targets(shape: tuple[int, int, int], count: int = BATCH) -> Marked:
    height, width = shape[:2]
    rng = np.random.default_rng(1)
    areas = np.zeros((count, height, width), np.uint8)
    areas[:, height // 4 : height // 2, width // 3 :] = 3
    xy = rng.uniform(-2, 1, (count, 5, 2)) + rng.random((count, 5, 2)) * (width, height)  # some lie outside
    return Marked(torch.from_numpy(xy), torch.from_numpy(areas), torch.zeros(count, dtype=torch.bool))


def draws(count: int = BATCH, *, seed: int = 0, epoch: int = 0) -> Draws:
    return Draws((seed, 1, epoch), np.arange(count))


def planned(transforms: Sequence[Any], shape: tuple[int, int, int]) -> DevicePlan:
    plan = plan_device(transforms, *shape)
    assert isinstance(plan, DevicePlan), str(plan)
    return plan


def only_transform(plan: DevicePlan) -> Any:
    """The twin in the plan of a list of one."""
    step: Any
    (step,) = plan._steps
    if isinstance(step, stages.GeometricStage):
        return step.placed[0].transform
    return step.parts[0][0] if hasattr(step, "parts") else step.transform


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Feeds what albumentations drew for each of `BATCH` samples to the batched twin."""
    recorder = _Recorder(monkeypatch)

    def run(transform: Any, shape: tuple[int, int, int], *, rough: bool = False, with_points: bool = True) -> Compared:
        images, marked = pictures(shape, rough=rough), targets(shape)
        theirs, drawn = [], []
        for i, image in enumerate(images):
            transform.set_random_seed(i)
            recorder.seen.clear()
            theirs.append(_single(transform, image, marked, i, with_points))
            drawn.append({**transform.params, **recorder.seen, "unit": _unit(transform, image)})
        plan = planned([transform], shape)
        twin = only_transform(plan)
        make = _PARAMS.get(type(transform))
        if make is not None:
            monkeypatch.setattr(twin, "draw", lambda uniforms: make(drawn))
        if isinstance(transform, albumentations.GaussNoise):
            maps = np.stack([one["noise_map"].reshape(shape) for one in drawn]).astype(np.float32)
            monkeypatch.setattr(twin, "noise", lambda params, device: torch.from_numpy(maps))
        ours = plan(torch.from_numpy(images), marked, draws())
        return Compared(
            (ours.images.numpy(), np.stack([one["image"].reshape(ours.images.shape[1:]) for one in theirs])),
            (ours.targets.areas.numpy(), np.stack([one["mask"] for one in theirs])),
            (ours.targets.xy.numpy(), np.stack([one["keypoints"][:, :2] for one in theirs])),
        )

    return run


class _Recorder:
    """Keeps what albumentations' own functions are given, where its parameters hold only what was made of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[str, Any] = {}
        for name in ("create_affine_transformation_matrix", "compute_perspective_params"):
            monkeypatch.setattr(functional, name, self._recording(name, getattr(functional, name)))

    def _recording(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any) -> Any:
            self.seen[name] = [np.array(one) if isinstance(one, np.ndarray) else one for one in arguments]
            return function(*arguments)

        return record


def _single(transform: Any, image: Any, marked: Marked, i: int, with_points: bool) -> dict[str, Any]:
    keypoints = np.concatenate([marked.xy[i].numpy(), np.zeros((marked.xy.shape[1], 3))], 1)
    data = {"image": image.copy(), "mask": marked.areas[i].numpy().copy()} | ({"keypoints": keypoints} if with_points else {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "The image is already gray"
        done: dict[str, Any] = transform(**data)
    return {"keypoints": keypoints} | done


def _unit(transform: Any, image: Any) -> float:
    """What RandomBrightnessContrast multiplied the brightness with."""
    return 255.0 if getattr(transform, "brightness_by_max", True) else float(np.mean(image))


Drawn = list[dict[str, Any]]


def _turns(drawn: Drawn) -> Turn:
    return Turn(np.array([one["factor"] if "factor" in one else ELEMENTS.index(one["group_element"]) for one in drawn]))


def _shifts(drawn: Drawn) -> Shift:
    both = []
    for one in drawn:
        pads = one["pad_params"] or {"pad_left": 0, "pad_top": 0}
        both.append((pads["pad_left"] - one["crop_coords"][0], pads["pad_top"] - one["crop_coords"][1]))
    return Shift(*np.array(both).T)


def _pads(drawn: Drawn) -> Shift:
    return Shift(*np.array([(one["pad_left"], one["pad_top"]) for one in drawn]).T)


def _affine(drawn: Drawn) -> AffineParams:
    """The last call's centre is that of boxes, its other arguments are those of the picture."""
    calls = [one["create_affine_transformation_matrix"] for one in drawn]
    translate, shear, scale = (np.array([[call[i]["x"], call[i]["y"]] for call in calls], float) for i in range(3))
    return AffineParams(translate, shear, scale, np.array([call[3] for call in calls]))


def _linear(drawn: Drawn) -> Linear:
    """ensure_safe_range changes alpha and beta after drawing; made safe once more they stay the same."""
    return Linear(np.array([one["alpha"] for one in drawn]), np.array([one["beta"] / one["unit"] for one in drawn]))


def _jitter(drawn: Drawn) -> Jitter:
    names = ("brightness", "contrast", "saturation", "hue", "order")
    return Jitter(*(np.array([one[name] for one in drawn]) for name in names))


def _kernels(drawn: Drawn) -> Kernels:
    sizes = np.array([len(one["kernel"]) for one in drawn])
    most = sizes.max()
    return Kernels(np.stack([np.pad(one["kernel"], (most - len(one["kernel"])) // 2) for one in drawn]), sizes)


def _holes(drawn: Drawn) -> Holes:
    most = max(len(one["holes"]) for one in drawn)
    return Holes(np.stack([np.pad(one["holes"], ((0, most - len(one["holes"])), (0, 0))) for one in drawn]), np.zeros(len(drawn)))


_PARAMS: dict[type, Callable[[Drawn], Any]] = {
    albumentations.RandomBrightnessContrast: _linear,
    albumentations.ColorJitter: _jitter,
    albumentations.RandomGamma: lambda drawn: Gamma(np.array([one["gamma"] for one in drawn])),
    albumentations.GaussianBlur: _kernels,
    albumentations.CoarseDropout: _holes,
    albumentations.RandomRotate90: _turns,
    albumentations.D4: _turns,
    albumentations.RandomCrop: _shifts,
    albumentations.CenterCrop: _shifts,
    albumentations.Crop: _shifts,
    albumentations.Pad: _pads,
    albumentations.PadIfNeeded: _pads,
    albumentations.RandomResizedCrop: lambda drawn: Window(np.array([one["crop_coords"] for one in drawn])),
    albumentations.Affine: _affine,
    albumentations.ShiftScaleRotate: _affine,
    albumentations.Rotate: _affine,
    albumentations.Perspective: lambda drawn: PerspectiveParams(
        np.stack([one["compute_perspective_params"][0] for one in drawn]).astype(np.float64)
    ),
}
