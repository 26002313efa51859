from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.core.data.points import Point
from toolkit.data.keeping import MemoryBudget
from toolkit.data.order import Order
from toolkit.data.prepared import prepare
from toolkit.data.sample import Batch, Dataset, Sample
from toolkit.data.transforms import TransformList, albumentations_transform
from toolkit.data.worker_engine import WorkerLoader
from toolkit.errors import ConfigError, DataError, ResourceError


class Pictures(Dataset[Point]):
    """Random pictures with one point each; the sample `bad` can be read only once."""

    def __init__(self, count: int, sizes: tuple[tuple[int, int], ...] = ((6, 8),), bad: int | None = None) -> None:
        self.total, self.sizes, self.bad = count, sizes, bad
        self.reads = 0

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: Any) -> Any:
        self.reads += index == self.bad
        if index == self.bad and self.reads > 1:
            raise DataError(f"{index}.png: is empty; expected a picture")
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*self.sizes[index % len(self.sizes)], 3), dtype=np.uint8)
        return Sample(f"{index}.png", image, Point(torch.from_numpy(rng.random((1, 2)) * 6)), truth=Point(torch.from_numpy(image)))


def make(name: str, **options: Any) -> Any:
    factory = albumentations_transform(name)
    assert factory is not None
    return factory(**options)


def nothing() -> TransformList:
    return TransformList([])


def augmenting() -> TransformList:
    return TransformList(
        [make("HorizontalFlip", p=0.5), make("Affine", rotate=[-20, 20], p=0.8), make("GaussNoise", p=0.5), make("Normalize")]
    )


def encode(target: Point, size: tuple[int, int]) -> Tensor:
    height, width = size
    return target.xy / torch.tensor([width, height])


@contextmanager
def loader(dataset: Any, transforms: TransformList, gib: float = 1, **options: Any) -> Iterator[WorkerLoader]:
    options = {"batch_size": 4, "train": True, "seed": 5} | options
    opened = WorkerLoader(prepare(dataset, transforms, budget=MemoryBudget(gib)), transforms, encode, **options)
    yield opened
    opened.close()


def values(batch: Batch[Any, Any]) -> list[Any]:
    truth = batch.truth.xy
    return [batch.ids, batch.images, batch.targets.xy, batch.encoded, batch.to_original, *(truth if isinstance(truth, tuple) else [truth])]


def same(first: list[Batch[Any, Any]], second: list[Batch[Any, Any]]) -> bool:
    pairs = [(a, b) for x, y in zip(first, second, strict=True) for a, b in zip(values(x), values(y), strict=True)]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def epoch(dataset: Any, transforms: TransformList, number: int = 0, start: int = 0, **options: Any) -> list[Batch[Any, Any]]:
    with loader(dataset, transforms, **options) as opened:
        return list(opened.epoch(number, start))


def test_a_batch_holds_what_its_samples_hold() -> None:
    dataset = Pictures(10)
    for batch in epoch(dataset, nothing()):
        assert batch.images.shape == (4, 3, 6, 8)
        for row, name in enumerate(batch.ids):
            sample = dataset[int(name.removesuffix(".png"))]
            assert torch.allclose(batch.images[row], torch.from_numpy(sample.image).permute(2, 0, 1) / 255)
            assert torch.equal(batch.targets.xy[row], sample.target.xy)
            assert torch.allclose(batch.encoded[row], sample.target.xy / torch.tensor([8, 6]))
            assert torch.equal(batch.truth.xy[row], torch.from_numpy(sample.image))
            assert torch.equal(batch.to_original[row], torch.eye(3))


@pytest.mark.parametrize("gib", [0, 1])
@pytest.mark.parametrize("transforms", [nothing, augmenting])
def test_memory_does_not_change_a_batch(gib: float, transforms: Any) -> None:
    assert same(epoch(Pictures(10), transforms(), gib=gib, workers=0), epoch(Pictures(10), transforms(), workers=0))


