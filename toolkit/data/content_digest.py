"""One digest of many samples, whether they are seen one by one or as batches."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from toolkit.data.sample import Pixels


class ContentDigest:
    """SHA-256 over pictures, targets and truths, a stream of bytes for each tensor, so that the cuts between batches do not show."""

    def __init__(self) -> None:
        self._streams: dict[str, Any] = {}

    def add(self, images: Pixels | Tensor | tuple[Tensor, ...], targets: Any, truths: Any) -> None:
        """One more sample, or a batch of them as `tree.stack` makes it."""
        for what, value in (("image", images), ("target", targets), ("truth", truths)):
            for number, leaf in enumerate(_leaves(value)):
                stream = self._streams.setdefault(f"{what} {number}", hashlib.sha256())
                for array in leaf if isinstance(leaf, tuple) else (leaf,):
                    stream.update(_bytes(array))

    def hexdigest(self) -> str:
        """Of all that was added."""
        streams = (f"{name} {stream.hexdigest()}" for name, stream in sorted(self._streams.items()))
        return hashlib.sha256("\n".join(streams).encode()).hexdigest()


def _leaves(value: Any) -> Iterator[Any]:
    """Tensors, and tuples of them as a whole: one sample's tensor is a tuple in the batch where sizes differ."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _leaves(getattr(value, field.name))
    elif value is not None:
        yield value


def _bytes(array: Tensor | Pixels) -> Any:
    values = array.contiguous().numpy() if isinstance(array, Tensor) else np.ascontiguousarray(array)
    return values.data if values.size else b""
