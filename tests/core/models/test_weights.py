"""Weights from files: what is loaded, what is refused and how it is told, and that no code in a file is run."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from toolkit.errors import ConfigError
from toolkit.models.weights import load_pretrained


def network(classes: int = 4, *, hidden: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, hidden), nn.Linear(hidden, classes))


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Sequential]:
    """A network and its weights as .safetensors."""
    source = network()
    safetensors.torch.save_file(source.state_dict(), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors", source


def test_safetensors_fill_the_model_and_it_is_told(saved: tuple[Path, nn.Sequential]) -> None:
    file, source = saved
    target = network()
    assert load_pretrained(target, file) == f"11 of 11 tensors from {file}"
    assert same(target, source)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pth_file_is_read_in_the_forms_that_training_scripts_write(tmp_path: Path, wrapper: str | None, prefix: str) -> None:
    source, target = network(), network()
    state: dict[str, Tensor] = {prefix + name: value for name, value in source.state_dict().items()}
    torch.save({wrapper: state, "epoch": 3} if wrapper else state, tmp_path / "w.pth")
    load_pretrained(target, tmp_path / "w.pth")
    assert same(target, source)


def test_a_last_layer_for_other_classes_keeps_its_own_weights(saved: tuple[Path, nn.Sequential]) -> None:
    file, source = saved
    target = network(classes=7)
    before = target[5].weight.clone()
    told = load_pretrained(target, file)
    assert told == f"9 of 11 tensors from {file}; 5 keeps its own weights, since it has 7 outputs and the file 4"
    assert torch.equal(target[5].weight, before)
    assert torch.equal(target[0].weight, source[0].weight)


def test_a_file_of_another_network_is_refused_with_what_differs_and_changes_nothing(saved: tuple[Path, nn.Sequential]) -> None:
    file, _ = saved
    target = network(hidden=5)
    target.append(nn.Linear(4, 4))
    before = {name: value.clone() for name, value in target.state_dict().items()}
    message = (
        rf"^pretrained: {re.escape(str(file))} does not fit the model: '4\.bias' is \[6\], expected \[5\]; "
        r"'4\.weight' is \[6, 8\], expected \[5, 8\]; '5\.weight' is \[4, 6\], expected \[4, 5\]; "
        r"'6\.bias' is missing; '6\.weight' is missing$"
    )
    with pytest.raises(ConfigError, match=message):
        load_pretrained(target, file)
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())


def test_an_unknown_name_is_told_with_its_nearest(tmp_path: Path) -> None:
    state = dict(network().state_dict())
    state["0.wieght"] = state.pop("0.weight")
    safetensors.torch.save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match=r"'0\.weight' is missing; '0\.wieght' is unknown \(nearest: '0\.weight'\)$"):
        load_pretrained(network(), tmp_path / "w.safetensors")


class Shout:
    """Unpickling this would run code."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (open, ("shouted", "w"))


def test_a_pth_file_that_holds_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Shout()}, tmp_path / "w.pth")
    with pytest.raises(
        ConfigError, match=r"^pretrained: cannot read .*w\.pth: .*; save it as torch\.save\(model\.state_dict\(\), \.\.\.\)$"
    ):
        load_pretrained(network(), tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps({"weight": Shout()}))
    with pytest.raises(ConfigError, match="cannot read"):
        load_pretrained(network(), tmp_path / "plain.pth")
    assert not (tmp_path / "shouted").exists()


def test_a_file_that_is_none_of_these_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^pretrained: no such file: .*none\.pth$"):
        load_pretrained(network(), tmp_path / "none.pth")
    for name, message in (
        ("w.npz", r"ends with '\.npz'; expected \.safetensors, \.pth, \.pt or \.keras$"),
        ("w.safetensors", "cannot read .*w.safetensors: "),
        ("w.pth", "cannot read .*w.pth: "),
    ):
        (tmp_path / name).write_bytes(b"nothing of the kind")
        with pytest.raises(ConfigError, match=message):
            load_pretrained(network(), tmp_path / name)


@pytest.mark.parametrize("content", [{"epoch": 3}, {0: torch.zeros(1)}, {}, [torch.zeros(1)]])
def test_a_pth_file_of_something_else_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=r"w\.pth holds no state dict; expected names with a tensor each"):
        load_pretrained(network(), tmp_path / "w.pth")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pth_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    """An interrupted download; what torch's reader raises depends on the place."""
    torch.save(network().state_dict(), tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    whole = (tmp_path / "whole.pth").read_bytes()
    for length in range(0, len(whole) - 1, 23):
        (tmp_path / "w.pth").write_bytes(whole[:length])
        with pytest.raises(ConfigError, match=r"^pretrained: cannot read .*w\.pth: \S.*; save it as torch\.save\("):
            load_pretrained(network(), tmp_path / "w.pth")
