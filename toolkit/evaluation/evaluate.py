"""One pass over a split: losses and scores, exact over batches and processes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from toolkit.data.loader import Loader
from toolkit.data.sample import Batch
from toolkit.data.tree import concatenate, map_tensors, select, to_device, to_float32
from toolkit.evaluation.metrics import Metric, Undefined
from toolkit.task import Task

_SCORED_AT_ONCE = 16
Loss = Callable[[Any, Any], Mapping[str, Tensor]]


class Processes(Protocol):
    """What evaluation needs to know of the runtime, which stands on a higher floor."""

    def autocast(self) -> Any: ...
    def sum_over_processes(self, tensor: Tensor) -> Tensor: ...
    def gather(self, value: Any) -> list[Any]: ...


class Scorekeeper:
    """Accumulates the loss terms and every metric of every reading over batches, on the device.

    Args:
        metrics: fresh ones; each reading gets its own copies.
    """

    def __init__(self, task: Task[Any, Any, Any, Any], metrics: Sequence[Metric[Any]]) -> None:
        self._task = task
        self._fresh = copy.deepcopy(list(metrics))
        self._by_reading: dict[str, list[Metric[Any]]] = {}
        self._loss_sums: dict[str, Tensor] = {}
        self._count = 0
        self._waiting: list[tuple[Any, Tensor, Any]] = []
        self._only_counts = all(_only_counts(metric) for metric in self._fresh)
        self.higher_is_better: dict[str, bool] = {}
        """Direction of every score that `compute` named."""
        self.readings: tuple[str, ...] = ()
        """Those that `compute` scored."""

    def update(self, terms: Mapping[str, Tensor], prediction: Any, truth: Any) -> None:
        """Take in a batch.

        Args:
            terms: loss terms by name, [B] each.
            prediction, truth: of the batch.
        """
        self._add_losses(terms)
        self._score(prediction, truth)

    def update_with_output(self, terms: Mapping[str, Tensor], output: Any, to_original: Tensor, truth: Any) -> None:
        """Take in a training batch's outputs; metrics that only count are shown several batches at once, which changes no count."""
        self._add_losses(terms)
        if not self._task.scores_training:
            return
        if not self._only_counts:
            self._score(self._task.decode(output, to_original), truth)
            return
        self._waiting.append((map_tensors(Tensor.detach, output), to_original, truth))
        if len(self._waiting) == _SCORED_AT_ONCE:
            self._score_waiting()

    def _score_waiting(self) -> None:
        if self._waiting:
            output, to_original, truth = (concatenate(list(parts)) for parts in zip(*self._waiting, strict=True))
            self._waiting.clear()
            self._score(self._task.decode(output, to_original), truth)

    def _add_losses(self, terms: Mapping[str, Tensor]) -> None:
        for term, values in terms.items():
            total = values.detach().sum(dtype=torch.float64)
            self._loss_sums[term] = self._loss_sums[term] + total if term in self._loss_sums else total
        self._count += len(next(iter(terms.values())))

    def _score(self, prediction: Any, truth: Any) -> None:
        for reading, read in self._task.readings(prediction).items():
            if reading not in self._by_reading:
                self._by_reading[reading] = copy.deepcopy(self._fresh)
            for metric in self._by_reading[reading]:
                metric.update(read, truth)

    def compute(self, processes: Processes) -> tuple[dict[str, float], dict[str, str]]:
        """Scores over all processes by name (`reading/metric`), and why some are undefined."""
        self._score_waiting()
        readings = sorted({reading for part in processes.gather(sorted(self._by_reading)) for reading in part})
        self.readings = tuple(readings)
        scores, undefined = self._mean_losses(processes)
        self.higher_is_better = dict.fromkeys([*scores, *undefined], False)
        for reading in readings:
            for metric in self._by_reading.get(reading, copy.deepcopy(self._fresh)):
                metric.sums = {name: _summed(total, processes) for name, total in metric.sums.items()}
                metric.rows = {name: _gathered(rows, processes) for name, rows in metric.rows.items()}
                for name, score in metric.compute().items():
                    full_name = f"{reading}/{name}" if reading else name
                    self.higher_is_better[full_name] = metric.higher_is_better
                    if isinstance(score, Undefined):
                        undefined[full_name] = score.reason
                    elif not math.isfinite(score):  # a model that has diverged; JSON has no such number
                        undefined[full_name] = f"the metric gave {float(score)}"
                    else:
                        scores[full_name] = score if isinstance(score, int) else float(score)  # counts stay whole
        return scores, undefined

    def _mean_losses(self, processes: Processes) -> tuple[dict[str, float], dict[str, str]]:
        terms = sorted({term for part in processes.gather(sorted(self._loss_sums)) for term in part})
        count = sum(processes.gather(self._count))
        sums = {term: sum(processes.gather(float(self._loss_sums.get(term, 0.0)))) for term in terms}
        means = {"loss": sum(sums.values()) / count} | ({f"loss/{term}": sums[term] / count for term in terms} if len(terms) > 1 else {})
        finite = {name: value for name, value in means.items() if math.isfinite(value)}
        return finite, dict.fromkeys(means.keys() - finite.keys(), "the loss of a sample is not finite")

    def state(self, processes: Processes) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What all processes have accumulated so far, for a checkpoint within an epoch."""
        self._score_waiting()
        tensors = {f"loss/{term}": _summed(total, processes) for term, total in self._loss_sums.items()}
        for reading, metrics in self._by_reading.items():
            for index, metric in enumerate(metrics):
                tensors |= {f"metric/{reading}/{index}/{name}": _summed(total, processes) for name, total in metric.sums.items()}
                tensors |= {f"rows/{reading}/{index}/{name}": _gathered(rows, processes) for name, rows in metric.rows.items()}
        return tensors, {"count": sum(processes.gather(self._count)), "readings": list(self._by_reading)}

    def restore(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any], device: torch.device) -> None:
        """Go on from what `state` gave."""
        self._count = state["count"]
        self._loss_sums = {key.removeprefix("loss/"): value.to(device) for key, value in tensors.items() if key.startswith("loss/")}
        for reading in state["readings"]:
            metrics = self._by_reading[reading] = copy.deepcopy(self._fresh)
            for index, metric in enumerate(metrics):
                metric.sums = {name: tensors[f"metric/{reading}/{index}/{name}"].to(device) for name in metric.sums}
                metric.rows = {name: tensors[f"rows/{reading}/{index}/{name}"].to(device) for name in metric.rows}


@dataclass(frozen=True)
class Pass:
    """What one pass over a split gave.

    scores, undefined: by name without the split.
    higher_is_better: the direction of every score.
    readings: names of those that were scored; '' is among them.
    kept: where asked for: ids, predictions, truths and losses of all samples, on the CPU, in the order of the data set.
    """

    scores: dict[str, float]
    undefined: dict[str, str]
    higher_is_better: dict[str, bool]
    readings: tuple[str, ...] = ("",)
    kept: Kept | None = None


@dataclass(frozen=True)
class Kept:
    """All samples of a split: ids (N), predictions and truths (batched, N), losses [N]."""

    ids: tuple[str, ...]
    predictions: Any
    truths: Any
    losses: Tensor


def evaluate(
    model: nn.Module,
    loader: Loader,
    task: Task[Any, Any, Any, Any],
    loss: Loss,
    metrics: Sequence[Metric[Any]],
    processes: Processes,
    *,
    keep: bool = False,
) -> Pass:
    """Scores of `model` over a split, each sample counted once whatever the number of processes.

    Args:
        keep: also return every prediction, for plots.
    """
    model.eval()
    scorekeeper = Scorekeeper(task, metrics)
    parts: list[Kept] = []
    with torch.inference_mode():
        for batch in loader.epoch(0):
            with processes.autocast():
                output = to_float32(model(batch.images))
            terms = loss(output, batch.encoded)
            prediction = task.decode(output, batch.to_original)
            scorekeeper.update(terms, prediction, batch.truth)
            if keep:
                parts.append(_kept(batch, prediction, terms))
    scores, undefined = scorekeeper.compute(processes)
    kept = _in_order(loader, parts, processes) if keep else None
    return Pass(scores, undefined, scorekeeper.higher_is_better, scorekeeper.readings, kept)


def total_loss(terms: Mapping[str, Tensor]) -> Tensor:
    """[B] the sum of all terms."""
    return sum(terms.values(), start=torch.zeros((), device=next(iter(terms.values())).device))


def _kept(batch: Batch[Any, Any], prediction: Any, terms: Mapping[str, Tensor]) -> Kept:
    host = torch.device("cpu")
    return Kept(batch.ids, to_device(prediction, host), to_device(batch.truth, host), total_loss(terms).float().cpu())


def _in_order(loader: Loader, parts: Sequence[Kept], processes: Processes) -> Kept:
    """The parts of all processes as one, sorted as `loader` counts its samples."""
    own = parts and Kept(
        tuple(name for part in parts for name in part.ids),
        concatenate([part.predictions for part in parts]),
        concatenate([part.truths for part in parts]),
        torch.cat([part.losses for part in parts]),
    )
    shares = [share for share in processes.gather(own) if share]
    ids = [name for share in shares for name in share.ids]
    place = {name: index for index, name in enumerate(ids)}
    order = torch.tensor([place[name] for name in loader.sample_ids()])
    return Kept(
        tuple(ids[i] for i in order.tolist()),
        select(concatenate([share.predictions for share in shares]), order),
        select(concatenate([share.truths for share in shares]), order),
        torch.cat([share.losses for share in shares])[order],
    )


def _only_counts(metric: Metric[Any]) -> bool:
    """Whether its state is whole numbers alone, whose sums no grouping of the samples changes."""
    return not metric.rows and not any(total.is_floating_point() for total in metric.sums.values())


def _gathered(rows: Tensor, processes: Processes) -> Tensor:
    """The rows of all processes, on the CPU; a process without any sample has an empty tensor that fits no other."""
    parts = [part for part in processes.gather(rows.cpu()) if len(part)]
    return torch.cat(parts) if parts else rows.cpu()


def _summed(total: Tensor, processes: Processes) -> Tensor:
    return processes.sum_over_processes(total.clone())
