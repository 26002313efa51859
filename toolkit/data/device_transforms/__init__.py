"""The device engine's transforms: a list of albumentations transforms, done to whole batches on their own device.

`plan_device` gives a `DevicePlan`, or a `Refusal` with the reason; `Draws` is what a batch is drawn from. What a plugin
needs for a batched twin of its own transform: `GeometricTransform`, `PixelTransform`, `CannotMatchError` (see `DeviceTransform`).
"""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # otherwise importing it asks a server for newer releases

from toolkit.data.device_transforms.contract import (
    Border,
    CannotMatchError,
    DeviceTransform,
    GeometricTransform,
    LevelTransform,
    Moves,
    PixelTransform,
    Shape,
)
from toolkit.data.device_transforms.draws import Draws
from toolkit.data.device_transforms.plan import Augmented, DevicePlan, Refusal, plan_device

__all__ = [
    "Augmented",
    "Border",
    "CannotMatchError",
    "DevicePlan",
    "DeviceTransform",
    "Draws",
    "GeometricTransform",
    "LevelTransform",
    "Moves",
    "PixelTransform",
    "Refusal",
    "Shape",
    "plan_device",
]
