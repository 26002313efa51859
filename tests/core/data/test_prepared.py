from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.cache import Cache
from toolkit.data.keeping import MemoryBudget
from toolkit.data.prepared import Prepared, prepare, prepare_parts
from toolkit.data.sample import Dataset, Sample, Target
from toolkit.data.transforms import TransformList, albumentations_transform
from toolkit.errors import DataError, PluginError


@dataclass(frozen=True)
class Label(Target):
    label: Tensor


class Pictures(Dataset[Label]):
    """A data set of random pictures; `sizes` are repeated, indices in `bad` cannot be read."""

    def __init__(self, count: int, sizes: tuple[tuple[int, int], ...] = ((6, 8),), bad: tuple[int, ...] = ()) -> None:
        self.total, self.sizes, self.bad = count, sizes, bad
        self.reads = 0
        self.signed: str | None = None

    def __len__(self) -> int:
        return self.total

    def signature(self) -> str | None:
        return self.signed

    def image(self, index: int) -> Any:
        height, width = self.sizes[index % len(self.sizes)]
        return np.random.default_rng(index).integers(0, 256, (height, width, 1), dtype=np.uint8)

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        if index in self.bad:
            raise DataError(f"{index}.png: is empty; expected a picture")
        image = self.image(index)
        return Sample(f"{index}.png", image, Label(torch.tensor(index)), truth=Label(torch.from_numpy(image[:, :, 0])))


class One:
    """A data set of one given sample."""

    def __init__(self, *samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]


NOTHING = TransformList([])


def plain(dataset: Any, gib: float = 1, transforms: TransformList = NOTHING, **options: Any) -> Prepared[Label]:
    return prepare(dataset, transforms, budget=MemoryBudget(gib), **options)


def check_same(prepared: Prepared[Label], dataset: Pictures) -> None:
    for position in range(len(dataset)):
        sample = prepared.sample(position)
        assert sample.id == f"{position}.png"
        assert np.array_equal(sample.image, dataset.image(position))
        assert int(sample.target.label) == position


@pytest.mark.parametrize("count", [3, 64, 100])
def test_pictures_of_one_size_become_one_tensor(count: int) -> None:
    dataset = Pictures(count)
    prepared = plain(dataset)
    assert prepared.is_resident
    assert isinstance(prepared.store.images, Tensor)
    assert prepared.store.images.shape == (count, 6, 8, 1)
    assert prepared.shape == (6, 8, 1)
    check_same(prepared, dataset)
    assert dataset.reads == count  # nothing is read twice


@pytest.mark.parametrize("count", [3, 64, 100])
def test_pictures_of_several_sizes_are_kept_one_by_one(count: int) -> None:
    prepared = plain(Pictures(count, ((6, 8), (7, 8))))
    assert not prepared.is_resident
    assert prepared.store.images is not None
    assert prepared.shape == (0, 8, 1)
    check_same(prepared, Pictures(count, ((6, 8), (7, 8))))


def test_a_late_picture_of_another_size_turns_the_block_into_a_list() -> None:
    dataset = Pictures(100, ((6, 8),) * 90 + ((9, 9),))
    prepared = plain(dataset)
    assert isinstance(prepared.store.images, tuple)
    check_same(prepared, dataset)


@pytest.mark.parametrize("sizes", [((6, 8),), ((6, 8), (7, 8))])
def test_what_exceeds_the_budget_is_made_on_demand(sizes: Any) -> None:
    dataset = Pictures(100, sizes)
    prepared = plain(dataset, gib=5_000 / 2**30)
    assert prepared.store.images is None
    assert dataset.reads == 100  # each was verified once
    check_same(prepared, dataset)
    assert "made on demand" in prepared.describe()


