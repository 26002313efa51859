"""What each tensor operation does to receptive fields, and how many multiplications it takes.

The watcher sees the operations below the modules, so sums, concatenations and functional calls of a `forward` count as well.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from toolkit.models.inspect.receptive_field import Axis, Field, whole

_NORMALISING = {
    *("native_batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "_batch_norm_with_update"),
    *("cudnn_batch_norm", "native_layer_norm", "native_group_norm", "native_dropout", "_softmax", "_log_softmax"),
}
"""That their statistics look at other positions is left out, as is usual."""

_KEEP = _NORMALISING | {
    *("view", "_unsafe_view", "_reshape_alias", "reshape", "permute", "transpose", "t", "expand", "squeeze", "unsqueeze", "clone"),
    *("contiguous", "_to_copy", "detach", "alias", "as_strided", "select", "split", "split_with_sizes", "chunk", "unbind", "cat", "stack"),
    *("copy", "channel_shuffle", "glu", "hardswish", "prelu", "_prelu_kernel"),
}
"""Every output still sees what it saw."""

Axes = tuple[Axis, Axis]
_REDUCING = {"mean", "sum", "amax", "amin", "linalg_vector_norm", "var"}
_ATTENTION = "_scaled_dot_product"


class Watcher(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the picture through a network while it is active.

    Args:
        images: [1, C, H, W], what the network will be shown.
        on_macs: told the multiply-accumulate operations of each operation that has any.
    """

    def __init__(self, images: Tensor, on_macs: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._on_macs = on_macs
        self._fields: dict[int, Field | None] = {_key(images): Field.of_picture(*images.shape[2:])}
        self._alive: list[Tensor] = [images]  # a freed address would be given to another tensor

    def field(self, tensor: Tensor) -> Field | None:
        """The field of a tensor's elements; None where an operation on the way is not understood, or it does not see the picture."""
        return self._fields.get(_key(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and take down what it means."""
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.partition("::")[2]
        outputs = _tensors(result)
        if outputs:
            self._on_macs(_macs(name, args, outputs[0]))
            seen = [self._fields[_key(tensor)] for tensor in _tensors(args) if _key(tensor) in self._fields]
            if seen:
                after = None if None in seen else _after(name, func, args, outputs[0], [field for field in seen if field])
                for tensor in outputs:
                    self._fields[_key(tensor)] = after
                    self._alive.append(tensor)
        return result


def _key(tensor: Tensor) -> int:
    """Views of one storage see the same: autograd may hand out another object than the one the watcher saw."""
    return tensor.untyped_storage().data_ptr()


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.numel() else []
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return []


def _after(name: str, func: Any, args: Sequence[Any], output: Tensor, seen: Sequence[Field]) -> Field | None:
    """The field of an operation's output; None where the operation is not understood."""
    plain = name.rstrip("_")
    first: Tensor = args[0] if isinstance(args[0], Tensor) else output
    if plain in _WINDOWS:
        axes = _on_grid(seen[0], first) if output.ndim == first.ndim == 4 else None
        return Field(*_WINDOWS[plain](axes, args, output), seen[0].several) if axes else None
    if plain == "avg_pool3d":  # local response normalisation averages over channels this way
        return seen[0] if math.prod(args[1][1:]) == 1 else None
    if plain == "constant_pad_nd":
        return _padded(seen[0], args[1], output)
    if plain == "slice":
        return seen[0] if output.shape == first.shape or (len(args) < 5 and first.ndim == 4 and args[1] == 1) else None
    if plain in ("mm", "addmm", "bmm", "baddbmm") or plain.startswith(_ATTENTION):
        return _mixed(plain, _joined(seen), args)
    if plain in _REDUCING:
        return _reduced(seen[0], first, args)
    if plain in _KEEP or torch.Tag.pointwise in func.tags:
        return _joined(seen)
    return None


def _joined(seen: Sequence[Field]) -> Field:
    result = seen[0]
    for field in seen[1:]:
        result = result.joined(field)
    return result


def _mixed(plain: str, field: Field, args: Sequence[Any]) -> Field | None:
    """Behind a matrix product, with rows that are positions (then it mixes channels), or one row that holds them all."""
    if plain.startswith(_ATTENTION) or plain in ("bmm", "baddbmm"):
        tokens = args[-1].shape[-2] if plain == "bmm" else args[0].shape[-2]
        return field.union() if tokens >= field.positions or field.positions == 1 else None  # windows of tokens are not understood
    matrix: Tensor = args[1] if plain == "addmm" else args[0]
    if matrix.shape[0] >= field.positions:
        return field
    return field.union() if matrix.shape[0] == 1 else None


def _reduced(field: Field, first: Tensor, args: Sequence[Any]) -> Field | None:
    if len(args) < 2 or args[1] is None:
        return field.union()
    dims = {dim % first.ndim for dim in (args[1] if isinstance(args[1], list | tuple) else [args[1]])}
    if field.positions == 1 or (first.ndim == 4 and dims == {1}):
        return field
    return field.union() if dims == ({2, 3} if first.ndim == 4 else {1}) else None


def _padded(field: Field, pad: Sequence[int], output: Tensor) -> Field | None:
    if not any(pad[:4]):
        return field
    if output.ndim != 4:
        return None
    left, _, top, *_ = [*pad, 0, 0]
    rows, columns = (
        axis.windowed(1, padding=before, count=count)
        for axis, before, count in zip((field.rows, field.columns), (top, left), output.shape[2:], strict=True)
    )
    return Field(rows, columns, field.several)


def _on_grid(field: Field, image: Tensor) -> tuple[Axis, Axis] | None:
    """The axes with as many positions as the map has: a vector that becomes a map (a decoder's start) sees the same everywhere.

    None where positions were moved into channels or back.
    """
    rows, columns = field.rows, field.columns
    height, width = image.shape[2:]
    if (rows.stride and rows.count != height) or (columns.stride and columns.count != width):
        return None
    return replace(rows, count=height), replace(columns, count=width)


def _convolved(axes: Axes, args: Sequence[Any], output: Tensor) -> Axes:
    _, weight, _, stride, padding, dilation, transposed, *_ = args
    made = []
    for i, axis in enumerate(axes):
        options = {"stride": _at(stride, i), "padding": _at(padding, i), "dilation": _at(dilation, i), "count": output.shape[2 + i]}
        kernel = weight.shape[2 + i]
        made.append(axis.transposed(kernel, **options) if transposed else axis.windowed(kernel, **options))
    return made[0], made[1]


def _max_pooled(axes: Axes, args: Sequence[Any], output: Tensor) -> Axes:
    return _pooled(axes, args, output, dilation=args[4] if len(args) > 4 else 1)


def _pooled(axes: Axes, args: Sequence[Any], output: Tensor, *, dilation: Any = 1) -> Axes:
    kernel = args[1]
    stride = args[2] if len(args) > 2 and args[2] else kernel
    padding = args[3] if len(args) > 3 else 0
    rows, columns = (
        axis.windowed(_at(kernel, i), stride=_at(stride, i), padding=_at(padding, i), dilation=_at(dilation, i), count=output.shape[2 + i])
        for i, axis in enumerate(axes)
    )
    return rows, columns


def _pooled_to_size(axes: Axes, args: Sequence[Any], output: Tensor) -> Axes:
    """Adaptive pooling: cell i of n takes inputs floor(i L / n) ... ceil((i + 1) L / n) - 1; the largest cell counts."""
    made = []
    for axis, cells in zip(axes, output.shape[2:], strict=True):
        length = axis.count
        largest = max(-(-(c + 1) * length // cells) - c * length // cells for c in range(cells))
        made.append(axis.windowed(largest, stride=whole(Fraction(length, cells)), count=cells))
    return made[0], made[1]


def _enlarged(axes: Axes, args: Sequence[Any], output: Tensor) -> Axes:
    """Nearest-neighbour upsampling."""
    rows, columns = (
        axis.windowed(1, stride=whole(Fraction(axis.count, count)), count=count) for axis, count in zip(axes, output.shape[2:], strict=True)
    )
    return rows, columns


def _at(value: Any, index: int) -> int:
    return int(value[index % len(value)]) if isinstance(value, list | tuple) else int(value)


_WINDOWS: Mapping[str, Callable[[Axes, Sequence[Any], Tensor], Axes]] = {
    "convolution": _convolved,
    "_convolution": _convolved,
    "max_pool2d_with_indices": _max_pooled,
    "avg_pool2d": _pooled,
    "_adaptive_avg_pool2d": _pooled_to_size,
    "adaptive_max_pool2d": _pooled_to_size,
    "upsample_nearest2d": _enlarged,
}


def _macs(name: str, args: Sequence[Any], output: Tensor) -> int:
    """Multiply-accumulate operations of convolutions, matrix products and attention; additions and activations are not counted."""
    if name in ("convolution", "_convolution"):
        image, weight, transposed = args[0], args[1], args[6]
        return int((image if transposed else output).numel() * math.prod(weight.shape[1:]))
    if name in ("mm", "bmm"):
        return output.numel() * int(args[0].shape[-1])
    if name in ("addmm", "baddbmm"):
        return output.numel() * int(args[1].shape[-1])
    if name.startswith(_ATTENTION):
        query, key, value = args[:3]  # [B, heads, L, D]
        return int(query.numel() * key.shape[-2] + query[..., 0].numel() * value.shape[-2] * value.shape[-1])
    return 0