def test_an_index_into_memory_gives_the_same_as_sample_by_sample() -> None:
    late = TransformList([make("NoOp"), make("HorizontalFlip", p=0)])  # a random part that does nothing
    assert late.random
    assert same(epoch(Pictures(10), nothing()), epoch(Pictures(10), late, workers=0))


@pytest.mark.parametrize("gib", [0, 1])
@pytest.mark.slow
def test_the_number_of_workers_does_not_change_a_batch(gib: float) -> None:
    ragged = Pictures(10, ((6, 8), (7, 8)))
    transforms = TransformList([make("Resize", height=6, width=8), *augmenting().random])
    expected = epoch(ragged, transforms, 3, gib=gib, workers=0)
    for workers in (1, 2):
        assert same(expected, epoch(ragged, transforms, 3, gib=gib, workers=workers))
    assert isinstance(expected[0].truth.xy, tuple)


@pytest.mark.slow
def test_workers_serve_several_epochs_abandoned_ones_too() -> None:
    with loader(Pictures(20), augmenting(), workers=2) as opened:
        expected = [epoch(Pictures(20), augmenting(), number, workers=0) for number in range(3)]
        assert same(list(opened.epoch(0)), expected[0])
        next(opened.epoch(1))
        assert same(list(opened.epoch(2)), expected[2])
        assert same(list(opened.epoch(1, start=3)), expected[1][3:])


@pytest.mark.slow
def test_workers_leave_the_global_random_numbers_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    epoch(Pictures(8), augmenting(), workers=1)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("transforms", [nothing, augmenting])
def test_several_processes_interleave_to_the_batches_of_one(train: bool, transforms: Any) -> None:
    options: Any = {"train": train, "workers": 0}
    whole = epoch(Pictures(11), transforms(), **options)
    shares = [epoch(Pictures(11), transforms(), rank=rank, world=2, **options) for rank in range(2)]
    for number, batch in enumerate(whole):
        for rank in range(2):
            assert batch.ids[rank::2] == shares[rank][number].ids
            assert torch.equal(batch.images[rank::2], shares[rank][number].images)


def test_a_process_without_a_share_of_the_last_batch_does_not_see_it() -> None:
    first, second = (epoch(Pictures(5), nothing(), train=False, rank=rank, world=2) for rank in range(2))
    assert [len(batch) for batch in first] == [2, 1]
    assert [len(batch) for batch in second] == [2]


@pytest.mark.parametrize("transforms", [nothing, augmenting])
def test_an_epoch_resumes_at_any_batch(transforms: Any) -> None:
    whole = epoch(Pictures(20), transforms(), 2, workers=0)
    assert len(whole) == 5
    for start in range(6):
        assert same(epoch(Pictures(20), transforms(), 2, start, workers=0), whole[start:])


def test_training_shuffles_anew_each_epoch_and_leaves_out_the_incomplete_batch() -> None:
    first, again, second = ([name for batch in epoch(Pictures(11), nothing(), n) for name in batch.ids] for n in (0, 0, 1))
    assert first == again != second
    assert len(set(first)) == len(first) == 8


def test_evaluation_keeps_the_order_leaves_nothing_out_and_repeats_its_draws() -> None:
    batches = epoch(Pictures(11), augmenting(), train=False, workers=0)
    assert [name for batch in batches for name in batch.ids] == [f"{n}.png" for n in range(11)]
    assert same(batches, epoch(Pictures(11), augmenting(), 7, train=False, workers=0))


def test_the_same_sample_is_augmented_differently_in_each_epoch() -> None:
    first, second = (
        {n: i for b in epoch(Pictures(4), augmenting(), e, workers=0) for n, i in zip(b.ids, b.images, strict=True)} for e in (0, 1)
    )
    assert not any(torch.equal(first[name], second[name]) for name in first)


