"""Samples with the deterministic transforms done: in memory, in the cache on disk, or made again on demand."""

from __future__ import annotations

import copy
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Generic

import numpy as np
import torch
from torch import Tensor

from toolkit.cores import usable_cores
from toolkit.data.cache import Cache, NewEntry
from toolkit.data.cache_key import cache_key
from toolkit.data.keeping import Keeper, MemoryBudget, sample_bytes
from toolkit.data.order import Indices
from toolkit.data.sample import Sample, Target, TargetT
from toolkit.data.transforms import TransformList
from toolkit.data.tree import select, stack
from toolkit.errors import DataError, PluginError

_LISTED = 20
"""Bad samples that are spelt out; the others are counted."""
_TIMED = 16
"""Samples that are loaded before it is decided whether threads are worth it."""
_SLOW_SECONDS = 0.001
_WINDOW_BYTES = 64 * 2**20
"""Pictures that the threads may be ahead, so that a data set larger than the memory never stands in it."""
_WORTH_SECONDS = 3.0
"""A part that is read faster is not worth its room on the disk, as long as it fits into the memory."""


@dataclass(frozen=True)
class Store(Generic[TargetT]):
    """What `Prepared` views share; all lists are by row.

    images: [N, H, W, C] uint8, in memory or mapped from the disk; a tuple of [H, W, C] where sizes differ; None where they are
        made on demand.
    targets, truth: batched, wherever the images are.
    to_original: [N, 3, 3] float64.
    shape: H, W, C of every picture, 0 where they differ.
    rows: the data set's index of each row.
    uniform: whether each tensor of a truth has one shape throughout (`tree.stack`).
    digest: of all pictures, targets and truths, wherever they are kept.
    place: where that is, in words.
    """

    ids: tuple[str, ...]
    images: Tensor | tuple[Tensor, ...] | None
    targets: TargetT | None
    truth: Any
    to_original: Tensor | None
    shape: tuple[int, int, int]
    rows: Indices
    uniform: tuple[bool, ...]
    dataset: Sequence[Sample[TargetT]]
    transforms: TransformList
    num_bytes: int
    digest: str
    place: str


@dataclass(frozen=True)
class Prepared(Generic[TargetT]):
    """Part of a `Store`, in the order of `positions`; parts of one store share its memory.

    A loader reads it in one of two ways: `sample` one by one (any store), or `store.images` itself by the rows in
    `positions`, a batch at a time, where `is_resident`.
    """

    store: Store[TargetT]
    positions: Indices

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def is_resident(self) -> bool:
        """Whether `store.images` is one tensor."""
        return isinstance(self.store.images, Tensor)

    @property
    def shape(self) -> tuple[int, int, int]:
        """H, W, C of the pictures, 0 where they differ."""
        return self.store.shape

    def ids(self, positions: Indices) -> tuple[str, ...]:
        """Names of the samples at these positions."""
        names = self.store.ids
        return tuple([names[row] for row in self.positions[positions].tolist()])

    def sample(self, position: int) -> Sample[TargetT]:
        """One sample; its arrays belong to the store and must not be written to. Raises: DataError, if it has to be read again."""
        row, store = int(self.positions[position]), self.store
        if store.images is None:
            return store.transforms.prepare(store.dataset[int(store.rows[row])])
        assert store.to_original is not None
        target: Any = select(store.targets, row)
        return Sample(store.ids[row], store.images[row].numpy(), target, _NOT_LOADED, store.to_original[row].numpy())

    def truth(self, positions: Indices, samples: Sequence[Sample[TargetT]] = ()) -> Any:
        """The batched truth of these positions; `samples` are those of `sample`, which carry it where nothing is in memory."""
        if self.store.images is None:
            return stack([sample.truth for sample in samples], self.store.uniform)
        return select(self.store.truth, torch.from_numpy(self.positions[positions]))

    def subset(self, positions: Indices) -> Prepared[TargetT]:
        """The samples at these positions, without a copy."""
        return Prepared(self.store, self.positions[positions])

    def describe(self) -> str:
        """One line on what is kept where."""
        height, width, channels = self.shape
        size = f"{height}x{width}x{channels}" if height and width else "several sizes"
        room = "" if self.store.images is None else f"({self.store.num_bytes / 2**20:,.0f} MiB) "
        return f"{len(self):,} pictures of {size} {room}{self.store.place}"


_NOT_LOADED = torch.empty(0)
"""Stands for the truth in samples of a store that keeps all truths itself: batches take it from there."""


