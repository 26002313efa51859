"""Stack, cut, concatenate and move values that are tensors, tuples of them or (nested) dataclasses of them.

Targets, truths, encoded values and predictions are such values; this is all the core knows of them.
A ragged value (masks of several sizes) is a tuple with one entry per sample.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def map_tensors(function: Callable[[Tensor], Any], value: T) -> T:
    """`value` with `function` applied to every tensor in it; what is no tensor, tuple or dataclass is kept."""
    return map_leaves(Tensor, function, value)


def map_leaves(kind: type, function: Callable[[Any], Any], value: T) -> T:
    """`value` with `function` applied to every leaf that is a `kind`; other leaves are kept."""
    result: Any = value
    if isinstance(value, kind):
        result = function(value)
    elif isinstance(value, tuple):
        result = tuple(map_leaves(kind, function, item) for item in value)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        result = _rebuild(value, {f.name: map_leaves(kind, function, getattr(value, f.name)) for f in dataclasses.fields(value)})
    return result  # type: ignore[no-any-return]


def to_device(value: T, device: torch.device) -> T:
    """`value` with every tensor on `device`. The host goes on while a GPU is filled; what comes to the host is there at once."""
    away_from_host = device.type != "cpu"  # torch would hand out host memory that the GPU has yet to write
    return map_tensors(lambda tensor: tensor.to(device, non_blocking=away_from_host), value)


def to_float32(value: T) -> T:
    """`value` with every tensor of lower floating-point precision as float32 (what autocast leaves behind)."""
    return map_tensors(lambda tensor: tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor, value)


def select(batch: T, index: int | Tensor | slice) -> T:
    """One sample (int) or several (tensor of indices, slice) out of a batched value; ragged tuples are indexed by sample."""
    result: Any = batch
    if isinstance(batch, Tensor):
        result = batch[index]
    elif isinstance(batch, tuple):
        result = tuple(batch[i] for i in index.tolist()) if isinstance(index, Tensor) else batch[index]
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        result = _rebuild(batch, {f.name: select(getattr(batch, f.name), index) for f in dataclasses.fields(batch)})
    return result  # type: ignore[no-any-return]


def stack(values: Sequence[T], uniform: Sequence[bool] | None = None) -> T:
    """One batched value out of single ones: tensors are stacked; tensors of several shapes become a ragged tuple.

    uniform: for each tensor of a value, in the order of `leaf_shapes`, whether it has one shape in the whole data set; a
        batch whose tensors happen to agree is then as ragged as the others.
    """
    if uniform is None:
        return _join(values, lambda tensors: torch.stack(tensors) if len({t.shape for t in tensors}) == 1 else tuple(tensors))
    stackable = iter(uniform)
    return _join(values, lambda tensors: torch.stack(tensors) if next(stackable) else tuple(tensors))


def leaf_shapes(value: Any) -> tuple[tuple[int, ...], ...]:
    """The shape of every tensor that `stack` would stack, in its order."""
    shapes: list[tuple[int, ...]] = []
    _join([value], lambda tensors: shapes.append(tuple(tensors[0].shape)))
    return tuple(shapes)


def concatenate(batches: Sequence[T]) -> T:
    """One longer batched value out of batched ones."""
    return _join(batches, torch.cat)


def length(batch: Any) -> int:
    """How many samples a batched value holds."""
    if isinstance(batch, Tensor | tuple):
        return len(batch)
    return length(getattr(batch, dataclasses.fields(batch)[0].name))


def _join(values: Sequence[T], join: Callable[[list[Tensor]], Any]) -> T:
    first: Any = values[0]
    result: Any = first
    if isinstance(first, Tensor):
        result = join(list(values))  # type: ignore[arg-type]
    elif isinstance(first, tuple):
        result = tuple(itertools.chain.from_iterable(values))  # type: ignore[arg-type]
    elif dataclasses.is_dataclass(first) and not isinstance(first, type):
        result = _rebuild(first, {f.name: _join([getattr(v, f.name) for v in values], join) for f in dataclasses.fields(first)})
    return result  # type: ignore[no-any-return]


def _rebuild(value: Any, fields: dict[str, Any]) -> Any:
    """A copy of the dataclass with other fields; not `dataclasses.replace`, whose __post_init__ checks were passed once already."""
    copy = object.__new__(type(value))
    for name, item in fields.items():
        object.__setattr__(copy, name, item)
    return copy
