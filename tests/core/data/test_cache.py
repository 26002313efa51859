from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from toolkit.data.cache import Cache, cache_folder
from toolkit.data.cache_entry import MANIFEST, Entry
from toolkit.data.sample import Sample, Target


@dataclass(frozen=True)
class Place(Target):
    label: Tensor
    points: Tensor  # type: ignore[assignment]


@dataclass(frozen=True)
class Mask:
    kind: Tensor
    regions: Any
    note: Tensor | None = None


def sample(number: int, *, side: int = 5, truth: Any = "ragged") -> Sample[Place]:
    """Numbers that are told from `number`; its truth is a mask of `number + 1` rows."""
    random = np.random.default_rng(number)
    target = Place(torch.tensor(number), torch.from_numpy(random.normal(size=(2, 2))))
    regions = torch.from_numpy(random.integers(0, 9, (number + 1, 3, 1), dtype=np.int16))
    whole = Mask(torch.tensor(number, dtype=torch.bool), regions) if truth == "ragged" else truth
    image = random.integers(0, 256, (side, side + 1, 3), dtype=np.uint8)
    return Sample(f"{number}.png", image, target, whole, np.diag([number + 1.0, 1.0, 1.0]))


def write(cache: Cache, key: str, samples: list[Sample[Place]], num_bytes: int = 1000) -> str:
    """The problem, if there was one."""
    with cache.writing(key, num_bytes) as new:
        for one in samples:
            new.add(one)
        new.commit("digest of " + key)
    return new.problem


def found(cache: Cache, key: str) -> Entry:
    entry = cache.find(key)
    assert entry is not None
    return entry


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(1.0, tmp_path)


def names(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "prepared").iterdir()}


def test_what_was_written_is_read_again(cache: Cache) -> None:
    samples = [sample(number) for number in range(5)]
    assert write(cache, "key", samples) == ""
    entry = found(cache, "key")
    assert entry.ids == tuple(f"{number}.png" for number in range(5))
    assert entry.digest == "digest of key"
    assert np.array_equal(entry.images.numpy(), np.stack([one.image for one in samples]))
    assert entry.to_original[3].tolist() == [[4, 0, 0], [0, 1, 0], [0, 0, 1]]
    targets, truth = entry.batched(samples[0])
    assert targets.label.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(targets.points[4], samples[4].target.points)
    assert targets.points.dtype == torch.float64
    assert truth.kind.tolist() == [False, True, True, True, True]
    assert [tuple(part.shape) for part in truth.regions] == [(number + 1, 3, 1) for number in range(5)]
    assert all(torch.equal(part, one.truth.regions) for part, one in zip(truth.regions, samples, strict=True))
    assert truth.note is None
    assert entry.uniform == (True, False)


def test_a_truth_that_is_the_target_is_stored_once(cache: Cache, tmp_path: Path) -> None:
    samples = [sample(number, truth=None) for number in range(3)]
    assert samples[0].truth is samples[0].target
    write(cache, "key", samples)
    targets, truth = found(cache, "key").batched(samples[0])
    assert truth is targets
    assert {file.name for file in (tmp_path / "prepared" / "key").iterdir()} == {
        MANIFEST, "images", "to_original", "target-0", "target-1",
    }  # fmt: skip


def test_tensors_without_numbers_are_kept(cache: Cache) -> None:
    empty = [sample(number, truth=Mask(torch.tensor(0), torch.empty(4, 4, 0))) for number in range(2)]
    write(cache, "key", empty)
    _, truth = found(cache, "key").batched(empty[0])
    assert truth.regions.shape == (2, 4, 4, 0)


