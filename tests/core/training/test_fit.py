"""The loop: its arithmetic against a loop by hand, its choice of the best epoch, and that a stopped run resumes to the same bytes."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from toolkit.config.run_config import FitConfig, PhaseConfig, SelectConfig
from toolkit.data.loader import Loader
from toolkit.data.sample import Batch, DataInfo, Target
from toolkit.errors import ConfigError, NonFiniteError, StoppedError, ToolkitError
from toolkit.evaluation.evaluate import Pass, evaluate
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit.task import Task
from toolkit.training import checkpoint, fit, optim
from toolkit.training.checkpoint import load_checkpoint, newest_checkpoint
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

    def describe(self, prediction: Tensor) -> Mapping[str, Any]:
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

    def average(model: nn.Module) -> None:
        for name, value in model.state_dict().items():
            averages[name] = averages[name] * 0.7 + value * 0.3 if name in averages else value.clone()

    model, expected = flat_net(), flat_net()
    rows = trained(tmp_path, configured(ema=0.7), model).rows
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


def linear_fall(steps: int) -> Callable[[int], float]:
    return lambda step: 1 - step / steps


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


# Which epoch is best, and when a phase ends.


def scripted(monkeypatch: pytest.MonkeyPatch, values: Sequence[float | None], *, name: str, higher: bool) -> None:
    """Each evaluation gives the next of `values`; None is an undefined score."""
    script = iter(values)

    def scored(*args: Any, **options: Any) -> Pass:
        value = next(script)
        if value is None:
            return Pass({}, {name: "there is nothing to score"}, {name: higher})
        return Pass({name: value}, {}, {name: higher})

    monkeypatch.setattr(fit, "evaluate", scored)


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
        ("loss", False, [None, None, None], 1),
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
    assert listening.lines == [f"val/{name} is undefined in epoch {number}: there is nothing to score" for number in undefined]
    assert [f"val/{name}" in row for row in listening.rows] == [value is not None for value in values]


def test_a_phase_ends_early_and_the_next_one_counts_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripted(monkeypatch, [1.0, 2.0, 2.0, 3.0, 3.0], name="loss", higher=False)
    config = configured(
        PhaseConfig(sgd(), epochs=9), PhaseConfig(sgd(), epochs=9, train="4"), select=SelectConfig("val/loss", early_stop=2)
    )
    listening = trained(tmp_path, config, flat_net())
    assert [row["phase"] for row in listening.rows] == ["all"] * 3 + ["4"] * 2
    assert listening.lines == [f"no better val/loss for 2 epochs: phase '{name}' ends" for name in ("all", "4")]


def test_a_validation_loss_that_is_not_finite_does_not_end_the_run(tmp_path: Path) -> None:
    def infinite(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        return squares(output, encoded) if torch.is_grad_enabled() else {"square": output / 0}

    listening = trained(tmp_path, configured(), flat_net(), loss=infinite)
    reason = "the loss of a sample is not finite"
    assert listening.lines == [f"val/loss is undefined in epoch {number}: {reason}" for number in (1, 2)]


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


# Numbers that are not finite.


def nan_at(name: str) -> Any:
    """A loss that is NaN for the sample of this name, which it knows by its value."""
    value = VALUES[int(name.removesuffix(".png"))]

    def loss(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
        return {"square": torch.where(encoded == value, torch.nan, (output - encoded) ** 2)}

    return loss


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


# Phases.


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


# Stopping and resuming.

LONG = (PhaseConfig(sgd(), epochs=2, schedule=cast(Any, linear_fall)), PhaseConfig(adam(), epochs=2, train="head"))


def stopping_at(epoch: int, position: int, number: int = signal.SIGTERM) -> Memory:
    """A loader that sends this process a signal before one of its batches."""
    return Memory(before_batch=lambda e, p: os.kill(os.getpid(), number) if (e, p) == (epoch, position) else None)


@pytest.mark.parametrize("ema", [None, 0.9])
@pytest.mark.parametrize("place", [(0, 0), (0, 1), (0, BATCHES - 1), (1, BATCHES - 1), (2, 0), (3, 1), (3, BATCHES - 1)])
@pytest.mark.slow
def test_a_stopped_run_resumes_to_the_same_bytes(tmp_path: Path, place: tuple[int, int], ema: float | None) -> None:
    config = configured(*LONG, ema=ema, accumulate=2)
    straight = trained(tmp_path / "straight", config, conv_net())

    with pytest.raises(StoppedError) as caught:
        trained(tmp_path / "stopped", config, conv_net(), train=stopping_at(*place))
    epoch, position = place
    assert str(caught.value) == (
        f"stopped by SIGTERM in epoch {epoch + 1} after batch {position + 1}; go on with `toolkit resume {tmp_path / 'stopped'}`"
    )
    found, problems = newest_checkpoint(tmp_path / "stopped" / "checkpoints")
    assert found is not None
    assert problems == []
    assert (found.state["epoch"], found.state["position"]) == (epoch, position + 1)

    trainer, resumed = trainer_of(tmp_path / "stopped", config, conv_net())
    trainer.restore(found)
    trainer.run()
    assert resumed.started[0] == ("all" if epoch < 2 else "head", epoch + 1, BATCHES - position - 1)
    assert resumed.rows == straight.rows
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


@pytest.mark.slow
def test_a_run_stopped_at_every_batch_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    config = configured(*LONG, ema=0.9)
    trained(tmp_path / "straight", config, conv_net())
    for epoch in range(4):
        for position in range(BATCHES):
            trainer, _ = trainer_of(tmp_path / "stopped", config, conv_net(), train=stopping_at(epoch, position))
            found, _ = newest_checkpoint(tmp_path / "stopped" / "checkpoints")
            if found is not None:
                trainer.restore(found)
            with pytest.raises(StoppedError):
                trainer.run()
    trainer, _ = trainer_of(tmp_path / "stopped", config, conv_net())
    found, _ = newest_checkpoint(tmp_path / "stopped" / "checkpoints")
    assert found is not None
    trainer.restore(found)
    trainer.run()
    assert files_of(tmp_path / "stopped") == files_of(tmp_path / "straight")


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_a_run_killed_between_two_epochs_resumes_to_the_same_bytes(tmp_path: Path, epochs: int) -> None:
    config = configured(*LONG)
    trained(tmp_path / "straight", config, conv_net())

    class Killed(BaseException):
        pass

    def kill(epoch: int, position: int) -> None:
        if epoch == epochs:
            raise Killed

    if epochs < 4:
        with pytest.raises(Killed):
            trained(tmp_path / "killed", config, conv_net(), train=Memory(before_batch=kill))
    else:
        trained(tmp_path / "killed", config, conv_net())
    trainer, _ = trainer_of(tmp_path / "killed", config, conv_net())
    found, _ = newest_checkpoint(tmp_path / "killed" / "checkpoints")
    assert found is not None
    trainer.restore(found)
    trainer.run()
    assert files_of(tmp_path / "killed") == files_of(tmp_path / "straight")


def test_an_early_stop_is_not_forgotten_by_a_resumed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured(PhaseConfig(sgd(), epochs=9), select=SelectConfig("val/loss", early_stop=2))
    scripted(monkeypatch, [1.0, 2.0], name="loss", higher=False)
    with pytest.raises(StoppedError):
        trained(tmp_path, config, flat_net(), train=stopping_at(2, 0))
    scripted(monkeypatch, [2.0], name="loss", higher=False)
    trainer, listening = trainer_of(tmp_path, config, flat_net())
    found, _ = newest_checkpoint(tmp_path / "checkpoints")
    assert found is not None
    trainer.restore(found)
    assert trainer.run().epoch == 3
    assert listening.lines == ["no better val/loss for 2 epochs: phase 'all' ends"]


@pytest.mark.parametrize(("number", "name", "code"), [(signal.SIGINT, "SIGINT", 130), (signal.SIGTERM, "SIGTERM", 143)])
def test_a_signal_is_told_by_the_exit_code(tmp_path: Path, number: signal.Signals, name: str, code: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(ToolkitError, match=rf"^stopped by {name} in epoch 1 after batch 2;") as caught:
        trained(tmp_path, configured(), flat_net(), train=stopping_at(0, 1, number))
    assert caught.value.exit_code == code
    assert signal.getsignal(number) is before


def test_a_second_signal_interrupts_at_once(tmp_path: Path) -> None:
    def twice(epoch: int, position: int) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path, configured(), flat_net(), train=Memory(before_batch=twice))


def test_a_bad_loss_before_the_signal_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=re.escape("3.png")):
        trained(tmp_path, configured(), flat_net(), loss=nan_at("3.png"), train=stopping_at(0, BATCHES - 1))
    assert files_of(tmp_path) == {}


def test_a_fit_may_run_in_another_thread_where_signals_are_not_heard(tmp_path: Path) -> None:
    model, expected = flat_net(), flat_net()
    thread = threading.Thread(target=lambda: trained(tmp_path / "thread", configured(), model))
    thread.start()
    thread.join()
    trained(tmp_path / "main", configured(), expected)
    assert files_of(tmp_path / "thread") == files_of(tmp_path / "main")


def test_a_checkpoint_within_an_epoch_holds_its_sums(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        trained(tmp_path, configured(), flat_net(), train=stopping_at(1, 1))
    found = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert found.tensors.keys() == {"model", "optimizer", "scores"}
    assert found.tensors["scores"]["metric//0/count"].item() == found.state["scores"]["count"] == 2 * BATCH
    assert json.loads((tmp_path / "checkpoints" / "last" / "state.json").read_text())["position"] == 2
