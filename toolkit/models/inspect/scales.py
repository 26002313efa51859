"""How far signals and gradients get: why a deep network learns, or does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from toolkit.models.inspect.hooks import outputs_of


@dataclass(frozen=True)
class LayerScale:
    """One layer with weights.

    Args:
        between_pictures: deviation of an output between the pictures of the batch, root mean square over all outputs of the
            layer (before its activation): the signal that is left of what makes pictures differ.
        output_rms: root mean square of the outputs. Where it stays and `between_pictures` falls, the layer says the same of every picture.
        weight_norm, gradient_norm: of the weights and of the gradient of the mean loss by them; None where no gradient arrives.
    """

    name: str
    kind: str
    between_pictures: float
    output_rms: float
    weight_norm: float
    gradient_norm: float | None


def layer_scales(model: nn.Module, forward: Callable[[], Tensor], train_mode: Callable[[], object] | None = None) -> tuple[LayerScale, ...]:
    """The scale of signal and gradient at every layer with a weight matrix or kernel, in the order of the network.

    What learns is in training mode (batch norm by the batch's own statistics) without dropout; buffers are put back.

    Args:
        forward: runs the model once on a batch of at least two pictures and returns the mean loss.
        train_mode: puts what learns into training mode; by default all of it.
    """
    weighted = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter) and module.weight.ndim >= 2
    ]
    with _training_without_dropout(model, train_mode or model.train), outputs_of(weighted) as outputs:
        loss = forward()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
    scales = tuple(_scale(name, module, outputs[name].detach().float()) for name, module in weighted if name in outputs)
    model.zero_grad(set_to_none=True)
    return scales


def _scale(name: str, module: nn.Module, output: Tensor) -> LayerScale:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return LayerScale(
        name=name,
        kind=type(module).__name__,
        between_pictures=float(output.var(dim=0, unbiased=False).mean().sqrt()),
        output_rms=float(output.square().mean().sqrt()),
        weight_norm=float(weight.detach().norm()),
        gradient_norm=float(weight.grad.norm()) if weight.grad is not None else None,
    )


@contextmanager
def _training_without_dropout(model: nn.Module, train_mode: Callable[[], object]) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    train_mode()
    for module in model.modules():
        if isinstance(module, _DropoutNd) or type(module).__name__ in ("Dropout", "DropPath", "StochasticDepth"):
            module.eval()
    try:
        yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        for module, training in modes.items():
            module.training = training
