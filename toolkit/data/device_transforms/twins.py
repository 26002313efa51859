"""Which batched transform stands for which albumentations class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import albumentations

from toolkit.data.device_transforms import colour, exact, noise, resizing, warping
from toolkit.data.device_transforms.contract import CannotMatchError, DeviceTransform, Shape
from toolkit.data.device_transforms.exact import ELEMENTS, SquareSymmetries

Twin = Callable[[Any, Shape], DeviceTransform]


def twin_of(transform: Any, shape: Shape) -> DeviceTransform:
    """The batched transform that does the same as `transform` to pictures of `shape`.

    Raises: CannotMatchError with the reason, if there is none or an option cannot be matched.
    """
    own = getattr(transform, "toolkit_device", None)
    if own is not None:
        twin: DeviceTransform = own(shape)
        return twin
    make = _TWINS.get(type(transform))
    if make is None:
        raise CannotMatchError("has no batched twin")
    return make(transform, shape)


def _turns(*names: str) -> Twin:
    return lambda transform, shape: SquareSymmetries(shape, names)


def _of(make: Callable[[Shape, Any], DeviceTransform]) -> Twin:
    return lambda transform, shape: make(shape, transform)


_TWINS: dict[type, Twin] = {
    albumentations.NoOp: _turns("e"),
    albumentations.HorizontalFlip: _turns("h"),
    albumentations.VerticalFlip: _turns("v"),
    albumentations.Transpose: _turns("t"),
    albumentations.RandomRotate90: _turns("e", "r90", "r180", "r270"),
    albumentations.D4: _turns(*ELEMENTS),
    albumentations.SquareSymmetry: _turns(*ELEMENTS),
    albumentations.Pad: exact.pad,
    albumentations.PadIfNeeded: exact.pad_if_needed,
    albumentations.RandomCrop: exact.random_crop,
    albumentations.CenterCrop: exact.center_crop,
    albumentations.Crop: exact.crop,
    albumentations.Resize: resizing.resize,
    albumentations.LongestMaxSize: resizing.longest_max_size,
    albumentations.SmallestMaxSize: resizing.smallest_max_size,
    albumentations.RandomResizedCrop: _of(resizing.ResizedCrop),
    albumentations.Affine: _of(warping.AffineWarp),
    albumentations.ShiftScaleRotate: _of(warping.AffineWarp),
    albumentations.Rotate: _of(warping.Rotation),
    albumentations.Perspective: _of(warping.PerspectiveWarp),
    albumentations.RandomBrightnessContrast: colour.brightness_contrast,
    albumentations.RandomGamma: _of(colour.GammaCurve),
    albumentations.InvertImg: _of(lambda shape, transform: colour.Inversion(shape)),
    albumentations.ColorJitter: _of(colour.ColourJitter),
    albumentations.ToGray: _of(colour.Grey),
    albumentations.GaussNoise: _of(noise.GaussianNoise),
    albumentations.GaussianBlur: _of(noise.Blur),
    albumentations.CoarseDropout: _of(noise.Dropout),
}
