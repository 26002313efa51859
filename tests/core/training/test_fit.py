"""The loop: its arithmetic against a loop by hand, what it writes down, and what it tells its listener."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.core.training.small_fit import (
    BATCH,
    BATCHES,
    CPU,
    Guessing,
    Memory,
    Near,
    assert_same_weights,
    by_hand,
    configured,
    flat_net,
    linear_fall,
    sgd,
    squares,
    trained,
)
from toolkit.config.run_config import PhaseConfig
from toolkit.data.sample import DataInfo
from toolkit.evaluation.evaluate import evaluate
from toolkit.training.checkpoint import load_checkpoint


@pytest.mark.parametrize("parts", [1, 2, 3, 4, 9])
def test_accumulation_in_any_number_of_parts_is_the_loop_by_hand(tmp_path: Path, parts: int) -> None:
    model, expected = flat_net(), flat_net()
    trained(tmp_path, configured(accumulate=parts), model)
    by_hand(expected, sgd()(expected.parameters()), epochs=2)
    assert_same_weights(model, expected)


@pytest.mark.parametrize("norm", [0.05, 1e6])
def test_gradients_are_cut_to_their_norm(tmp_path: Path, norm: float) -> None:
    model, expected = flat_net(), flat_net()
    trained(tmp_path, configured(clip_norm=norm), model)
    by_hand(expected, sgd()(expected.parameters()), epochs=2, clip=norm)
    assert_same_weights(model, expected)


def test_the_moving_average_is_kept_and_evaluated(tmp_path: Path) -> None:
    averages: dict[str, Tensor] = {}
    decays = iter([0.0, 2 / 11, *[0.2] * 9])

    def average(model: nn.Module) -> None:
        decay = next(decays)
        for name, value in model.state_dict().items():
            averages[name] = averages[name] * decay + value * (1 - decay) if decay else value.clone()

    model, expected = flat_net(), flat_net()
    rows = trained(tmp_path, configured(ema=0.2), model).rows
    by_hand(expected, sgd()(expected.parameters()), epochs=2, after_step=average)
    assert_same_weights(model, expected)
    saved = load_checkpoint(tmp_path / "checkpoints" / "last").tensors["ema"]
    for name, value in averages.items():
        torch.testing.assert_close(saved[f"module.{name}"], value, rtol=1e-5, atol=1e-6)
    expected.load_state_dict(averages)
    scores = evaluate(expected, Memory(train=False), Guessing(DataInfo((2, 4, 4))), squares, [Near()], CPU).scores
    assert {f"val/{name}": value for name, value in scores.items()} == pytest.approx(
        {name: value for name, value in rows[-1].items() if name.startswith("val/")}, rel=1e-5
    )


def test_training_scores_are_those_of_the_outputs_that_were_trained_on(tmp_path: Path) -> None:
    losses: list[float] = []
    model = flat_net()

    def note(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        if torch.is_grad_enabled():
            losses.extend(((output - encoded) ** 2).tolist())
        return squares(output, encoded)

    rows = trained(tmp_path, configured(), model, loss=note).rows
    per_epoch = np.array(losses, dtype=np.float64).reshape(2, BATCHES * BATCH)
    assert [row["train/loss"] for row in rows] == pytest.approx(per_epoch.mean(axis=1).tolist(), rel=1e-12)


@pytest.mark.parametrize("grad", [True, False])
def test_a_loss_sees_float32_and_computes_in_it(tmp_path: Path, grad: bool) -> None:
    seen: set[tuple[torch.dtype, torch.dtype]] = set()

    def products(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        product = output[:, None] @ output[None, :]
        if torch.is_grad_enabled() is grad:
            seen.add((output.dtype, product.dtype))
        return squares(output, encoded)

    trained(tmp_path, configured(), flat_net(), loss=products, runtime=replace(CPU, precision="bfloat16"))
    assert seen == {(torch.float32, torch.float32)}


def test_a_row_holds_the_learning_rate_of_its_last_step_and_no_clock_time(tmp_path: Path) -> None:
    applied: list[float] = []

    class Noted(torch.optim.SGD):
        def step(self, closure: Any = None) -> Any:
            applied.append(self.param_groups[0]["lr"])
            return super().step(closure)

    config = configured(
        PhaseConfig(cast(Any, lambda params: Noted(params, lr=0.5)), epochs=2, schedule=cast(Any, linear_fall)),
        PhaseConfig(cast(Any, lambda params: Noted(params, lr=0.2)), epochs=1, train="4", schedule=cast(Any, linear_fall)),
    )
    rows = trained(tmp_path, config, flat_net()).rows
    assert applied == pytest.approx([0.5 * (1 - step / 6) for step in range(6)] + [0.2 * (1 - step / 3) for step in range(3)])
    assert [row["lr"] for row in rows] == [applied[2], applied[5], applied[8]]
    assert [(row["epoch"], row["phase"]) for row in rows] == [(1, "all"), (2, "all"), (3, "4")]
    for row in rows:
        assert list(row) == ["epoch", "phase", "lr", "train/loss", "train/near", "val/loss", "val/near"]


def test_the_last_checkpoint_holds_the_history(tmp_path: Path) -> None:
    listening = trained(tmp_path, configured(), flat_net())
    state = load_checkpoint(tmp_path / "checkpoints" / "last").state
    assert state["history"] == listening.rows
    assert (state["epoch"], state["position"], state["phase"], state["epoch_in_phase"]) == (2, 0, 0, 2)


@pytest.mark.parametrize("minutes", [10.0, 1e-9])
def test_every_batch_is_told_to_the_listener_once(tmp_path: Path, minutes: float) -> None:
    listening = trained(tmp_path, configured(save_minutes=minutes), flat_net())
    assert sum(listening.batches) == 2 * BATCHES
    assert listening.started == [("all", 1, BATCHES), ("all", 2, BATCHES)]
