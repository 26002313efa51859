"""One pass over a split: exact over batch sizes, in the data set's order, honest about what cannot be computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from toolkit.data.loader import Loader
from toolkit.data.sample import Batch, DataInfo, Target
from toolkit.evaluation.evaluate import Scorekeeper, evaluate, total_loss
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit.task import Task
from toolkit.training.runtime import Runtime

CPU = Runtime(torch.device("cpu"), "float32", channels_last=False, threads=1, deterministic=False)
COUNT = 11
IMAGES = torch.randn(COUNT, 1, 2, 2, generator=torch.Generator().manual_seed(0))
TRUTH = torch.randn(COUNT, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Number(Target):
    value: Tensor


@dataclass(frozen=True)
class Guess:
    value: Tensor


class Memory(Loader):
    """IMAGES and TRUTH in batches of `size`, in the order of `order`."""

    workers = 0

    def __init__(self, size: int, order: Sequence[int] = range(COUNT), truth: Tensor = TRUTH) -> None:
        self.size, self.order, self.truth = size, list(order), truth

    def __len__(self) -> int:
        return -(-COUNT // self.size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch[Any, Any]]:
        for first in range(start * self.size, COUNT, self.size):
            rows = self.order[first : first + self.size]
            number = Number(self.truth[rows])
            corners = torch.eye(3).expand(len(rows), 3, 3)
            yield Batch(tuple(f"{row}.png" for row in rows), IMAGES[rows], number, number.value, number, corners)

    def sample_ids(self) -> tuple[str, ...]:
        return tuple(f"{row}.png" for row in range(COUNT))

    def describe(self) -> str:
        return "memory"

    def close(self) -> None:
        pass


class Guessing(Task[Number, Tensor, Tensor, Guess]):
    """A number per picture; `stage1` reads half of it."""

    name: ClassVar[str] = "guessing"

    def encode(self, targets: Number, size: tuple[int, int]) -> Tensor:
        return targets.value

    def decode(self, output: Tensor, to_original: Tensor) -> Guess:
        return Guess(output)

    def draw(self, image: Tensor, prediction: Guess, truth: Any | None) -> Tensor:
        return image

    def describe(self, prediction: Guess, size: tuple[int, int]) -> Mapping[str, Any]:
        return {"value": float(prediction.value)}

    def readings(self, prediction: Guess) -> Mapping[str, Guess]:
        return {"": prediction, "stage1": Guess(prediction.value / 2)}


class MeanError(Metric[Guess]):
    higher_is_better = False

    def __init__(self) -> None:
        super().__init__()
        self.sums = {"total": torch.zeros((), dtype=torch.float64), "count": torch.zeros((), dtype=torch.int64)}

    def update(self, prediction: Guess, truth: Number) -> None:
        self.add("total", (prediction.value - truth.value).abs().sum(dtype=torch.float64))
        self.add("count", torch.tensor(len(truth.value)))

    def compute(self) -> Mapping[str, float | Undefined]:
        count = int(self.sums["count"])
        return {"error": float(self.sums["total"]) / count if count else Undefined("there are no samples")}


class Near(Metric[Guess]):
    """Share of the guesses within one of the truth, over all samples and over those beyond 5."""

    def __init__(self) -> None:
        super().__init__()
        self.sums = {name: torch.zeros((), dtype=torch.int64) for name in ("near", "count", "far_count")}

    def update(self, prediction: Guess, truth: Number) -> None:
        self.add("near", ((prediction.value - truth.value).abs() < 1).sum())
        self.add("count", torch.tensor(len(truth.value)))
        self.add("far_count", (truth.value > 5).sum())

    def compute(self) -> Mapping[str, float | Undefined]:
        count = int(self.sums["count"])
        near = int(self.sums["near"]) / count if count else Undefined("there are no samples")
        return {"near": near, "near/beyond_5": Undefined("no truth is beyond 5")}


def squares(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
    return {"square": (output - encoded) ** 2}


def two_terms(output: Tensor, encoded: Tensor) -> dict[str, Tensor]:
    return {"square": (output - encoded) ** 2, "size": 0.5 * output.abs()}


class Sum(nn.Module):
    """The sum of a picture's pixels; dropout would be seen in the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        summed: Tensor = self.dropout(images).sum(dim=(1, 2, 3))
        return summed


TASK = Guessing(DataInfo((1, 2, 2)))
OUTPUTS = IMAGES.numpy().reshape(COUNT, 4).sum(axis=1)


