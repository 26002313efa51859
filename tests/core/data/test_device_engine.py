"""The device engine's batches: pure in (seed, epoch, position), the same in any number of processes, and undone by `to_original`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.core.data.points import Point
from toolkit.data.device_engine import DeviceLoader, plan_for
from toolkit.data.device_transforms import DevicePlan, Refusal
from toolkit.data.keeping import MemoryBudget
from toolkit.data.prepared import prepare
from toolkit.data.sample import Batch, Dataset, Sample
from toolkit.data.transforms import TransformList, albumentations_transform
from toolkit.data.worker_engine import WorkerLoader


class Pictures(Dataset[Point]):
    """Random pictures of 10x12 with one point each."""

    def __init__(self, count: int, sizes: tuple[tuple[int, int], ...] = ((10, 12),)) -> None:
        self.total, self.sizes = count, sizes

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: Any) -> Any:
        rng = np.random.default_rng(index)
        image = rng.integers(0, 256, (*self.sizes[index % len(self.sizes)], 3), dtype=np.uint8)
        return Sample(f"{index}.png", image, Point(torch.from_numpy(2 + rng.random((1, 2)) * 6)))


def make(name: str, **options: Any) -> Any:
    factory = albumentations_transform(name)
    assert factory is not None
    return factory(**options)


def augmenting(*, evaluation: bool = False) -> TransformList:
    steps = [make("HorizontalFlip", p=0.5), make("Affine", rotate=[-20, 20], p=0.8), make("GaussNoise", p=0.5), make("Normalize")]
    return TransformList(steps, evaluation=evaluation)


def encode(target: Point, size: tuple[int, int]) -> Tensor:
    height, width = size
    return target.xy / torch.tensor([width, height])


def loader(transforms: TransformList, count: int = 10, **options: Any) -> DeviceLoader:
    prepared = prepare(Pictures(count), transforms, budget=MemoryBudget(1))
    plan = plan_for(prepared, transforms)
    assert isinstance(plan, DevicePlan)
    return DeviceLoader(prepared, transforms, plan, encode, **({"batch_size": 4, "train": True, "seed": 5} | options))


def same(one: Batch[Any, Any], other: Batch[Any, Any]) -> bool:
    tensors = [(b.images, b.targets.xy, b.encoded, b.to_original) for b in (one, other)]
    return one.ids == other.ids and all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


def test_an_epoch_begun_in_the_middle_gives_the_batches_that_it_gives_from_its_start() -> None:
    whole = list(loader(augmenting(), 17).epoch(3))
    rest = list(loader(augmenting(), 17).epoch(3, start=2))
    assert len(whole) == 4
    assert all(same(a, b) for a, b in zip(whole[2:], rest, strict=True))


def test_epochs_and_seeds_differ_in_order_and_in_what_is_drawn() -> None:
    first, second, other = (list(loader(augmenting(), seed=seed).epoch(epoch)) for seed, epoch in ((5, 0), (5, 1), (6, 0)))
    assert len({tuple(batch.ids for batch in epoch) for epoch in (first, second, other)}) == 3
    pictures = [{name: image for batch in epoch for name, image in zip(batch.ids, batch.images, strict=True)} for epoch in (first, second)]
    shared = pictures[0].keys() & pictures[1].keys()
    assert len(shared) >= 6
    assert not any(torch.equal(pictures[0][name], pictures[1][name]) for name in shared)


@pytest.mark.parametrize("train", [True, False])
def test_two_processes_together_make_the_batches_of_one(train: bool) -> None:
    one = list(loader(augmenting(evaluation=not train), train=train).epoch(1))
    shares = [list(loader(augmenting(evaluation=not train), train=train, rank=rank, world=2).epoch(1)) for rank in (0, 1)]
    for number, batch in enumerate(one):
        for rank in (0, 1):
            share = shares[rank][number]
            assert share.ids == batch.ids[rank::2]
            assert torch.equal(share.images, batch.images[rank::2])


def test_evaluation_has_every_sample_once_in_the_data_sets_order_and_repeats_its_draws() -> None:
    evaluation = loader(augmenting(evaluation=True), train=False)
    first, again = (list(evaluation.epoch(epoch)) for epoch in (0, 1))
    assert [name for batch in first for name in batch.ids] == [f"{i}.png" for i in range(10)] == list(evaluation.sample_ids())
    assert all(same(a, b) for a, b in zip(first, again, strict=True))


def test_to_original_takes_moved_points_back_to_the_file() -> None:
    transforms = TransformList([make("Resize", height=20, width=24), make("Affine", rotate=[-30, 30], scale=[0.8, 1.2], p=1.0)])
    for batch in loader(transforms).epoch(0):
        points = torch.cat([batch.targets.xy.float(), torch.ones(len(batch), 1, 1)], dim=2) @ batch.to_original.mT
        truth = torch.stack([Pictures(10)[int(name.partition(".")[0])].target.xy for name in batch.ids])
        assert points[..., :2] / points[..., 2:] == pytest.approx(truth.numpy(), abs=1e-3)


def test_without_random_transforms_both_engines_give_the_same_bytes() -> None:
    transforms = TransformList([make("Resize", height=6, width=8), make("Normalize")])
    prepared = prepare(Pictures(10), transforms, budget=MemoryBudget(1))
    worker = WorkerLoader(prepared, transforms, encode, batch_size=4, train=True, seed=5)
    assert all(same(a, b) for a, b in zip(loader(transforms).epoch(2), worker.epoch(2), strict=True))


def test_pictures_of_several_sizes_and_transforms_without_a_twin_are_refused_with_the_reason() -> None:
    mixed = prepare(Pictures(4, sizes=((10, 12), (8, 8))), TransformList([]), budget=MemoryBudget(1))
    refused = plan_for(mixed, TransformList([]))
    assert isinstance(refused, Refusal)
    way_out = "a Resize, or a resize and a crop, at the head of the list makes them one"
    assert str(refused) == f"the data set has pictures of several sizes; {way_out}"
    bending = TransformList([make("ElasticTransform")])
    refused = plan_for(prepare(Pictures(4), bending, budget=MemoryBudget(1)), bending)
    assert str(refused) == "ElasticTransform has no batched twin"


def test_the_log_line_says_what_the_engine_works_on() -> None:
    assert (
        loader(augmenting()).describe() == "device engine on cpu: 3 transforms on whole batches; 10 pictures of 10x12x3 (0 MiB) in memory"
    )
    assert loader(TransformList([])).describe() == "device engine on cpu: nothing random to do; 10 pictures of 10x12x3 (0 MiB) in memory"