def test_draws_depend_on_seed_epoch_and_position_alone() -> None:
    drawn = [
        Order(10, 2, True, seed, rank, 2).entropy(epoch, position)
        for seed in (0, 1)
        for epoch in (0, 1)
        for position in (0, 1)
        for rank in (0, 1)
    ]
    assert drawn[::2] == drawn[1::2]
    assert len(set(drawn)) == 8


def test_the_ids_of_all_samples_are_known_without_loading() -> None:
    with loader(Pictures(11), augmenting(), rank=1, world=2, workers=0) as opened:
        assert opened.sample_ids() == tuple(f"{n}.png" for n in range(11))


def test_an_epoch_without_a_batch_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"fit.batch_size: an epoch has no batch of 256, since the training part has 100 samples; use at most 100"
    ):
        Order(count=100, batch_size=256, train=True, seed=0)
    with pytest.raises(ConfigError, match=r"fit.batch_size: 2 for 4 processes"):
        Order(count=100, batch_size=2, train=True, seed=0, world=4)
    assert len(Order(count=100, batch_size=256, train=False, seed=0)) == 1


@pytest.mark.slow
def test_an_error_of_a_worker_arrives_as_itself() -> None:
    with loader(Pictures(8, bad=6), augmenting(), gib=0, workers=2) as opened, pytest.raises(DataError) as caught:
        list(opened.epoch(0))
    assert str(caught.value) == "6.png: is empty; expected a picture"


class Deadly(Pictures):
    """Kills the process that reads it, if that is a worker."""

    main = os.getpid()

    def __getitem__(self, index: Any) -> Any:
        if os.getpid() != self.main:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


@pytest.mark.slow
def test_a_killed_worker_is_a_matter_of_resources() -> None:
    told = pytest.raises(ResourceError, match=r"was killed, .*use fewer loader.workers \(1 now\)")
    with loader(Deadly(8), augmenting(), gib=0, workers=1) as opened, told:
        list(opened.epoch(0))


def test_several_sizes_in_one_batch_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pictures of one batch are \d x 8 x 3 \('\d.png'\) and \d x 8 x 3 .*one size, such as Resize"):
        epoch(Pictures(8, ((6, 8), (7, 8))), nothing(), workers=0)


def test_normalize_for_another_number_of_channels_is_refused_before_the_first_batch() -> None:
    transforms = TransformList([make("Normalize", mean=[0.1, 0.2], std=[1, 1])])
    with pytest.raises(ConfigError, match=r"for 2 channels, but the pictures have 3"), loader(Pictures(8), transforms):
        pass


@pytest.mark.parametrize("channels_last", [False, True])
def test_the_memory_layout_is_as_asked(channels_last: bool) -> None:
    [batch, _] = epoch(Pictures(8), nothing(), channels_last=channels_last)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert batch.images.is_contiguous(memory_format=layout)


def test_the_log_line_says_how_many_workers_and_why() -> None:
    with loader(Pictures(8), nothing()) as opened:
        assert opened.describe() == "worker engine, 0 workers: nothing left to do per sample; 8 pictures of 6x8x3 (0 MiB) in memory"
    with loader(Pictures(8), augmenting(), workers=1) as opened:
        assert opened.describe().startswith("worker engine, 1 worker: as configured, 3 transforms per sample; ")
    with loader(Pictures(8), nothing(), gib=0) as opened:
        assert opened.workers >= 1
        assert "samples made on demand, " in opened.describe()


class Twins(Pictures):
    """The same picture under many names."""

    def __getitem__(self, index: Any) -> Any:
        twin = super().__getitem__(0)
        return Sample(f"{index}.png", twin.image, twin.target)


def test_equal_samples_of_one_batch_are_augmented_differently() -> None:
    [batch] = epoch(Twins(6), augmenting(), batch_size=6, workers=0)
    assert len({image.numpy().tobytes() for image in batch.images}) == 6