def expected_scores() -> dict[str, float]:
    """By a loop over the samples."""
    truth = TRUTH.numpy()
    square = [float(OUTPUTS[i] - truth[i]) ** 2 for i in range(COUNT)]
    size = [abs(float(OUTPUTS[i])) / 2 for i in range(COUNT)]
    return {
        "loss": (sum(square) + sum(size)) / COUNT,
        "loss/square": sum(square) / COUNT,
        "loss/size": sum(size) / COUNT,
        "error": sum(abs(float(OUTPUTS[i] - truth[i])) for i in range(COUNT)) / COUNT,
        "near": sum(abs(OUTPUTS[i] - truth[i]) < 1 for i in range(COUNT)) / COUNT,
        "stage1/error": sum(abs(float(OUTPUTS[i] / 2 - truth[i])) for i in range(COUNT)) / COUNT,
        "stage1/near": sum(abs(OUTPUTS[i] / 2 - truth[i]) < 1 for i in range(COUNT)) / COUNT,
    }


@pytest.mark.parametrize("size", [1, 2, 4, 11, 100])
def test_scores_do_not_depend_on_the_batch_size(size: int) -> None:
    done = evaluate(Sum(), Memory(size), TASK, two_terms, [MeanError(), Near()], CPU)
    assert done.scores == pytest.approx(expected_scores(), rel=1e-6)
    whole = evaluate(Sum(), Memory(COUNT), TASK, two_terms, [MeanError(), Near()], CPU)
    assert done.scores == pytest.approx(whole.scores, rel=1e-14)
    assert done.kept is None


def test_a_score_that_cannot_be_computed_is_named_with_its_reason() -> None:
    done = evaluate(Sum(), Memory(4), TASK, squares, [Near()], CPU)
    assert done.undefined == {"near/beyond_5": "no truth is beyond 5", "stage1/near/beyond_5": "no truth is beyond 5"}
    assert not done.undefined.keys() & done.scores.keys()


def test_a_single_term_is_the_loss_and_nothing_more() -> None:
    assert evaluate(Sum(), Memory(4), TASK, squares, [], CPU).scores.keys() == {"loss"}


def test_every_score_has_a_direction() -> None:
    done = evaluate(Sum(), Memory(4), TASK, two_terms, [MeanError(), Near()], CPU)
    lower = {"loss", "loss/square", "loss/size", "error", "stage1/error"}
    higher = {"near", "near/beyond_5", "stage1/near", "stage1/near/beyond_5"}
    assert done.higher_is_better == dict.fromkeys(lower, False) | dict.fromkeys(higher, True)


