"""Checkpoints: what comes back, what is noticed, and what a kill or a full disk leaves behind."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolkit.errors import CheckpointError, ResourceError
from toolkit.training.checkpoint import (
    all_finite,
    link_checkpoint,
    load_checkpoint,
    newest_checkpoint,
    optimizer_tensors,
    restore_optimizer,
    save_checkpoint,
)

WEIGHTS = {"model": {"weight": torch.arange(6.0).reshape(2, 3)}}


def state(epoch: int, position: int = 0) -> dict[str, Any]:
    return {"epoch": epoch, "position": position}


def save(folder: Path, epoch: int, position: int = 0) -> None:
    """A checkpoint whose only weight is its epoch."""
    save_checkpoint(folder, {"model": {"weight": torch.tensor([float(epoch)])}}, state(epoch, position))


def newest_epoch(checkpoints: Path) -> int | None:
    found, _ = newest_checkpoint(checkpoints)
    if found is None:
        return None
    epoch = int(found.state["epoch"])
    assert found.tensors["model"]["weight"].tolist() == [float(epoch)]
    return epoch


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_tensors_and_state_come_back(tmp_path: Path) -> None:
    tensors = {
        "model": {
            "float": torch.randn(2, 3, generator=torch.Generator().manual_seed(0)),
            "count": torch.tensor(7),
            "flags": torch.tensor([True, False]),
            "half": torch.tensor([1.5, -0.0], dtype=torch.bfloat16),
            "empty": torch.empty(0, 4),
        },
        "optimizer": {},
    }
    saved = {"epoch": 3, "history": [{"epoch": 1, "val/loss": 0.1 + 0.2}], "best": None, "name": "ä"}
    save_checkpoint(tmp_path / "last", tensors, saved)
    found = load_checkpoint(tmp_path / "last")
    assert found.state == saved
    assert found.folder == tmp_path / "last"
    assert found.tensors.keys() == tensors.keys()
    for name, expected in tensors["model"].items():
        assert found.tensors["model"][name].dtype == expected.dtype
        assert torch.equal(found.tensors["model"][name], expected)


def test_tied_weights_come_back_under_both_names(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    model = nn.ModuleDict({"first": first, "second": second})
    save_checkpoint(tmp_path / "last", {"model": model.state_dict()}, {})
    found = load_checkpoint(tmp_path / "last").tensors["model"]
    assert torch.equal(found["first.weight"], first.weight)
    assert torch.equal(found["second.weight"], first.weight)


def test_a_transposed_view_comes_back_with_its_values(tmp_path: Path) -> None:
    matrix = torch.arange(6.0).reshape(2, 3)
    save_checkpoint(tmp_path / "last", {"model": {"matrix": matrix, "turned": matrix.T}}, {})
    assert load_checkpoint(tmp_path / "last").tensors["model"]["turned"].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_same_content_gives_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, {"model": {"w": torch.ones(3), "b": torch.zeros(2)}, "optimizer": {}}, {"epoch": 1, "lr": 0.1})
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_the_manifest_holds_the_sums_of_all_files(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, state(1))
    files = contents(tmp_path / "last")
    manifest = json.loads(files.pop("manifest.json"))
    assert manifest == {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    assert files.keys() == {"model.safetensors", "state.json"}


@pytest.mark.parametrize("name", ["model.safetensors", "state.json"])
def test_a_flipped_bit_anywhere_in_a_file_is_noticed(tmp_path: Path, name: str) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, state(1))
    file = tmp_path / "last" / name
    whole = file.read_bytes()
    for place in range(0, len(whole), 5):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(tmp_path / "last")
        assert str(caught.value) == f"{file} is damaged: its SHA-256 is not the manifest's"
        assert caught.value.exit_code == 4


def test_a_flipped_bit_anywhere_in_the_manifest_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, state(1))
    file = tmp_path / "last" / "manifest.json"
    whole = file.read_bytes()
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(CheckpointError):
            load_checkpoint(tmp_path / "last")


def test_a_file_cut_short_is_noticed(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, state(1))
    file = tmp_path / "last" / "model.safetensors"
    os.truncate(file, file.stat().st_size - 1)
    with pytest.raises(CheckpointError, match=re.escape(f"{file} is damaged: its SHA-256 is not the manifest's")):
        load_checkpoint(tmp_path / "last")


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "last"
    save_checkpoint(folder, WEIGHTS, state(1))
    (folder / name).unlink()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert str(caught.value) == f"{folder / name} is missing, so {folder} is no whole checkpoint"


def test_a_broken_manifest_says_why_it_cannot_be_read(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "last", WEIGHTS, state(1))
    (tmp_path / "last" / "manifest.json").write_text("{")
    with pytest.raises(CheckpointError, match=re.escape(f"{tmp_path / 'last'} cannot be read: Expecting property name")):
        load_checkpoint(tmp_path / "last")


def test_without_checkpoints_there_is_no_newest(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "checkpoints") == (None, [])
    assert newest_checkpoint(tmp_path) == (None, [])


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        ({"best": (2, 0), "last": (3, 0)}, "last"),
        ({"best": (3, 0), "last": (2, 0)}, "best"),  # killed between saving best and making last the same
        ({"best": (3, 0), "last": (3, 0)}, "last"),
        ({"best": (3, 0), "last": (3, 5)}, "last"),
        ({"best": (10, 0), "last": (9, 5)}, "best"),
        ({"last": (3, 0), "last.old": (2, 9)}, "last"),
        ({"last": (2, 9), "last.old": (2, 4)}, "last"),  # killed while the old one was removed
        ({"best": (2, 0), "last.old": (2, 9)}, "last.old"),
    ],
)
def test_the_newest_checkpoint_is_the_one_that_got_furthest(tmp_path: Path, progress: Mapping[str, tuple[int, int]], expected: str) -> None:
    for name, (epoch, position) in progress.items():
        save(tmp_path / name, epoch, position)
    found, problems = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.folder.name == expected
    assert problems == []


def test_damaged_checkpoints_are_passed_over_and_named(tmp_path: Path) -> None:
    for name, epoch in (("best", 1), ("last", 3), ("last.old", 2)):
        save(tmp_path / name, epoch)
    (tmp_path / "last" / "state.json").write_text("{}")
    (tmp_path / "last.old" / "model.safetensors").unlink()
    found, problems = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.folder.name == "best"
    assert problems == [
        f"{tmp_path / 'last' / 'state.json'} is damaged: its SHA-256 is not the manifest's",
        f"{tmp_path / 'last.old' / 'model.safetensors'} is missing, so {tmp_path / 'last.old'} is no whole checkpoint",
    ]


def test_what_a_kill_while_writing_left_is_ignored_and_cleaned_by_the_next_save(tmp_path: Path) -> None:
    save(tmp_path / "last", 1)
    (tmp_path / "last.new").mkdir()
    (tmp_path / "last.new" / "model.safetensors").write_bytes(b"half")
    assert newest_checkpoint(tmp_path)[1] == []
    assert newest_epoch(tmp_path) == 1
    save(tmp_path / "last", 2)
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]
    assert contents(tmp_path / "last").keys() == {"model.safetensors", "state.json", "manifest.json"}
    assert newest_epoch(tmp_path) == 2


def kill_at(monkeypatch: pytest.MonkeyPatch, call: int, kill: type[BaseException]) -> None:
    """Die when `Path.rename` is called for the `call`-th time, before it does anything."""
    rename, calls = Path.rename, iter(range(1, 100))

    def dying(self: Path, target: Path) -> Path:
        if next(calls) == call:
            raise kill
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", dying)


@pytest.mark.parametrize("kill", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", [1, 2])
def test_a_kill_between_the_renames_leaves_a_whole_checkpoint(tmp_path: Path, call: int, kill: type[BaseException]) -> None:
    save(tmp_path / "last", 1)
    with pytest.MonkeyPatch.context() as patch:
        kill_at(patch, call, kill)
        with pytest.raises(kill):
            save(tmp_path / "last", 2)
    assert newest_epoch(tmp_path) == 1
    save(tmp_path / "last", 3)
    assert newest_epoch(tmp_path) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["last"]


def test_a_second_kill_at_the_same_place_leaves_a_whole_checkpoint_too(tmp_path: Path) -> None:
    save(tmp_path / "last", 1)
    for call in (2, 1):  # after the first kill there is no `last`, so that the second save renames only once
        with pytest.MonkeyPatch.context() as patch:
            kill_at(patch, call, KeyboardInterrupt)
            with pytest.raises(KeyboardInterrupt):
                save(tmp_path / "last", 2)
        assert newest_epoch(tmp_path) == 1


def test_a_kill_while_the_old_one_is_removed_leaves_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "last", 1)
    rmtree = shutil.rmtree

    def dying(path: Path, ignore_errors: bool = False) -> None:
        if path.name == "last.old" and path.exists():
            (path / "state.json").unlink()
            raise KeyboardInterrupt
        rmtree(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", dying)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "last", 2)
    assert newest_epoch(tmp_path) == 2


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        safetensors.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_and_what_was_saved_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    folder = tmp_path / "run" / "checkpoints" / "last"
    save(folder, 1)
    before = contents(folder)

    def full(*args: Any) -> None:
        raise error

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    with pytest.raises(ResourceError) as caught:
        save(folder, 2)
    assert str(caught.value) == (
        f"checkpoint {folder} could not be saved: the disk is full; free some space and run `toolkit resume {tmp_path / 'run'}`"
    )
    assert caught.value.exit_code == 7
    assert contents(folder) == before
    assert [entry.name for entry in folder.parent.iterdir()] == ["last"]


def test_a_disk_full_while_copying_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "checkpoints" / "best", 1)

    def refuse(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(shutil, "copy2", refuse)
    with pytest.raises(ResourceError, match=r"checkpoint .*/last could not be saved: the disk is full; free some space and run "):
        link_checkpoint(tmp_path / "checkpoints" / "best", tmp_path / "checkpoints" / "last")
    assert [entry.name for entry in (tmp_path / "checkpoints").iterdir()] == ["best"]


def test_a_linked_checkpoint_shares_its_files_until_one_is_replaced(tmp_path: Path) -> None:
    best, last = tmp_path / "best", tmp_path / "last"
    save(last, 1)
    save(best, 2)
    link_checkpoint(best, last)
    assert newest_epoch(tmp_path) == 2
    for file in best.iterdir():
        assert file.samefile(last / file.name)
    before = contents(best)
    save(last, 3)
    assert contents(best) == before
    assert newest_epoch(tmp_path) == 3


def test_a_checkpoint_is_copied_where_the_disk_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "best", 1)

    def refuse(*args: Any) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    link_checkpoint(tmp_path / "best", tmp_path / "last")
    assert contents(tmp_path / "last") == contents(tmp_path / "best")
    assert not (tmp_path / "last" / "state.json").samefile(tmp_path / "best" / "state.json")


OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "plain sgd": lambda params: torch.optim.SGD(params, lr=0.1, fused=True),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, fused=True),
    "adam": lambda params: torch.optim.Adam(params, lr=0.05, fused=True),
    "adamw": lambda params: torch.optim.AdamW(params, lr=0.05, fused=True),
    "rmsprop": lambda params: torch.optim.RMSprop(params, lr=0.01, momentum=0.5),
}


def small_conv() -> nn.Module:
    """The same weights each time, in the layout that convolutions are trained in."""
    torch.manual_seed(0)
    model: nn.Module = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    return model


def train(model: nn.Module, optimizer: Optimizer, steps: range) -> None:
    for step in steps:
        images = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(step)).to(memory_format=torch.channels_last)
        optimizer.zero_grad()
        model(images).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_goes_on_as_if_it_had_never_been_saved(tmp_path: Path, name: str) -> None:
    straight = small_conv()
    optimizer = OPTIMIZERS[name](straight.parameters())
    train(straight, optimizer, range(3))
    tensors, plain = optimizer_tensors(optimizer)
    save_checkpoint(tmp_path / "last", {"model": straight.state_dict(), "optimizer": tensors}, {"optimizer": plain})
    train(straight, optimizer, range(3, 6))

    resumed = small_conv()
    saved = load_checkpoint(tmp_path / "last")
    resumed.load_state_dict(saved.tensors["model"])
    fresh = OPTIMIZERS[name](resumed.parameters())
    restore_optimizer(fresh, saved.tensors["optimizer"], saved.state["optimizer"])
    train(resumed, fresh, range(3, 6))
    for own, expected in zip(resumed.parameters(), straight.parameters(), strict=True):
        assert torch.equal(own, expected)


def test_learning_rates_come_back_with_the_optimizer(tmp_path: Path) -> None:
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    groups: list[dict[str, Any]] = [{"params": first.parameters(), "lr": 0.25}, {"params": second.parameters()}]
    tensors, plain = optimizer_tensors(torch.optim.SGD(groups, lr=0.5, momentum=0.9))
    fresh = torch.optim.SGD([{"params": first.parameters()}, {"params": second.parameters()}], lr=1.0)
    restore_optimizer(fresh, tensors, json.loads(json.dumps(plain)))
    assert [(group["lr"], group["momentum"]) for group in fresh.param_groups] == [(0.25, 0.9), (0.5, 0.9)]


@pytest.mark.parametrize(
    ("tensors", "expected"),
    [
        ({}, True),
        ({"count": torch.tensor(3)}, True),
        ({"a": torch.zeros(2), "b": torch.ones(3)}, True),
        ({"a": torch.zeros(2), "b": torch.tensor([1.0, float("inf")])}, False),
        ({"a": torch.tensor([float("nan")]), "b": torch.ones(3)}, False),
    ],
)
def test_one_infinite_weight_is_found(tensors: Mapping[str, Tensor], expected: bool) -> None:
    assert all_finite(tensors) is expected