def test_the_budget_is_shared_and_decided_before_all_is_read() -> None:
    budget = MemoryBudget(20_000 / 2**30)  # one sample is 48 bytes of picture, 8 of label, 48 of truth
    assert prepare(Pictures(100), NOTHING, budget=budget).is_resident
    assert budget.left_bytes == 20_000 - 100 * 104
    assert not prepare(Pictures(100), NOTHING, budget=budget).is_resident
    assert budget.left_bytes == 9_600


def test_the_leading_transforms_are_done_once_and_the_truth_stays_that_of_the_file() -> None:
    resize = albumentations_transform("Resize")
    assert resize is not None
    prepared = plain(Pictures(4, ((6, 8), (12, 16))), transforms=TransformList([resize(height=3, width=4)]))
    assert prepared.shape == (3, 4, 1)
    assert prepared.is_resident
    assert np.allclose(prepared.sample(1).to_original, np.diag([4, 4, 1]))
    truth = prepared.truth(np.array([1, 0]))
    assert [tuple(mask.shape) for mask in truth.label] == [(12, 16), (6, 8)]


@pytest.mark.parametrize("gib", [0.0, 1.0])
def test_a_ragged_truth_is_ragged_in_every_batch(gib: float) -> None:
    dataset = Pictures(4, ((6, 8), (6, 8), (7, 8)))
    prepared = plain(dataset, gib)
    positions = np.array([0, 1])
    truth = prepared.truth(positions, [prepared.sample(0), prepared.sample(1)])
    assert isinstance(truth.label, tuple)  # though these two have one size
    assert torch.equal(truth.label[1], torch.from_numpy(dataset.image(1)[:, :, 0]))


def test_every_bad_file_is_listed_with_its_reason() -> None:
    with pytest.raises(
        DataError, match=r"^2 of 40 samples of the test part cannot be used\n  3.png: is empty; .*\n  39.png: is empty"
    ) as caught:
        plain(Pictures(40, bad=(3, 39)), part="test")
    assert len(str(caught.value).splitlines()) == 3


def test_a_long_list_of_bad_files_ends_with_a_count() -> None:
    with pytest.raises(DataError, match=r"30 of 40 samples of the training part") as caught:
        plain(Pictures(40, bad=tuple(range(30))))
    lines = str(caught.value).splitlines()
    assert len(lines) == 22
    assert lines[-1].strip() == "... and 10 more"


def test_one_bad_file_is_told_in_one_line() -> None:
    with pytest.raises(DataError, match=r"^7.png: is empty; expected a picture$"):
        plain(Pictures(40, bad=(7,)))


def test_threads_give_the_same_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.prepared._SLOW_SECONDS", 0.0)
    dataset = Pictures(300)
    check_same(plain(dataset), dataset)
    with pytest.raises(DataError, match=r"(?s)5.png.*299.png"):
        plain(Pictures(300, bad=(5, 299)))


def test_an_empty_part_is_refused() -> None:
    with pytest.raises(DataError, match=r"the test part is empty; expected at least one sample"):
        plain(Pictures(0), part="test")


def test_repeated_ids_are_refused() -> None:
    sample = Pictures(1)[0]
    with pytest.raises(DataError, match=r"0.png: names samples 0 and 1; expected ids that are unique"):
        plain(One(sample, sample))


@dataclass(frozen=True)
class Number(Target):
    number: int


NO_TARGET: Any = 3


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (7, "sample 0 of the data set is 7; expected a toolkit.data.Sample"),
        (Sample("a", np.zeros((4, 4), np.uint8), Label(torch.tensor(1))), r"sample 'a' \(number 0\).* but \[4, 4\] uint8"),
        (Sample("a", np.zeros((4, 4, 3), np.float32), Label(torch.tensor(1))), r"but \[4, 4, 3\] float32"),
        (Sample("a", np.zeros((4, 4, 3), np.uint8), NO_TARGET), "target of type int; expected a toolkit.data.Target"),
        (Sample("a", np.zeros((4, 4, 3), np.uint8), Number(3)), "its target.number is 3 of type int; expected a tensor"),
        (Sample("a", np.zeros((4, 4, 3), np.uint8), Label(torch.tensor(1)), truth=5), "its truth is 5 of type int; expected a tensor"),
    ],
)
def test_what_a_data_set_gives_is_checked(sample: Any, message: str) -> None:
    with pytest.raises(PluginError, match=message):
        plain(One(sample))


