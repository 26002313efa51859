"""The engine that keeps prepared pictures as one tensor and transforms whole batches on the device: a batch is an index."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolkit.data.assemble import Encode, HostBatch, finished, take
from toolkit.data.device_transforms import DevicePlan, Draws, Refusal, plan_device
from toolkit.data.loader import Loader
from toolkit.data.order import Order
from toolkit.data.prepared import Prepared
from toolkit.data.sample import Batch, TargetT
from toolkit.data.transforms import TransformList
from toolkit.data.tree import select, to_device

_ROOM_BYTES = 4 * 2**20
"""Small batches are made several at once, as many as fit in here: each operation on tensors costs microseconds however small they are."""


def plan_for(prepared: Prepared[Any], transforms: TransformList) -> DevicePlan | Refusal:
    """The plan of the random part of `transforms` over `prepared`, or why the worker engine has to do it."""
    if not prepared.is_resident:
        if 0 in prepared.shape:
            return Refusal(
                "the data set", "has pictures of several sizes; a Resize, or a resize and a crop, at the head of the list makes them one"
            )
        return Refusal("the data set", "fits neither into memory (loader.memory_gib) nor into the cache (loader.cache_gib)")
    return plan_device(transforms.random, *prepared.shape)


class DeviceLoader(Loader):
    """Batches of a resident part, transformed as a whole; no work per sample in Python, no worker processes.

    Args:
        prepared: the samples, prepared with the leading part of `transforms`.
        plan: of the random part (`plan_for`).
        encode: the task's, called on the device.
        batch_size: over all processes together.
        train: order, last batch and repetition of the random draws; see `Order`.
        channels_last: memory layout of `Batch.images`.
    """

    workers = 0

    def __init__(
        self,
        prepared: Prepared[TargetT],
        transforms: TransformList,
        plan: DevicePlan,
        encode: Encode[TargetT, Any],
        *,
        batch_size: int,
        train: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        self.order = Order(len(prepared), batch_size, train, seed, rank, world)
        self._prepared, self._transforms, self._plan, self._encode = prepared, transforms, plan, encode
        self._device, self._channels_last = torch.device(device), channels_last
        transforms.finish.check_channels(plan.output_shape[2])
        # Always the same batches together, whatever the start, so that a resumed run computes the same bytes.
        self._together = max(1, _ROOM_BYTES // max(1, 4 * math.prod(plan.output_shape) * batch_size))

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        """The batches `start`, `start + 1`, ... of epoch `epoch` (counted from 0).

        In evaluation a process whose share of the last batch is empty does not see it.
        """
        for first in range(start - start % self._together, len(self), self._together):
            chosen = [self.order.positions(epoch, batch) for batch in range(first, min(first + self._together, len(self)))]
            positions, in_epoch = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
            if not len(positions):
                continue
            made = self._make(take(self._prepared, positions), Draws(self.order.entropy(epoch, 0)[:-1], in_epoch))
            if self._together == 1:
                yield made
                continue
            ends = np.cumsum([len(part) for part, _ in chosen]).tolist()
            for number, (begin, end) in enumerate(pairwise([0, *ends]), start=first):
                if number >= start and begin < end:
                    yield select(made, slice(begin, end))

    def sample_ids(self) -> tuple[str, ...]:
        return self._prepared.ids(np.arange(len(self._prepared)))

    def describe(self) -> str:
        """One log line: the engine, and what it works on."""
        number = len(self._transforms.random)
        work = f"{number} transform{'s' if number > 1 else ''} on whole batches" if number else "nothing random to do"
        return f"device engine on {self._device}: {work}; {self._prepared.describe()}"

    def close(self) -> None:
        """Nothing to end."""

    def _make(self, batch: HostBatch[Any], draws: Draws) -> Batch[Any, Any]:
        images, targets = to_device((batch.images, batch.targets), self._device)
        to_original = batch.to_original
        if self._transforms.random:
            images, targets, to_new = self._plan(images, targets, draws)
            if targets.moves or not self.order.train:  # as the worker engine keeps it up
                to_original = _undone(to_original, to_new)
        moved = HostBatch(batch.ids, images, targets, batch.truth, to_original)
        return finished(moved, self._transforms.finish, self._encode, self._device, channels_last=self._channels_last)


def _undone(to_original: Tensor, to_new: Tensor) -> Tensor:
    """[B, 3, 3] from pixels of the transformed picture to pixels of the file."""
    undone: Tensor = to_original.double() @ torch.linalg.inv(to_new)
    return undone.float()
