"""Numbers that are not finite end a fit, and no checkpoint holds what came of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.core.training.small_fit import BATCHES, COUNT, Memory, configured, files_of, flat_net, nan_at, trained
from toolkit.data.sample import Batch
from toolkit.errors import NonFiniteError
from toolkit.training.checkpoint import load_checkpoint


def first_seen(name: str) -> int:
    """The epoch, from 1, whose training order first holds the sample."""
    return next(epoch + 1 for epoch in range(99) if any(name in batch.ids for batch in Memory().epoch(epoch)))


def test_a_loss_that_is_not_finite_names_its_sample_and_saves_nothing(tmp_path: Path) -> None:
    assert first_seen("3.png") == 1
    with pytest.raises(NonFiniteError) as caught:
        trained(tmp_path, configured(), flat_net(), loss=nan_at("3.png"))
    assert caught.value.exit_code == 6
    assert str(caught.value) == (
        "the loss of sample 3.png is not finite in epoch 1; look at these samples, or lower the learning rate or set fit.clip_norm; "
        "the last checkpoint is from before"
    )
    assert files_of(tmp_path) == {}


@pytest.mark.parametrize("minutes", [10.0, 1e-9])
def test_no_checkpoint_holds_what_came_after_a_bad_loss(tmp_path: Path, minutes: float) -> None:
    later = next(name for name in Memory().sample_ids() if first_seen(name) == 2)
    with pytest.raises(NonFiniteError, match=rf"the loss of sample {later} is not finite in epoch 2;"):
        trained(tmp_path, configured(save_minutes=minutes), flat_net(), loss=nan_at(later))
    for folder in (tmp_path / "checkpoints").iterdir():
        found = load_checkpoint(folder)
        assert all(bool(torch.isfinite(value).all()) for value in found.tensors["model"].values())
        assert found.state["epoch"] == 1


def test_many_bad_samples_are_counted(tmp_path: Path) -> None:
    def all_bad(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        return {"square": output * torch.inf}

    class Wide(Memory):
        def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
            yield from Memory(train=False).epoch(epoch, start)

        def __len__(self) -> int:
            return 1

    config = replace(configured(), batch_size=COUNT)
    with pytest.raises(NonFiniteError, match=r"sample 0.png, 1.png, 2.png, 3.png, 4.png and 9 more of its batch is not finite in epoch 1;"):
        trained(tmp_path, config, flat_net(), loss=all_bad, train=Wide())


def test_a_weight_that_is_not_finite_is_found_before_it_is_saved(tmp_path: Path) -> None:
    class Exploding(nn.Module):
        """Adds nothing to the output but has an infinite gradient in its last step of the epoch."""

        def __init__(self) -> None:
            super().__init__()
            self.net = flat_net()
            self.weight = nn.Parameter(torch.zeros(1))
            self.steps = 0

        def forward(self, images: Tensor) -> Tensor:
            output: Tensor = self.net(images)
            if self.training:
                self.steps += 1
                if self.steps == 2 * BATCHES:
                    output = output + torch.sqrt(self.weight)  # 0, with a derivative of 1 / 0
            return output

    with pytest.raises(NonFiniteError) as caught:
        trained(tmp_path, configured(), Exploding())
    assert str(caught.value) == "a weight is not finite after epoch 2; lower the learning rate or set fit.clip_norm"
    assert load_checkpoint(tmp_path / "checkpoints" / "last").state["epoch"] == 1