def prepare(
    dataset: Sequence[Sample[TargetT]],
    transforms: TransformList,
    *,
    budget: MemoryBudget,
    indices: Indices | None = None,
    part: str = "training",
    cache: Cache | None = None,
) -> Prepared[TargetT]:
    """Load every sample once, apply the leading transforms, and keep what fits into `budget`.

    Args:
        indices: which samples of the data set; all where not given.
        part: what messages call it.
        cache: pictures of one size are kept there where it takes long to make them, or the budget is too small for them; where it
            has them already, nothing is loaded but the first.

    Raises:
        DataError: no sample; or a list of all that cannot be read or used, each with its reason.
        PluginError: the data set gives something that is no `Sample` as promised.

    >>> prepare([], TransformList([]), budget=MemoryBudget(1), part="training")
    Traceback (most recent call last):
    toolkit.errors.DataError: the training part is empty; expected at least one sample
    """
    rows = np.arange(len(dataset)) if indices is None else np.asarray(indices)
    if not len(rows):
        raise DataError(f"the {part} part is empty; expected at least one sample")
    source = _Source(dataset, transforms, rows, part)
    key = cache_key(dataset, rows, transforms) if cache is not None and cache.limit_bytes else None
    store = None
    if cache is not None and key is not None:
        store = _from_cache(source, cache, key, "kept in the cache on disk by an earlier run")
    return Prepared(store or _read(source, budget, cache, key), np.arange(len(rows)))


def prepare_parts(
    dataset: Sequence[Sample[TargetT]],
    training: tuple[TransformList, Indices],
    validation: tuple[TransformList, Indices],
    *,
    budget: MemoryBudget,
    cache: Cache | None = None,
) -> tuple[Prepared[TargetT], Prepared[TargetT]]:
    """Two parts of one data set; where their leading transforms are the same, from one store."""
    (train_list, train_indices), (validation_list, validation_indices) = training, validation
    if train_list.leading_key == validation_list.leading_key:
        both = prepare(dataset, train_list, budget=budget, indices=np.concatenate([train_indices, validation_indices]), cache=cache)
        cut = len(train_indices)
        return both.subset(np.arange(cut)), both.subset(np.arange(cut, len(both)))
    return (
        prepare(dataset, train_list, budget=budget, indices=train_indices, cache=cache),
        prepare(dataset, validation_list, budget=budget, indices=validation_indices, part="validation", cache=cache),
    )


@dataclass(frozen=True)
class _Source(Generic[TargetT]):
    """What a store is made from."""

    dataset: Sequence[Sample[TargetT]]
    transforms: TransformList
    rows: Indices
    part: str


def _read(source: _Source[TargetT], budget: MemoryBudget, cache: Cache | None, key: str | None) -> Store[TargetT]:
    """Every sample, loaded and kept where there is room; one that is kept on disk does not count against the budget."""
    started = time.perf_counter()
    loading = _load(source.dataset, source.transforms, source.rows)
    first = list(islice(loading, _TIMED))
    seconds = (time.perf_counter() - started) / len(first) * len(source.rows)
    keeper: Keeper[TargetT] = Keeper(len(source.rows), budget)
    problems: list[str] = []
    new = None
    with ExitStack() as stack:
        num_bytes = _foretold(first, len(source.rows))
        if cache is not None and key is not None and (seconds > _WORTH_SECONDS or num_bytes > budget.left_bytes):
            new = stack.enter_context(cache.writing(key, num_bytes))
            if new.made_elsewhere and (store := _from_cache(source, cache, key, "kept in the cache on disk by another run")):
                return store
        for loaded in chain(first, loading):
            if isinstance(loaded, DataError):
                problems.append(str(loaded))
                continue
            keeper.add(loaded)
            if new is not None:
                new.add(loaded)
        problems += _repeated(keeper.ids)
        if problems:
            raise DataError(_listed(problems, len(source.rows), source.part))
        kept = keeper.finish()
        if cache is not None and key is not None and new is not None:
            new.commit(kept.digest)
            if store := _from_cache(source, cache, key, "kept in the cache on disk"):
                return store
    budget.take(kept.num_bytes)
    place = ("made on demand" if kept.images is None else "in memory") + _without_cache(new)
    return Store(
        tuple(keeper.ids), kept.images, kept.targets, kept.truth, kept.to_original,
        keeper.shape, source.rows, keeper.uniform, source.dataset, source.transforms, kept.num_bytes, kept.digest, place,
    )  # fmt: skip


def _foretold(first: Sequence[Sample[Any] | DataError], count: int) -> int:
    """Bytes of `count` samples, if all are like the first ones."""
    sizes = [sample_bytes(sample) for sample in first if isinstance(sample, Sample)]
    return sum(sizes) * count // max(len(sizes), 1)


