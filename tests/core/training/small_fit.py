"""A small problem for tests of the loop: pictures in memory, a number to guess for each, and the loop as one would write it by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolkit.config.run_config import FitConfig, PhaseConfig, SelectConfig
from toolkit.data.loader import Loader
from toolkit.data.sample import Batch, DataInfo, Target
from toolkit.evaluation.evaluate import Pass
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit.task import Task
from toolkit.training import fit, optim
from toolkit.training.fit import Job, Trainer
from toolkit.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), "float32", channels_last=False, threads=1, deterministic=False)
COUNT, BATCH = 14, 4
BATCHES = COUNT // BATCH
IMAGES = torch.randn(COUNT, 2, 4, 4, generator=torch.Generator().manual_seed(0))
VALUES = IMAGES.mean(dim=(1, 2, 3)) + 0.3


@dataclass(frozen=True)
class Number(Target):
    value: Tensor


class Memory(Loader):
    """IMAGES and VALUES, shuffled for training; `before_batch` is told which batch comes."""

    workers = 0

    def __init__(self, *, train: bool = True, before_batch: Callable[[int, int], object] = lambda epoch, position: None) -> None:
        self.train, self.before_batch = train, before_batch

    def __len__(self) -> int:
        return BATCHES if self.train else 1

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        order = np.random.default_rng(epoch).permutation(COUNT) if self.train else np.arange(COUNT)
        size = BATCH if self.train else COUNT
        for position in range(start, len(self)):
            self.before_batch(epoch, position)
            rows = torch.from_numpy(order[position * size : (position + 1) * size])
            number = Number(VALUES[rows])
            ids = tuple(f"{row}.png" for row in rows.tolist())
            yield Batch(ids, IMAGES[rows], number, number.value, number, torch.eye(3).expand(len(rows), 3, 3))

    def sample_ids(self) -> tuple[str, ...]:
        return tuple(f"{row}.png" for row in range(COUNT))

    def describe(self) -> str:
        return "memory"

    def close(self) -> None:
        pass


class Guessing(Task[Number, Tensor, Tensor, Tensor]):
    """A number per picture."""

    name: ClassVar[str] = "guessing"

    def encode(self, targets: Number, size: tuple[int, int]) -> Tensor:
        return targets.value

    def decode(self, output: Tensor, to_original: Tensor) -> Tensor:
        return output

    def draw(self, image: Tensor, prediction: Tensor, truth: Any | None) -> Tensor:
        return image

    def describe(self, prediction: Tensor, size: tuple[int, int]) -> Mapping[str, Any]:
        return {"value": float(prediction)}


class Near(Metric[Tensor]):
    """Share of the guesses within 0.1 of the truth."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = {name: torch.zeros((), dtype=torch.int64) for name in ("near", "count")}

    def update(self, prediction: Tensor, truth: Number) -> None:
        self.add("near", ((prediction - truth.value).abs() < 0.1).sum())
        self.add("count", torch.tensor(len(prediction)))

    def compute(self) -> Mapping[str, float | Undefined]:
        count = int(self.sums["count"])
        return {"near": int(self.sums["near"]) / count if count else Undefined("there are no samples")}


class Listening:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.lines: list[str] = []
        self.batches: list[int] = []
        self.started: list[tuple[str, int, int]] = []

    def restored(self, history: Sequence[Mapping[str, Any]]) -> None:
        self.rows = [dict(row) for row in history]

    def epoch_started(self, phase: str, epoch: int, batches: int) -> None:
        self.started.append((phase, epoch, batches))

    def advanced(self, batches: int, images: int, loss: float) -> None:
        assert images == batches * BATCH
        self.batches.append(batches)

    def epoch_ended(self, row: Mapping[str, Any], seconds: float, images_per_s: float) -> None:
        self.rows.append(dict(row))

    def log(self, text: str) -> None:
        self.lines.append(text)


def squares(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
    return {"square": (output - encoded) ** 2}


def flat_net(dropout: float = 0.0) -> nn.Module:
    """The same weights each time."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(32, 6), nn.Tanh(), nn.Dropout(dropout), nn.Linear(6, 1), nn.Flatten(0))


def conv_net() -> nn.Module:
    """Convolution in channels_last, batch norm, dropout: all that a resumed run could get wrong."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3))
    model: nn.Module = nn.Sequential()
    model.add_module("body", body)
    model.add_module("head", nn.Sequential(nn.Linear(27, 1), nn.Flatten(0)))
    return model.to(memory_format=torch.channels_last)


def sgd(lr: float = 0.1, momentum: float = 0.9) -> Any:
    return lambda params: optim.sgd(params, lr=lr, momentum=momentum)


def adam(lr: float = 0.01) -> Any:
    return lambda params: optim.adam(params, lr=lr)


def configured(*phases: PhaseConfig, **options: Any) -> FitConfig:
    """As checked from YAML, with functions for components."""
    chosen = phases or (PhaseConfig(sgd(), epochs=2),)
    return FitConfig(phases=chosen, batch_size=BATCH, **({"select": SelectConfig("val/loss")} | options))


def trainer_of(folder: Path, config: FitConfig, model: nn.Module, **parts: Any) -> tuple[Trainer, Listening]:
    listening = Listening()
    job = Job(
        model=model,
        task=Guessing(DataInfo((2, 4, 4))),
        loss=squares,
        metrics=[Near()],
        train=Memory(),
        validation=Memory(train=False),
        runtime=CPU,
        config=config,
        seed=7,
        checkpoints=folder / "checkpoints",
        build=lambda component, supplied: component(supplied),
    )
    return Trainer(replace(job, **parts), listening), listening


def trained(folder: Path, config: FitConfig, model: nn.Module, **parts: Any) -> Listening:
    trainer, listening = trainer_of(folder, config, model, **parts)
    trainer.run()
    return listening


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted((folder / "checkpoints").rglob("*")) if file.is_file()}


def by_hand(
    model: nn.Module, optimizer: Optimizer, epochs: int, after_step: Callable[[nn.Module], object] = lambda model: None, clip: float = 0.0
) -> None:
    """The loop as one would write it for this model alone."""
    for epoch in range(epochs):
        for batch in Memory().epoch(epoch):
            optimizer.zero_grad()
            ((model(batch.images) - batch.encoded) ** 2).mean().backward()
            if clip:
                norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
                for parameter in model.parameters():
                    assert parameter.grad is not None
                    parameter.grad *= min(1.0, clip / float(norm))
            optimizer.step()
            after_step(model)


def assert_same_weights(first: nn.Module, second: nn.Module) -> None:
    for (name, own), expected in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6, msg=name)


def linear_fall(steps: int) -> Callable[[int], float]:
    return lambda step: 1 - step / steps


def scripted(monkeypatch: pytest.MonkeyPatch, values: Sequence[float | None], *, name: str, higher: bool) -> None:
    """Each evaluation gives the next of `values`; None is an undefined score."""
    script = iter(values)

    def scored(*args: Any, **options: Any) -> Pass:
        value = next(script)
        if value is None:
            return Pass({}, {name: "there is nothing to score"}, {name: higher})
        return Pass({name: value}, {}, {name: higher})

    monkeypatch.setattr(fit, "evaluate", scored)


def nan_at(name: str) -> Any:
    """A loss that is NaN for the sample of this name, which it knows by its value."""
    value = VALUES[int(name.removesuffix(".png"))]

    def loss(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        return {"square": torch.where(encoded == value, torch.nan, (output - encoded) ** 2)}

    return loss
