"""The core's own components, registered through the same hook as anybody's."""

from __future__ import annotations

from toolkit.data.transforms import albumentations_names, albumentations_transform, as_transform_factory
from toolkit.evaluation.losses import L1, CrossEntropy, MeanSquaredError
from toolkit.extension import Registrar, hookimpl
from toolkit.models.backbones import timm_backbone, timm_names, torchvision_backbone, torchvision_names
from toolkit.models.heads import LinearHead
from toolkit.models.model import Composed
from toolkit.training import optim


@hookimpl
def toolkit_register(registry: Registrar) -> None:
    """What every task may use."""
    registry.model("composed", Composed)
    registry.family("backbone", "torchvision/", torchvision_backbone, torchvision_names)
    registry.family("backbone", "timm/", timm_backbone, timm_names)
    registry.head("linear", LinearHead)
    registry.loss("cross_entropy", CrossEntropy)
    registry.loss("mse", MeanSquaredError)
    registry.loss("l1", L1)
    registry.family("transform", "", albumentations_transform, albumentations_names)
    registry.adapter("transform", as_transform_factory)
    registry.optimizer("sgd", optim.sgd)
    registry.optimizer("adam", optim.adam)
    registry.optimizer("adamw", optim.adamw)
    registry.optimizer("rmsprop", optim.rmsprop)
    registry.schedule("constant", optim.constant)
    registry.schedule("cosine", optim.cosine)
    registry.schedule("one_cycle", optim.one_cycle)
    registry.schedule("step", optim.step_decay)
    registry.schedule("exponential", optim.exponential)