@pytest.mark.parametrize("order", [range(COUNT), range(COUNT)[::-1], np.random.default_rng(0).permutation(COUNT).tolist()])
def test_what_is_kept_is_in_the_order_of_the_data_set(order: Sequence[int]) -> None:
    kept = evaluate(Sum(), Memory(4, order), TASK, two_terms, [], CPU, keep=True).kept
    assert kept is not None
    assert kept.ids == tuple(f"{row}.png" for row in range(COUNT))
    np.testing.assert_allclose(kept.predictions.value.numpy(), OUTPUTS, rtol=1e-6)
    assert torch.equal(kept.truths.value, TRUTH)
    np.testing.assert_allclose(kept.losses.numpy(), (OUTPUTS - TRUTH.numpy()) ** 2 + np.abs(OUTPUTS) / 2, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_is_undefined_but_keeps_its_direction(bad: float) -> None:
    truth = TRUTH.clone()
    truth[3] = bad
    done = evaluate(Sum(), Memory(4, truth=truth), TASK, two_terms, [Near()], CPU)
    reason = "the loss of a sample is not finite"
    assert done.undefined["loss"] == done.undefined["loss/square"] == reason
    assert done.scores["loss/size"] == pytest.approx(expected_scores()["loss/size"])
    assert done.higher_is_better["loss"] is done.higher_is_better["loss/square"] is False


@pytest.mark.parametrize(("bad", "reason"), [(float("nan"), "the metric gave nan"), (float("inf"), "the metric gave inf")])
def test_a_metric_that_is_not_finite_is_undefined(bad: float, reason: str) -> None:
    truth = TRUTH.clone()
    truth[3] = bad
    done = evaluate(Sum(), Memory(4, truth=truth), TASK, squares, [MeanError()], CPU)
    assert done.undefined["error"] == done.undefined["stage1/error"] == reason
    assert done.scores == {}
    assert done.higher_is_better["error"] is False


def test_the_metrics_that_were_given_stay_fresh() -> None:
    metric = MeanError()
    first = evaluate(Sum(), Memory(4), TASK, squares, [metric], CPU)
    assert metric.sums["count"].item() == 0
    assert evaluate(Sum(), Memory(4), TASK, squares, [metric], CPU).scores == first.scores


def feed(scorekeeper: Scorekeeper, batches: Sequence[Batch[Any, Any]]) -> None:
    for batch in batches:
        output = Sum().eval()(batch.images)
        scorekeeper.update(two_terms(output, batch.encoded), TASK.decode(output, batch.to_original), batch.truth)


@pytest.mark.parametrize("place", [0, 1, 3, 6])
def test_a_scorekeeper_goes_on_from_what_it_saved(place: int) -> None:
    batches = list(Memory(2).epoch(0))
    straight = Scorekeeper(TASK, [MeanError(), Near()])
    feed(straight, batches)

    first, second = (Scorekeeper(TASK, [MeanError(), Near()]) for _ in range(2))
    feed(first, batches[:place])
    tensors, state = first.state(CPU)
    saved = {name: tensor.clone() for name, tensor in tensors.items()}
    feed(first, batches[place:])  # what was saved does not change with what follows
    assert all(torch.equal(tensors[name], saved[name]) for name in saved)
    second.restore(saved, state, torch.device("cpu"))
    feed(second, batches[place:])
    assert straight.compute(CPU) == first.compute(CPU) == second.compute(CPU)


def test_a_mean_over_many_samples_has_more_digits_than_a_sample() -> None:
    scorekeeper = Scorekeeper(TASK, [])
    for value in [2.0**24, 1.0, 1.0, 1.0]:
        scorekeeper.update({"square": torch.tensor([value])}, Guess(torch.zeros(1)), None)
    assert scorekeeper.compute(CPU)[0] == {"loss": (2**24 + 3) / 4}  # in float32 the ones would be lost


def test_scores_do_not_remember_the_graph_they_were_trained_with() -> None:
    scorekeeper = Scorekeeper(TASK, [])
    scorekeeper.update({"square": torch.ones(2, requires_grad=True) * 2}, Guess(torch.zeros(2)), None)
    assert not any(tensor.requires_grad for tensor in scorekeeper.state(CPU)[0].values())


def test_the_total_loss_of_a_sample_adds_up_its_terms() -> None:
    assert total_loss({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([10.0, 20.0])}).tolist() == [11.0, 22.0]


class Half:
    """The two processes of a run, one of which is asked: a sum or a gathering takes what the other one holds."""

    def __init__(self, others: list[Any], sums: list[Tensor]) -> None:
        self.others, self.sums = iter(others), iter(sums)

    def autocast(self) -> Any:
        return CPU.autocast()

    def sum_over_processes(self, tensor: Tensor) -> Tensor:
        return tensor + next(self.sums)

    def gather(self, value: Any) -> list[Any]:
        return [value, next(self.others)]


def test_a_process_without_a_sample_still_names_every_score() -> None:
    everything = evaluate(Sum(), Memory(COUNT), TASK, squares, [MeanError()], CPU)
    total = {"": everything.scores["error"] * COUNT, "stage1": everything.scores["stage1/error"] * COUNT}
    other = Half(
        others=[["", "stage1"], ["square"], COUNT, everything.scores["loss"] * COUNT],
        sums=[torch.tensor(value) for reading in ("", "stage1") for value in (total[reading], COUNT)],
    )
    empty = Scorekeeper(TASK, [MeanError()])
    scores, undefined = empty.compute(other)
    assert scores == pytest.approx(everything.scores)
    assert undefined == {}


def test_a_task_may_keep_only_the_losses_of_training_batches() -> None:
    class Unscored(type(TASK)):  # type: ignore[misc]
        scores_training = False

    keeper = Scorekeeper(Unscored(TASK.info), [MeanError(), Near()])
    batch = next(Memory(4).epoch(0))
    output = Sum()(batch.images)
    keeper.update_with_output(two_terms(output, batch.encoded), output, batch.to_original, batch.truth)
    scores, undefined = keeper.compute(CPU)
    assert scores.keys() == {"loss", *(f"loss/{term}" for term in two_terms(output, batch.encoded))}
    assert undefined == {}
