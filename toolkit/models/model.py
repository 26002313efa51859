"""What a model may be made of: backbones, heads, and the model that joins one of each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from toolkit.data.sample import Batch, DataInfo

Shape = tuple[int, int, int]


class Backbone(nn.Module):
    """Base of every backbone: [B, C, H, W] pictures -> [B, C', H', W'] features. `factory(input_shape, /, *, options)`."""

    component_kind: ClassVar[str] = "backbone"


class Head(nn.Module):
    """Base of every head: features -> the model's output. `factory(in_shape, info, /, *, options)`."""

    component_kind: ClassVar[str] = "head"


class Composed(nn.Module):
    """A backbone with a head on it: `model: {backbone: ..., head: ...}`.

    Args:
        backbone: from pictures to features.
        head: from features to what the task decodes; it is given the backbone's output shape.
    """

    def __init__(self, info: DataInfo, /, *, backbone: Backbone, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """[B, C, H, W] -> whatever the head gives."""
        return cast(Tensor, self.head(self.backbone(images)))


@runtime_checkable
class PreparesPhases(Protocol):
    """A model that measures something before a phase trains (the errors of a cascade's last stage, say) and keeps it in its buffers."""

    def prepare_phase(self, train: str | tuple[str, ...], batches: Iterable[Batch[Any, Any]]) -> None:
        """Called in eval mode, without gradients. `train`: the phase's entry; `batches`: one pass over the validation part."""


@runtime_checkable
class OnePass(Protocol):
    """A model that is fitted in one look at the training data (`fit: {name: one_pass}`), without gradients."""

    def observe(self, images: Tensor) -> None:
        """[B, C, H, W] of each training batch, once."""

    def finish(self) -> None:
        """All batches were seen: make the buffers that the forward pass reads. Raises: DataError where there were too few pictures."""


def training_output(model: nn.Module, images: Tensor, encoded: Any) -> Any:
    """What the model gives while it trains; one with `guided = True` is shown the batch's encoded targets too."""
    inner = getattr(model, "_orig_mod", model)  # what torch.compile wraps
    inner = inner.module if isinstance(inner, DistributedDataParallel) else inner
    return model(images, encoded) if getattr(inner, "guided", False) else model(images)


def output_shape(backbone: nn.Module, input_shape: Shape) -> Shape:
    """C, H, W of what `backbone` makes of pictures of `input_shape`, by a dry pass that changes no statistics."""
    was_training = backbone.training
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, *input_shape))
    backbone.train(was_training)
    if features.ndim != 4:
        raise TypeError(f"a backbone must give [B, C, H, W] features, {type(backbone).__name__} gives {tuple(features.shape)}")
    return cast(Shape, tuple(features.shape[1:]))


def count_parameters(model: nn.Module) -> int:
    """How many numbers the model learns, frozen ones included; buffers such as running means do not count."""
    return sum(parameter.numel() for parameter in model.parameters())
