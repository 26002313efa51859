"""The core's own components, registered through the same hook as anybody's."""

from __future__ import annotations

from toolkit.data.transforms import albumentations_names, albumentations_transform, as_transform_factory
from toolkit.evaluation.losses import L1, CrossEntropy, MeanSquaredError
from toolkit.extension import Registrar, hookimpl
from toolkit.models.backbones import timm_backbone, timm_names, torchvision_backbone, torchvision_names
from toolkit.models.heads import LinearHead
from toolkit.models.model import Composed
from toolkit.training import optim, schedules
from toolkit.training.timm_optimizers import timm_optimizer, timm_optimizer_names


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
    registry.optimizer("adadelta", optim.adadelta)
    registry.family("optimizer", "timm/", timm_optimizer, timm_optimizer_names)
    registry.schedule("constant", schedules.constant)
    registry.schedule("cosine", schedules.cosine)
    registry.schedule("one_cycle", schedules.one_cycle)
    registry.schedule("step", schedules.step_decay)
    registry.schedule("exponential", schedules.exponential)
    registry.schedule("inverse_time", schedules.inverse_time)
    registry.schedule("plateau", schedules.Plateau)