def test_parts_with_the_same_leading_transforms_share_one_store() -> None:
    dataset = Pictures(10)
    train, validation = prepare_parts(
        dataset, (NOTHING, np.array([0, 2, 4])), (TransformList([]), np.array([9, 1])), budget=MemoryBudget(1)
    )
    assert train.store is validation.store
    assert dataset.reads == 5
    assert train.ids(np.arange(3)) == ("0.png", "2.png", "4.png")
    assert validation.ids(np.arange(2)) == ("9.png", "1.png")
    assert np.array_equal(validation.sample(0).image, dataset.image(9))


def test_parts_with_other_leading_transforms_are_prepared_apart() -> None:
    resize = albumentations_transform("Resize")
    assert resize is not None
    small = TransformList([resize(height=3, width=4)])
    train, validation = prepare_parts(Pictures(10), (NOTHING, np.arange(5)), (small, np.arange(5, 10)), budget=MemoryBudget(1))
    assert (train.shape, validation.shape) == ((6, 8, 1), (3, 4, 1))
    assert validation.sample(0).id == "5.png"


def test_the_line_for_the_log() -> None:
    assert plain(Pictures(1000)).describe() == "1,000 pictures of 6x8x1 (0 MiB) in memory"


SMALL = 5_000 / 2**30
"""GiB that a hundred pictures exceed."""


def signed(count: int = 100, sizes: tuple[tuple[int, int], ...] = ((6, 8),), signature: str = "one") -> Pictures:
    dataset = Pictures(count, sizes)
    dataset.signed = signature
    return dataset


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(1.0, tmp_path)


def test_what_exceeds_the_budget_is_mapped_from_the_cache_and_the_next_run_reads_one_sample(cache: Cache) -> None:
    dataset = signed()
    budget = MemoryBudget(SMALL)
    first = prepare(dataset, NOTHING, budget=budget, cache=cache)
    assert first.is_resident
    assert first.describe() == "100 pictures of 6x8x1 (0 MiB) kept in the cache on disk"
    assert budget.left_bytes == 5_000  # it takes none of the memory
    check_same(first, dataset)
    again = signed()
    second = plain(again, SMALL, cache=cache)
    assert again.reads == 1
    assert second.describe() == "100 pictures of 6x8x1 (0 MiB) kept in the cache on disk by an earlier run"
    check_same(second, again)
    positions = np.array([7, 3])
    assert torch.equal(second.truth(positions).label, torch.stack([torch.from_numpy(again.image(n)[:, :, 0]) for n in (7, 3)]))
    assert second.subset(positions).ids(np.arange(2)) == ("7.png", "3.png")