def _without_cache(new: NewEntry | None) -> str:
    return f" (not in the cache on disk: {new.problem})" if new is not None and new.problem else ""


def _from_cache(source: _Source[TargetT], cache: Cache, key: str, place: str) -> Store[TargetT] | None:
    """The store of an entry, if it is there and holds what the first sample gives now; one that does not is removed."""
    entry = cache.find(key)
    if entry is None:
        return None
    first = _load_one(source.dataset, source.transforms, int(source.rows[0]))
    if isinstance(first, DataError) or len(entry.ids) != len(source.rows) or not entry.fits(first):
        cache.drop(key)
        return None
    targets, truth = entry.batched(first)
    height, width, channels = entry.images.shape[1:]
    return Store(
        entry.ids, entry.images, targets, truth, entry.to_original, (height, width, channels), source.rows,
        entry.uniform, source.dataset, source.transforms, entry.num_bytes, entry.digest, place,
    )  # fmt: skip


def _load(dataset: Sequence[Sample[Any]], transforms: TransformList, rows: Indices) -> Iterator[Sample[Any] | DataError]:
    """Every sample in order, or what is wrong with it; by several threads where one sample takes long."""
    started, largest = time.perf_counter(), 1
    for row in rows[:_TIMED]:
        loaded = _load_one(dataset, transforms, int(row))
        largest = largest if isinstance(loaded, DataError) else max(largest, sample_bytes(loaded))
        yield loaded
    slow = time.perf_counter() - started > _SLOW_SECONDS * _TIMED
    rest = [int(row) for row in rows[_TIMED:]]
    threads = min(usable_cores(), 8)
    window = max(2 * threads, _WINDOW_BYTES // largest)
    if not slow or threads == 1:
        yield from (_load_one(dataset, transforms, row) for row in rest)
        return
    own = threading.local()

    def load(row: int) -> Sample[Any] | DataError:
        if not hasattr(own, "transforms"):  # albumentations keeps the parameters of a call in the transform
            own.transforms = copy.deepcopy(transforms)
        return _load_one(dataset, own.transforms, row)

    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(rest), window):
            yield from pool.map(load, rest[start : start + window])


def _load_one(dataset: Sequence[Sample[Any]], transforms: TransformList, row: int) -> Sample[Any] | DataError:
    try:
        sample = dataset[row]
        _check(sample, row)
        prepared = transforms.prepare(sample)
    except DataError as error:
        return error
    image = prepared.image
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise PluginError(f"{_where(sample, row)} has an image {list(image.shape)} {image.dtype}; expected [H, W, 1 or 3] uint8")
    return prepared


def _check(sample: Any, row: int) -> None:
    if not isinstance(sample, Sample) or not isinstance(sample.id, str):
        raise PluginError(f"sample {row} of the data set is {sample!r:.80}; expected a toolkit.data.Sample with a text as id")
    if not isinstance(sample.target, Target):
        raise PluginError(f"{_where(sample, row)} has a target of type {type(sample.target).__name__}; expected a toolkit.data.Target")
    for what, value in (("target", sample.target), ("truth", sample.truth)):
        _check_leaves(value, f"{_where(sample, row)}: its {what}")
    image = sample.image
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3):
        raise PluginError(f"{_where(sample, row)} has an image that is not [H, W, 1 or 3] uint8, but {_kind(image)}")


def _check_leaves(value: Any, where: str) -> None:
    """Stacking keeps only tensors apart: a plain number would silently become the first sample's for all."""
    if value is None or isinstance(value, Tensor):
        return
    if isinstance(value, tuple):
        for item in value:
            _check_leaves(item, where)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            _check_leaves(getattr(value, field.name), f"{where}.{field.name}")
    else:
        raise PluginError(f"{where} is {value!r:.40} of type {type(value).__name__}; expected a tensor")


def _kind(image: Any) -> str:
    return f"{list(image.shape)} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__


def _where(sample: Sample[Any], row: int) -> str:
    return f"sample '{sample.id}' (number {row}) of the data set"


def _repeated(ids: Sequence[str]) -> list[str]:
    first: dict[str, int] = {}
    problems = []
    for number, name in enumerate(ids):
        if first.setdefault(name, number) != number:
            problems.append(f"{name}: names samples {first[name]} and {number}; expected ids that are unique")
    return problems


def _listed(problems: Sequence[str], count: int, part: str) -> str:
    if len(problems) == 1:
        return problems[0]
    lines = [f"{len(problems):,} of {count:,} samples of the {part} part cannot be used", *problems[:_LISTED]]
    if len(problems) > _LISTED:
        lines.append(f"... and {len(problems) - _LISTED:,} more")
    return "\n  ".join(lines)
