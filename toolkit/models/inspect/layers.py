"""The layers of any network in the order they are called, found by one pass of an empty picture."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.data.tree import map_tensors
from toolkit.models.inspect.operations import Watcher
from toolkit.models.inspect.receptive_field import Field
from toolkit.models.model import Shape, count_parameters


@dataclass(frozen=True)
class Layer:
    """One call of a module that has no modules in it, or that holds weights or multiplies beside those it has.

    Args:
        name: where it stands in the network, such as features.0.
        kind: its class.
        window: its kernel and stride, such as 3x3 or 11x11/4; empty where it has none.
        output_shape: of one picture, without the batch's length; of several outputs the first.
        parameters: of the module itself and of modules in it that are not called but read (attention does so); 0 at a second call.
        macs: multiply-accumulate operations of convolutions, matrix products and attention for one picture.
        activation_bytes: what its outputs take in float32 for one picture; 0 where they lie in the memory of its inputs.
        field: its receptive field; None where an operation on the way to it is not understood.
    """

    name: str
    kind: str
    window: str
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    activation_bytes: int
    field: Field | None


@dataclass(frozen=True)
class Inspection:
    """All layers of a network and their totals.

    macs: of the whole pass, operations between the layers included.
    parameters: of the whole network; more than the layers' where parts are not used in a pass (a head for training only).
    """

    input_shape: Shape
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    macs: int

    @property
    def activation_bytes(self) -> int:
        """What all outputs take together, as training keeps them; float32, one picture."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def unlisted_parameters(self) -> int:
        """Parameters of no listed layer."""
        return self.parameters - sum(layer.parameters for layer in self.layers)


def inspect_model(model: nn.Module, input_shape: Shape) -> Inspection:
    """What `model` does with one picture of `input_shape` (C, H, W), in evaluation mode; nothing of the model is changed.

    Operations between the layers (sums, concatenations, `flatten` called as a function) change receptive fields as they
    should but make no row; their multiplications count for the module that calls them. Where several paths meet, the field
    spans them all. Attention sees every position.
    Upsampling other than by nearest neighbour, strided slices, shifted windows and sampling at computed places are not understood:
    layers behind them have no field.
    """
    images = torch.zeros(1, *input_shape, device=next((p.device for p in model.parameters()), None))
    recorder = _Recorder(images)
    with _evaluating(model), torch.no_grad(), recorder.hooked(model), recorder.watcher:
        model(images)
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return Inspection(input_shape, recorder.layers(), count_parameters(model), trainable, recorder.macs)


@dataclass
class _Call:
    """A module's call as it goes on; `outputs` once it has ended."""

    name: str
    module: nn.Module
    macs: int = 0
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    field: Field | None = None

    @property
    def has_a_row(self) -> bool:
        """Whether it is a leaf or does something itself."""
        leaf = not any(True for _ in self.module.children())
        return bool(self.outputs) and (leaf or self.macs > 0 or any(p is not None for p in self.module._parameters.values()))


class _Recorder:
    """Notes every module's call during one pass."""

    def __init__(self, images: Tensor) -> None:
        self.watcher = Watcher(images, self._count)
        self.macs = 0
        self._calls: list[_Call] = []
        self._open: list[_Call] = []

    def _count(self, macs: int) -> None:
        self.macs += macs
        if self._open:
            self._open[-1].macs += macs

    @contextmanager
    def hooked(self, model: nn.Module) -> Iterator[None]:
        """Every module tells when its call begins and ends."""
        handles = []
        for name, module in model.named_modules():
            handles += [
                module.register_forward_pre_hook(self._begun(name), with_kwargs=True),
                module.register_forward_hook(self._ended),
            ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begun(self, name: str) -> Any:
        def hook(module: nn.Module, args: Any, kwargs: Any) -> None:
            call = _Call(name, module, inputs=_flat((*args, *kwargs.values())))
            self._calls.append(call)
            self._open.append(call)

        return hook

    def _ended(self, module: nn.Module, args: Any, output: Any) -> None:
        call = self._open.pop()
        call.outputs = _flat(output)
        call.field = self.watcher.field(call.outputs[0]) if call.outputs else None  # now: what follows may work in place

    def layers(self) -> tuple[Layer, ...]:
        """The calls that have a row, in the order they began."""
        called = {call.module for call in self._calls}
        rows, counted = [], set[nn.Parameter]()
        for call in self._calls:
            if call.has_a_row:
                own = set(_own_parameters(call.module, called)) - counted
                counted |= own
                size = sum(p.numel() for p in own)
                shape = tuple(call.outputs[0].shape[1:])
                kind, window = type(call.module).__name__, _window(call.module)
                rows.append(Layer(call.name, kind, window, shape, size, call.macs, _new_bytes(call), call.field))
        return tuple(rows)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while, and no fused attention, in which the operations could not be seen."""
    modes = {module: module.training for module in model.modules()}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes.items():
            module.training = training


def _own_parameters(module: nn.Module, called: Set[nn.Module]) -> Iterator[nn.Parameter]:
    yield from module.parameters(recurse=False)
    for child in module.children():
        if child not in called:
            yield from _own_parameters(child, called)


def _window(module: Any) -> str:
    kernel, stride = (_pair(getattr(module, name, None)) for name in ("kernel_size", "stride"))
    if kernel is None:
        return ""
    return f"{kernel[0]}x{kernel[1]}" + ("" if stride in (None, (1, 1)) else f"/{stride[0]}" if stride[0] == stride[1] else f"/{stride}")


def _pair(value: Any) -> tuple[int, int] | None:
    if isinstance(value, int):
        return value, value
    return tuple(value) if isinstance(value, tuple | list) and len(value) == 2 else None


def _new_bytes(call: _Call) -> int:
    given = {tensor.untyped_storage().data_ptr() for tensor in call.inputs}
    return sum(t.numel() * t.element_size() for t in call.outputs if t.untyped_storage().data_ptr() not in given)


def _flat(value: Any) -> tuple[Tensor, ...]:
    """All tensors in a value."""
    found: list[Tensor] = []
    map_tensors(found.append, tuple(value) if isinstance(value, list) else value)
    return tuple(found)