def test_an_entry_that_is_not_committed_leaves_nothing(cache: Cache, tmp_path: Path) -> None:
    def interrupted() -> None:
        with cache.writing("key", 1000) as new:
            new.add(sample(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert cache.find("key") is None
    assert names(tmp_path) == set()


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_cache import sample
from toolkit.data.cache import Cache
with Cache(1.0, Path(sys.argv[1])).writing("key", 1000) as new:
    for number in range(5):
        new.add(sample(number))
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_run_killed_half_way_leaves_nothing_that_is_taken_for_whole_and_the_next_removes_it(cache: Cache, tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(Path(__file__).parent)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert names(tmp_path) == {"key.part", "key.lock"}
    assert cache.find("key") is None
    write(cache, "other", [sample(1)])
    assert names(tmp_path) == {"other"}


def test_the_same_entry_is_built_after_a_kill(cache: Cache, tmp_path: Path) -> None:
    part = tmp_path / "prepared" / "key.part"
    part.mkdir(parents=True)
    (part / "images").write_bytes(b"half of it")
    (part.with_suffix(".lock")).touch()
    assert write(cache, "key", [sample(0), sample(1)]) == ""
    assert found(cache, "key").ids == ("0.png", "1.png")
    assert names(tmp_path) == {"key"}


def test_a_removal_that_was_interrupted_is_completed(cache: Cache, tmp_path: Path) -> None:
    write(cache, "key", [sample(0)])
    (tmp_path / "prepared" / "key" / MANIFEST).unlink()  # it goes first
    write(cache, "other", [sample(1)])
    assert names(tmp_path) == {"other"}


def test_two_that_build_the_same_at_once_both_have_it_and_one_writes(cache: Cache, tmp_path: Path) -> None:
    writers: list[bool] = []
    entries: list[Entry] = []

    def second() -> None:
        other = Cache(1.0, tmp_path)
        with other.writing("key", 1000) as new:
            writers.append(new.made_elsewhere is None)
            entries.append(found(other, "key"))

    with cache.writing("key", 1000) as new:
        thread = threading.Thread(target=second)
        thread.start()
        new.add(sample(0))
        assert thread.is_alive()  # it waits for the lock
        new.commit("digest")
    thread.join()
    assert writers == [False]
    assert entries[0].ids == ("0.png",)
    assert names(tmp_path) == {"key"}


def test_what_is_being_built_is_not_removed_by_another(cache: Cache, tmp_path: Path) -> None:
    with cache.writing("key", 1000) as new:
        new.add(sample(0))
        write(Cache(1.0, tmp_path), "other", [sample(1)])
        new.commit("digest")
    assert new.problem == ""
    assert names(tmp_path) == {"key", "other"}


@pytest.fixture
def entry_bytes(tmp_path: Path) -> int:
    """What an entry of one sample takes."""
    folder = tmp_path / "measured"
    write(Cache(1.0, folder), "key", [sample(0)])
    return sum(file.stat().st_size for file in (folder / "prepared" / "key").iterdir())


def aged(tmp_path: Path, key: str, seconds: int) -> None:
    manifest = tmp_path / "prepared" / key / MANIFEST
    os.utime(manifest, (seconds, seconds))


def test_what_was_not_used_for_longest_makes_room(tmp_path: Path, entry_bytes: int) -> None:
    limit = 3.5 * entry_bytes / 2**30
    for age, key in enumerate(["first", "second", "third"]):
        write(Cache(limit, tmp_path), key, [sample(0)], entry_bytes)
        aged(tmp_path, key, 1000 + age)
    found(Cache(limit, tmp_path), "first")  # used now
    write(Cache(limit, tmp_path), "fourth", [sample(0)], entry_bytes)
    assert names(tmp_path) == {"first", "third", "fourth"}


def test_what_the_run_itself_uses_is_kept(tmp_path: Path, entry_bytes: int) -> None:
    cache = Cache(1.5 * entry_bytes / 2**30, tmp_path)
    write(cache, "train", [sample(0)], entry_bytes)
    found(cache, "train")
    assert write(cache, "test", [sample(1)], entry_bytes) == "0.0 GiB exceed loader.cache_gib"
    assert names(tmp_path) == {"train"}


def test_what_the_run_itself_uses_is_kept_though_it_is_the_oldest(tmp_path: Path, entry_bytes: int) -> None:
    cache = Cache(2.5 * entry_bytes / 2**30, tmp_path)
    for age, key in enumerate(["train", "other"]):
        write(cache, key, [sample(0)], entry_bytes)
        if key == "train":
            found(cache, key)
        aged(tmp_path, key, 1000 + age)
    assert write(cache, "test", [sample(1)], entry_bytes) == ""
    assert names(tmp_path) == {"train", "test"}


def test_an_entry_appears_as_a_whole_or_not_at_all(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "rename", fail)
    assert write(cache, "key", [sample(0)]) == "input/output error"
    assert names(tmp_path) == set()


def test_an_entry_larger_than_the_limit_removes_no_other(tmp_path: Path) -> None:
    write(Cache(1.0, tmp_path), "small", [sample(0)])
    assert write(Cache(1.0, tmp_path), "large", [sample(1)], 3 * 2**30) == "3.0 GiB exceed loader.cache_gib"
    assert names(tmp_path) == {"small"}


def test_a_disk_without_room_is_told_beforehand(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**29}))
    assert write(cache, "key", [sample(0)], 2**30) == "the disk has 0.5 GiB left of 1.0 GiB needed"


def test_a_disk_that_fills_up_ends_the_writing_and_nothing_else(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with cache.writing("key", 1000) as new:
        new.add(sample(0))
        monkeypatch.setattr("toolkit.data.cache_entry._Column.add", full)
        new.add(sample(1))
        assert not (tmp_path / "prepared" / "key.part").exists()  # its room is free again at once
        new.add(sample(2))
        new.commit("digest")
    assert new.problem == "no space left on device"
    assert names(tmp_path) == set()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert write(Cache(1.0, tmp_path / "file"), "key", [sample(0)]) == "not a directory"


@pytest.mark.parametrize(
    ("samples", "problem"),
    [
        ([sample(0), sample(1, side=6)], "the pictures are of several sizes"),
        ([sample(0), sample(1, truth=Mask(torch.tensor(1.5), torch.empty(2, 3, 1)))], "the samples are not all built alike"),
        ([sample(0), sample(1, truth=None)], "the samples are not all built alike"),
        ([sample(0, truth=(torch.tensor(1),))], "a target or truth holds a tuple"),
    ],
)
def test_samples_that_cannot_stand_in_arrays_are_not_cached(cache: Cache, samples: list[Any], problem: str) -> None:
    assert write(cache, "key", samples) == problem
    assert cache.find("key") is None


def truncate(folder: Path) -> None:
    os.truncate(folder / "images", 7)


def lose(folder: Path) -> None:
    (folder / "target-0").unlink()


def garble(folder: Path) -> None:
    (folder / MANIFEST).write_text("{")


def empty(folder: Path) -> None:
    (folder / MANIFEST).write_text("{}")


@pytest.mark.parametrize("damage", [truncate, lose, garble, empty])
def test_a_damaged_entry_is_no_entry_and_is_made_again(cache: Cache, tmp_path: Path, damage: Any) -> None:
    write(cache, "key", [sample(0)])
    damage(tmp_path / "prepared" / "key")
    assert cache.find("key") is None
    assert write(cache, "key", [sample(0)]) == ""
    assert found(cache, "key").ids == ("0.png",)


def test_an_entry_in_use_outlives_its_removal(cache: Cache) -> None:
    write(cache, "key", [sample(0)])
    entry = found(cache, "key")
    cache.drop("key")
    assert cache.find("key") is None
    assert np.array_equal(entry.images[0].numpy(), sample(0).image)


def test_an_entry_knows_whether_it_holds_a_sample(cache: Cache) -> None:
    write(cache, "key", [sample(0), sample(1)])
    entry = found(cache, "key")
    assert entry.fits(sample(0))
    assert not entry.fits(sample(1))
    assert not entry.fits(sample(0, side=6))
    assert not entry.fits(sample(0, truth=None))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("TOOLKIT_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_the_folder_follows_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == home / ".cache" / "vision-toolkit"
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/vision-toolkit")
    monkeypatch.setenv("TOOLKIT_CACHE", "~/own")
    assert cache_folder() == home / "own"
