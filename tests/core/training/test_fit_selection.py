"""Which epoch is best, when a phase ends, and what each phase trains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.training.small_fit import BATCHES, adam, configured, conv_net, flat_net, scripted, sgd, squares, trained
from toolkit.config.run_config import PhaseConfig, SelectConfig
from toolkit.errors import ConfigError
from toolkit.training import checkpoint, fit
from toolkit.training.checkpoint import load_checkpoint


@pytest.mark.parametrize(
    ("name", "higher", "values", "best"),
    [
        ("loss", False, [3.0, 1.0, 2.0], 2),
        ("accuracy", True, [0.3, 0.1, 0.2], 1),
        ("accuracy", True, [0.1, 0.2, 0.3], 3),
        ("loss", False, [1.0, 1.0, 1.0], 1),
        ("accuracy", True, [0.5, 0.7, 0.7], 2),
        ("accuracy", True, [0.0, 0.0, 0.0], 1),
        ("loss", False, [None, 5.0, 6.0], 2),
        ("loss", False, [5.0, None, 4.0], 3),
        ("loss", False, [None, None, None], 3),
        ("loss", False, [None, None, 5.0], 3),
        ("stage1/error", False, [2.0, -1.0, 0.0], 2),
    ],
)
def test_the_best_epoch_is_the_first_of_the_best_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, higher: bool, values: Sequence[float | None], best: int
) -> None:
    scripted(monkeypatch, values, name=name, higher=higher)
    listening = trained(tmp_path, configured(PhaseConfig(sgd(), epochs=3), select=SelectConfig(f"val/{name}")), flat_net())
    states = {kind: load_checkpoint(tmp_path / "checkpoints" / kind).state for kind in ("best", "last")}
    assert states["best"]["epoch"] == best
    assert states["last"]["epoch"] == 3
    assert states["last"]["best"] == {"epoch": best, "value": values[best - 1], "metric": f"val/{name}"}
    undefined = [number for number, value in enumerate(values, start=1) if value is None]
    assert listening.lines == [
        f"val/{name} is undefined in epoch {number}: there is nothing to score"
        + ("; the latest epoch is kept until one has it" if not any(values[:number]) else "")
        for number in undefined
    ]
    assert [f"val/{name}" in row for row in listening.rows] == [value is not None for value in values]


def test_a_phase_ends_early_by_its_own_best_whatever_an_earlier_phase_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [1.0, 2.0, 2.0, 5.0, None, 4.0, 3.0, 3.0, None], name="loss", higher=False)
    config = configured(
        PhaseConfig(sgd(), epochs=9), PhaseConfig(sgd(), epochs=9, train="4"), select=SelectConfig("val/loss", early_stop=2)
    )
    listening = trained(tmp_path, config, flat_net())
    assert [row["phase"] for row in listening.rows] == ["all"] * 3 + ["4"] * 6
    assert [line for line in listening.lines if line.startswith("no better")] == [
        f"no better val/loss for 2 epochs: phase '{name}' ends" for name in ("all", "4")
    ]
    assert load_checkpoint(tmp_path / "checkpoints/last").state["best"]["epoch"] == 1


def test_a_phase_whose_score_stays_undefined_ends_early_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [None, None, None], name="loss", higher=False)
    config = configured(PhaseConfig(sgd(), epochs=9), select=SelectConfig("val/loss", early_stop=2))
    listening = trained(tmp_path, config, flat_net())
    assert len(listening.rows) == 3
    assert listening.lines[-1] == "no better val/loss for 2 epochs: phase 'all' ends"


def test_a_validation_loss_that_is_not_finite_does_not_end_the_run(tmp_path: Path) -> None:
    def infinite(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        return squares(output, encoded) if torch.is_grad_enabled() else {"square": output / 0}

    listening = trained(tmp_path, configured(), flat_net(), loss=infinite)
    reason = "the loss of a sample is not finite"
    kept = "the latest epoch is kept until one has it"
    assert listening.lines == [f"val/loss is undefined in epoch {number}: {reason}; {kept}" for number in (1, 2)]


def test_a_score_to_select_by_that_no_metric_gives_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(tmp_path, configured(select=SelectConfig("val/accuracy")), flat_net())
    assert str(caught.value) == "fit.select.metric: no score named 'val/accuracy'; there are: val/loss, val/near"


def test_best_is_saved_before_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def saved(folder: Path, *rest: Any) -> None:
        checkpoint.save_checkpoint(folder, *rest)
        done.append(f"save {folder.name}")

    def linked(source: Path, folder: Path) -> None:
        checkpoint.link_checkpoint(source, folder)
        done.append(f"link {folder.name}")

    monkeypatch.setattr(fit, "save_checkpoint", saved)
    monkeypatch.setattr(fit, "link_checkpoint", linked)
    scripted(monkeypatch, [2.0, 1.0, 3.0], name="loss", higher=False)
    trained(tmp_path, configured(PhaseConfig(sgd(), epochs=3)), flat_net())
    assert done == ["save best", "link last", "save best", "link last", "save last"]


def test_the_second_phase_trains_its_part_with_an_optimizer_of_its_own(tmp_path: Path) -> None:
    model, expected = conv_net(), conv_net()
    config = configured(PhaseConfig(sgd(), epochs=1), PhaseConfig(adam(), epochs=1, train="head"))
    trained(tmp_path / "two", config, model)
    trained(tmp_path / "one", configured(PhaseConfig(sgd(), epochs=1)), expected)
    first = expected.state_dict()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, first[name])}
    assert changed == {"head.0.weight", "head.0.bias"}
    optimizer = load_checkpoint(tmp_path / "two" / "checkpoints" / "last").tensors["optimizer"]
    assert {name: int(value) for name, value in optimizer.items() if name.endswith("step")} == {"0.step": BATCHES, "1.step": BATCHES}


def test_a_frozen_body_does_not_drop_out(tmp_path: Path) -> None:
    outputs: list[bool] = []

    def note(module: nn.Module, given: Any, output: Tensor) -> None:
        outputs.append(torch.equal(given[0], output))

    model = conv_net()
    model.get_submodule("body.4").register_forward_hook(note)
    trained(tmp_path, configured(PhaseConfig(sgd(), epochs=1, train="head")), model)
    assert outputs
    assert all(outputs)
