"""Make one batch: samples, random transforms and stacking on the host, the last steps on the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from toolkit.data.finish import Finish
from toolkit.data.order import Indices, Order
from toolkit.data.prepared import Prepared
from toolkit.data.sample import Batch, EncodedT, Sample, TargetT
from toolkit.data.transforms import TransformList
from toolkit.data.tree import map_leaves, map_tensors, select, stack, to_device
from toolkit.errors import ConfigError

Encode = Callable[[TargetT, tuple[int, int]], EncodedT]
"""`Task.encode`: a batch of targets on the device, and H, W of the pictures."""


@dataclass(frozen=True)
class HostBatch(Generic[TargetT]):
    """A batch before it goes to the device: images [B, H, W, C] uint8 (or float), not yet normalised; no encoding yet."""

    ids: tuple[str, ...]
    images: Tensor
    targets: TargetT
    truth: Any
    to_original: Tensor

    def pin_memory(self) -> HostBatch[TargetT]:
        """A copy in page-locked memory, which a GPU reads while the host goes on. Called by torch's DataLoader."""
        return replace(self, images=self.images.pin_memory(), targets=map_tensors(Tensor.pin_memory, self.targets))

    def packed(self) -> HostBatch[TargetT]:
        """With arrays in place of all small tensors: each tensor sent between processes costs an open file, an array does not."""
        targets, truth, to_original = map_tensors(Tensor.numpy, (self.targets, self.truth, self.to_original))
        return replace(self, targets=targets, truth=truth, to_original=to_original)

    def unpacked(self) -> HostBatch[TargetT]:
        """Undo `packed`."""
        packed = (self.targets, self.truth, self.to_original)
        targets, truth, to_original = map_leaves(np.ndarray, torch.from_numpy, packed)
        return replace(self, targets=targets, truth=truth, to_original=to_original)


def take(prepared: Prepared[TargetT], positions: Indices) -> HostBatch[TargetT]:
    """A batch of resident samples that need nothing more: an index into each tensor, no work per sample."""
    store = prepared.store
    assert isinstance(store.images, Tensor)
    assert store.to_original is not None
    rows = torch.from_numpy(prepared.positions[positions])
    targets: Any = select(store.targets, rows)
    truth = targets if store.truth is store.targets else select(store.truth, rows)
    images = store.images.index_select(0, rows)
    return HostBatch(prepared.ids(positions), images, targets, truth, store.to_original.index_select(0, rows).float())


def assemble(
    prepared: Prepared[TargetT], transforms: TransformList, order: Order, epoch: int, positions: Indices, in_epoch: Indices
) -> HostBatch[TargetT]:
    """A batch of samples with the random transforms applied to each. Raises: DataError, ConfigError naming the sample."""
    samples = [prepared.sample(position) for position in positions.tolist()]
    done = [transforms.augment(sample, order.entropy(epoch, place)) for sample, place in zip(samples, in_epoch.tolist(), strict=True)]
    to_original = np.stack([sample.to_original for sample in done])
    return HostBatch(
        tuple(sample.id for sample in done),
        _stack_images(done),
        stack([sample.target for sample in done]),
        prepared.truth(positions, samples),
        torch.from_numpy(to_original).float(),
    )


def finished(
    batch: HostBatch[TargetT], finish: Finish, encode: Encode[TargetT, EncodedT], device: torch.device, *, channels_last: bool
) -> Batch[TargetT, EncodedT]:
    """The batch on the device, its pictures as the model wants them and its targets encoded."""
    images, targets, truth, to_original = to_device((batch.images, batch.targets, batch.truth, batch.to_original), device)
    finish.check_channels(images.shape[3])
    pixels = finish(images, channels_last=channels_last)
    encoded = encode(targets, (pixels.shape[2], pixels.shape[3]))
    return Batch(batch.ids, pixels, targets, encoded, truth, to_original)


def _stack_images(samples: list[Sample[Any]]) -> Tensor:
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape or sample.image.dtype != first.image.dtype:
            found = " and ".join(f"{_describe(s)} ('{s.id}')" for s in (first, sample))
            raise ConfigError(
                f"transforms: pictures of one batch are {found}; end the list with transforms that give one size, such as Resize"
            )
    return torch.from_numpy(np.stack([sample.image for sample in samples]))


def _describe(sample: Sample[Any]) -> str:
    return " x ".join(str(n) for n in sample.image.shape) + ("" if sample.image.dtype == np.uint8 else f" {sample.image.dtype}")
