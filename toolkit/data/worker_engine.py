"""The engine that runs albumentations itself, sample by sample, in worker processes where there is work to do."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from toolkit.cores import usable_cores
from toolkit.data.assemble import Encode, HostBatch, assemble, finished, take
from toolkit.data.loader import Loader
from toolkit.data.order import Indices, Order
from toolkit.data.prepared import Prepared
from toolkit.data.sample import Batch, TargetT
from toolkit.data.transforms import TransformList
from toolkit.errors import ResourceError, ToolkitError

_MOST_WORKERS = 4
"""What `workers: auto` takes at most: more rarely help, and each costs memory."""


class WorkerLoader(Loader):
    """Batches of a prepared part. Where nothing random is left to do and the pictures are in memory, a batch is an index into them.

    Only one `epoch` iterator may be in use at a time; a new one ends the last.

    Args:
        prepared: the samples, prepared with the leading part of `transforms`.
        encode: the task's, called on the device.
        batch_size: over all processes together.
        train: order, last batch and repetition of the random draws; see `Order`.
        workers: processes beside this one; "auto" takes none where a batch is an index.
        channels_last: memory layout of `Batch.images`.
    """

    def __init__(
        self,
        prepared: Prepared[TargetT],
        transforms: TransformList,
        encode: Encode[TargetT, Any],
        *,
        batch_size: int,
        train: bool,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        workers: int | Literal["auto"] = "auto",
        device: torch.device | str = "cpu",
        channels_last: bool = False,
    ) -> None:
        self.order = Order(len(prepared), batch_size, train, seed, rank, world)
        self._prepared, self._transforms, self._encode = prepared, transforms, encode
        self._device, self._channels_last = torch.device(device), channels_last
        self._is_index = prepared.is_resident and not transforms.random
        self.workers, self._why = self._choose_workers(workers, world)
        self._requests: _Requests[TargetT] = _Requests(prepared, transforms, self.order)
        self._sampler = _Sampler()
        self._processes: DataLoader[Any] | None = None
        if prepared.shape[2] and not transforms.random:
            transforms.finish.check_channels(prepared.shape[2])

    def __len__(self) -> int:
        return len(self.order)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        """The batches `start`, `start + 1`, ... of epoch `epoch` (counted from 0).

        In evaluation a process whose share of the last batch is empty does not see it.

        Raises:
            DataError, ConfigError: a sample cannot be read or transformed; the text names it.
            ResourceError: a worker process was killed.
        """
        requests = ((epoch, *self.order.positions(epoch, batch)) for batch in range(start, len(self)))
        wanted = [request for request in requests if len(request[1])]
        for batch in self._host_batches(wanted):
            yield finished(batch, self._transforms.finish, self._encode, self._device, channels_last=self._channels_last)

    def sample_ids(self) -> tuple[str, ...]:
        return self._prepared.ids(np.arange(len(self._prepared)))

    def close(self) -> None:
        if self._processes is not None:
            processes, self._processes = self._processes, None
            iterator = processes._iterator
            if iterator is not None:
                iterator._shutdown_workers()  # type: ignore[attr-defined]

    def describe(self) -> str:
        """One log line: the engine, how many workers, and why."""
        plural = "worker" if self.workers == 1 else "workers"
        return f"worker engine, {self.workers} {plural}: {self._why}; {self._prepared.describe()}"

    def _choose_workers(self, workers: int | Literal["auto"], world: int) -> tuple[int, str]:
        if self._is_index:
            return 0, "nothing left to do per sample"
        work = f"{len(self._transforms.random)} transforms per sample" if self._transforms.random else "samples made on demand"
        if not self._transforms.random and self._prepared.store.images is not None:
            work = "pictures of several sizes"
        if workers != "auto":
            return workers, f"as configured, {work}"
        cores = usable_cores()
        chosen = max(1, min(_MOST_WORKERS, cores // world))
        return chosen, f"{work}, {cores} cores" + (f" for {world} processes" if world > 1 else "")

    def _host_batches(self, requests: Sequence[_Request]) -> Iterator[HostBatch[Any]]:
        if self._is_index:
            yield from (take(self._prepared, positions) for _, positions, _ in requests)
        elif self.workers == 0:
            yield from (self._requests.make(request) for request in requests)
        else:
            yield from self._from_workers(requests)

    def _start(self) -> DataLoader[Any]:
        return DataLoader(
            self._requests,
            batch_size=None,
            sampler=self._sampler,
            num_workers=self.workers,
            persistent_workers=True,
            multiprocessing_context="fork",  # the prepared pictures are shared, not copied
            worker_init_fn=_start_worker,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from the global one, which dropout uses
        )

    def _from_workers(self, requests: Sequence[_Request]) -> Iterator[HostBatch[Any]]:
        self._sampler.requests = requests
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "This DataLoader will create")  # more workers than cores: the config says so
            if self._processes is None:
                self._processes = self._start()
            iterator = iter(self._processes)
        while True:
            try:
                answer = next(iterator)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                self._processes = None
                raise ResourceError(
                    "a worker process that loads pictures was killed, probably for want of memory or shared memory (/dev/shm); "
                    f"use fewer loader.workers ({self.workers} now) or a smaller fit.batch_size"
                ) from error
            if isinstance(answer, _Failure):
                raise answer.error
            yield answer.unpacked()


_Request = tuple[int, Indices, Indices]
"""Epoch, places in the part, positions in the epoch."""


@dataclass(frozen=True)
class _Failure:
    """An error on its way from a worker; torch would wrap its text into a traceback."""

    error: ToolkitError


class _Requests(Dataset[Any], Generic[TargetT]):
    """What a worker process does: a request in, a batch or a failure out."""

    def __init__(self, prepared: Prepared[TargetT], transforms: TransformList, order: Order) -> None:
        self._prepared, self._transforms, self._order = prepared, transforms, order

    def make(self, request: _Request) -> HostBatch[TargetT]:
        epoch, positions, in_epoch = request
        return assemble(self._prepared, self._transforms, self._order, epoch, positions, in_epoch)

    def __getitem__(self, request: Any) -> HostBatch[TargetT] | _Failure:
        try:
            return self.make(request).packed()
        except ToolkitError as error:
            return _Failure(error)


class _Sampler(Sampler[Any]):
    """The requests of the epoch to come, in order."""

    requests: Sequence[_Request] = ()

    def __iter__(self) -> Iterator[_Request]:
        return iter(self.requests)

    def __len__(self) -> int:
        return len(self.requests)


def _start_worker(number: int) -> None:
    cv2.setNumThreads(0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer; it ends the workers
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