def test_pictures_that_take_long_are_cached_though_they_fit_into_the_memory(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolkit.data.prepared._WORTH_SECONDS", 0.0)
    check_same(plain(signed(), cache=cache), signed())
    again = signed()
    check_same(plain(again, cache=cache), again)
    assert again.reads == 1


def test_pictures_that_are_read_fast_and_fit_into_the_memory_are_not_cached(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("toolkit.data.prepared._WORTH_SECONDS", float("inf"))
    assert plain(signed(), cache=cache).describe() == "100 pictures of 6x8x1 (0 MiB) in memory"
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("count", [3, 16, 17])
def test_small_parts_are_cached_like_large_ones(cache: Cache, count: int) -> None:
    for _ in range(2):
        check_same(plain(signed(count), gib=0, cache=cache), signed(count))


def test_other_transforms_have_their_own_pictures_in_the_cache(cache: Cache) -> None:
    resize = albumentations_transform("Resize")
    assert resize is not None
    small = TransformList([resize(height=3, width=4)])
    assert plain(signed(), SMALL, cache=cache).shape == (6, 8, 1)
    for _ in range(2):
        prepared = plain(signed(), 0, small, cache=cache)
        assert prepared.shape == (3, 4, 1)
        assert np.allclose(prepared.sample(1).to_original, np.diag([2, 2, 1]))


def test_a_signature_that_promised_too_much_is_noticed_at_the_first_sample(cache: Cache) -> None:
    class Negative(Pictures):
        def image(self, index: int) -> Any:
            return 255 - super().image(index)

    plain(signed(), SMALL, cache=cache)
    negative = Negative(100)
    negative.signed = "one"
    check_same(plain(negative, SMALL, cache=cache), negative)
    negative.reads = 0
    check_same(plain(negative, SMALL, cache=cache), negative)
    assert negative.reads == 1  # what is right has taken the place of what was not


def test_an_unsigned_data_set_is_made_on_demand_beside_a_cache(cache: Cache) -> None:
    assert plain(Pictures(100), SMALL, cache=cache).describe() == "100 pictures of 6x8x1 made on demand"


def test_pictures_of_several_sizes_stay_out_of_the_cache_and_the_log_says_so(cache: Cache) -> None:
    dataset = signed(100, ((6, 8), (7, 8)))
    prepared = plain(dataset, SMALL, cache=cache)
    assert prepared.describe() == (
        "100 pictures of several sizes made on demand (not in the cache on disk: the pictures are of several sizes)"
    )
    check_same(prepared, dataset)


def test_a_cache_without_room_is_gone_without(tmp_path: Path) -> None:
    dataset = signed()
    prepared = plain(dataset, SMALL, cache=Cache(SMALL, tmp_path))
    assert prepared.describe() == "100 pictures of 6x8x1 made on demand (not in the cache on disk: 0.0 GiB exceed loader.cache_gib)"
    check_same(prepared, dataset)


def test_a_cache_of_no_size_is_switched_off(tmp_path: Path) -> None:
    assert plain(signed(), SMALL, cache=Cache(0, tmp_path)).describe() == "100 pictures of 6x8x1 made on demand"


def test_bad_files_leave_nothing_in_the_cache(cache: Cache, tmp_path: Path) -> None:
    dataset = signed()
    dataset.bad = (3,)
    with pytest.raises(DataError, match=r"^3.png: is empty; expected a picture$"):
        plain(dataset, SMALL, cache=cache)
    assert list((tmp_path / "prepared").iterdir()) == []


def test_a_first_sample_that_went_bad_is_told_though_the_cache_has_it(cache: Cache) -> None:
    plain(signed(), SMALL, cache=cache)
    dataset = signed()
    dataset.bad = (0,)
    with pytest.raises(DataError, match=r"^0.png: is empty; expected a picture$"):
        plain(dataset, SMALL, cache=cache)


@pytest.mark.parametrize("sizes", [((6, 8),), ((6, 8), (7, 8))])
def test_the_digest_is_the_same_wherever_the_samples_are_kept(cache: Cache, sizes: Any) -> None:
    places = [plain(signed(100, sizes)), plain(signed(100, sizes), SMALL), plain(signed(100, sizes), SMALL, cache=cache)]
    places += [plain(signed(100, sizes), SMALL, cache=cache), plain(signed(100, sizes), 0)]
    assert len({prepared.store.digest for prepared in places}) == 1


def test_the_digest_tells_pictures_labels_and_truths() -> None:
    def digest(pixel: int = 0, label: int = 0, truth: int = 0) -> str:
        image = np.full((2, 2, 1), pixel, np.uint8)
        sample = Sample("a", image, Label(torch.tensor(label)), truth=Label(torch.tensor(truth)))
        return plain(One(sample)).store.digest

    assert len({digest(), digest(pixel=1), digest(label=1), digest(truth=1)}) == 4
