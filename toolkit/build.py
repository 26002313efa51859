"""RunConfig -> a run: the only file that joins the floors."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.figure import Figure
from torch import nn

from toolkit.components import build_component, build_dataset, build_with_parts
from toolkit.config.nodes import Position
from toolkit.config.run_config import FitConfig, RunConfig, ValidationConfig
from toolkit.data.cache import Cache
from toolkit.data.device_engine import DeviceLoader, plan_for
from toolkit.data.device_transforms import Refusal
from toolkit.data.keeping import MemoryBudget
from toolkit.data.loader import Loader
from toolkit.data.order import Indices
from toolkit.data.prepared import Prepared, prepare, prepare_parts
from toolkit.data.sample import DataInfo, Dataset, Pixels, Sample, Split
from toolkit.data.split import validation_indices
from toolkit.data.transforms import TransformList
from toolkit.data.worker_engine import WorkerLoader
from toolkit.errors import ConfigError, DataError
from toolkit.evaluation.evaluate import Loss, Pass
from toolkit.evaluation.evaluation import Evaluation
from toolkit.evaluation.metrics import Metric
from toolkit.extension.discovery import Plugins
from toolkit.models.model import count_parameters
from toolkit.models.weights import load_pretrained, require_weights
from toolkit.task import Task
from toolkit.training.fit import BatchTransform, Job
from toolkit.training.phases import trained_part
from toolkit.training.runtime import Runtime, seed_torch, with_layout

Plot = Callable[[Evaluation[Any]], Figure]


@dataclass(frozen=True)
class DataPart:
    """One split: the data set it comes from, its samples' numbers in there, its transforms, and the samples prepared by them."""

    dataset: Dataset[Any]
    indices: Indices
    transforms: TransformList
    prepared: Prepared[Any]


@dataclass(frozen=True)
class Data:
    """All splits of a run's data, or the one that is evaluated.

    fingerprint: SHA-256 over the names of all samples, their prepared pictures, targets and truths, wherever these are kept.
    info: the training data's, with the shape that the model will see: that of a sample after the eval transforms.
    """

    parts: Mapping[Split, DataPart]
    fingerprint: str
    info: DataInfo


@dataclass(frozen=True)
class Run:
    """A run, built: every object of its config.

    config: with every automatic choice made.
    folder: the run folder, which hooks may add files to; None where nothing is written (bench, evaluate).
    """

    config: RunConfig
    synthetic: bool
    plugins: Plugins
    runtime: Runtime
    info: DataInfo
    task: Task[Any, Any, Any, Any]
    model: nn.Module
    loss: Loss
    metrics: Sequence[Metric[Any]]
    plots: Mapping[str, Plot]
    data: Data
    loaders: Mapping[Split, Loader]
    mix: Sequence[BatchTransform] = ()
    folder: Path | None = None

    def summary(self) -> str:
        """The model and the data in one line."""
        counts = ", ".join(f"{split} {len(part.indices):,}" for split, part in self.data.parts.items())
        return f"{self.config.model.name}: {count_parameters(self.model):,} parameters; {self.config.data.name}: {counts}"

    def job(self, checkpoints: Path) -> Job:
        """What a fit of this run needs."""
        return Job(
            model=self.model,
            task=self.task,
            loss=self.loss,
            metrics=self.metrics,
            train=self.loaders["train"],
            validation=self.loaders["validation"],
            runtime=self.runtime,
            config=self.config.fit,
            seed=self.config.seed,
            checkpoints=checkpoints,
            build=build_component,
            mix=self.mix,
        )

    def close(self) -> None:
        """End the worker processes of all loaders."""
        for loader in self.loaders.values():
            loader.close()

    def as_evaluation(self, split: Split, done: Pass) -> Evaluation[Any]:
        """A pass that kept its predictions, as plots see it."""
        if done.kept is None:
            raise ValueError("the pass kept no predictions; evaluate with keep=True")
        part = self.data.parts[split]

        def image(index: int) -> Pixels:
            pixels: Pixels = part.dataset[int(part.indices[index])].image
            return pixels

        kept = done.kept
        name = "val" if split == "validation" else split
        return Evaluation(name, kept.ids, kept.predictions, kept.truths, kept.losses, done.scores, done.undefined, image)


def build_run(
    config: RunConfig,
    plugins: Plugins,
    runtime: Runtime,
    *,
    synthetic: bool = False,
    fresh: bool = True,
    only: Split | None = None,
    on_reading: Callable[[str], None] = lambda text: None,
) -> Run:
    """Build everything a run needs; nothing is written.

    Args:
        fresh: read the config's file of weights; not where a checkpoint takes their place.
        only: validation or test, the part that will be evaluated with a checkpoint's weights; no other is read, and nothing can be trained.
        on_reading: told in a line what was read and how batches are made.

    Raises: ConfigError, DataError or PluginError with the component that failed.
    """
    with config.placed():
        if config.pretrained is not None and fresh and only is None:
            require_weights(config.pretrained)  # before the data, whose reading may take minutes
        data = _read_data(config, on_reading, only)
        info = data.info
        task: Task[Any, Any, Any, Any] = build_component(config.task, info)
        seed_torch(config.seed)
        model: nn.Module = build_with_parts(config.model, info, info)
        if config.pretrained is not None and fresh and only is None:
            on_reading(load_pretrained(model, config.pretrained))
        runtime = with_layout(runtime, config.runtime, model)
        runtime.place(model)
        for number, phase in enumerate(config.fit.phases):
            trained_part(model, phase.train, f"fit.phases.{number}.train")
        metrics = [build_component(metric, info) for metric in config.metrics]
        engine, loaders = _loaders(config, runtime, data, task, on_reading)
        on_reading(loaders[only or "train"].describe())
        workers = max(loader.workers for loader in loaders.values())
        return Run(
            config=dataclasses.replace(
                config,
                runtime=runtime.resolved(),
                loader=dataclasses.replace(config.loader, engine=engine, workers=workers),
                fit=dataclasses.replace(
                    config.fit,
                    eval_batch_size=_eval_batch_size(config.fit),
                    select=dataclasses.replace(config.fit.select, metric=_selected_metric(config, metrics)),
                ),
            ),
            synthetic=synthetic,
            plugins=plugins,
            runtime=runtime,
            info=info,
            task=task,
            model=model,
            loss=build_with_parts(config.loss, info, info),
            metrics=metrics,
            plots={plot.name: build_component(plot, info) for plot in config.plots},
            data=data,
            loaders=loaders,
            mix=[build_component(transform, info) for transform in config.transforms.batch],
        )


def _read_data(config: RunConfig, on_reading: Callable[[str], None], only: Split | None) -> Data:
    """Every split, read and prepared; train and validation share their pictures where both begin with the same transforms."""
    room: dict[str, Any] = {"budget": MemoryBudget(config.loader.memory_gib), "cache": Cache(config.loader.cache_gib)}
    training = TransformList([build_component(t) for t in config.transforms.train])
    evaluation = eval_transforms(config)
    train: Dataset[Any] = build_dataset(config.data, "train")
    has_test = config.test and "test" in train.splits
    evaluable: list[Split] = ["validation", "test"] if has_test else ["validation"]
    if only is not None and only not in evaluable:
        raise ConfigError(f"data set '{config.data.name}' has no {only} part to evaluate; there are: {', '.join(evaluable)}")
    parts: dict[Split, DataPart] = {}
    mistakes: list[DataError] = []  # told together: who mends one part wants to know of the others
    if "validation" in train.splits:
        if config.validation != ValidationConfig():
            on_reading(f"data.validation is not used: '{config.data.name}' has a validation part of its own")
        if only is None:
            with _noted(mistakes):
                parts["train"] = _whole(train, training, "training", room)
        if only != "test":
            with _noted(mistakes):
                parts["validation"] = _whole(_like(train, config, "validation"), evaluation, "validation", room)
    elif only != "test":
        kept, cut = validation_indices(len(train), config.validation, train.groups())
        with _noted(mistakes):
            if only is None:
                ours, theirs = prepare_parts(train, (training, kept), (evaluation, cut), **room)
                parts["train"] = DataPart(train, kept, training, ours)
            else:  # where training kept both parts as one in the cache, the pictures are read once more
                theirs = prepare(train, evaluation, indices=cut, part=only, **room)
            parts["validation"] = DataPart(train, cut, evaluation, theirs)
    if has_test and only != "validation":
        with _noted(mistakes):
            parts["test"] = _whole(_like(train, config, "test"), evaluation, "test", room)
    if mistakes:
        raise DataError("\n".join(map(str, mistakes))) from mistakes[0]
    evaluated = parts[only or "validation"]
    return Data(parts, _fingerprint(parts), _with_input_shape(train.info, evaluation, evaluated.prepared.sample(0)))


def require_same_outputs(info: DataInfo, of: str, reference: DataInfo, of_reference: str) -> None:
    """Raises: DataError if the names of the outputs (`DataInfo.output_names`) are others than in `reference`; `of`: whose they are."""
    ours, theirs = info.output_names, reference.output_names
    if ours == theirs:
        return
    place, (one, other) = next(
        (index, pair) for index, pair in enumerate(zip_longest(ours, theirs, fillvalue="nothing")) if pair[0] != pair[1]
    )
    raise DataError(
        f"{of} has {len(ours)} names for a model's outputs, {of_reference} {len(theirs)}; the first difference is at {place}: "
        f"{one}, not {other}; give data with the same names in the same order"
    )


def _like(train: Dataset[Any], config: RunConfig, split: Split) -> Dataset[Any]:
    """A published part, whose outputs must stand for what those of training do."""
    dataset = build_dataset(config.data, split)
    require_same_outputs(dataset.info, f"the {split} part of '{config.data.name}'", train.info, "the training part")
    return dataset


@contextmanager
def _noted(mistakes: list[DataError]) -> Iterator[None]:
    try:
        yield
    except DataError as error:
        mistakes.append(error)


def _whole(dataset: Dataset[Any], transforms: TransformList, part: str, room: Mapping[str, Any]) -> DataPart:
    prepared = prepare(dataset, transforms, part=part, **room)
    return DataPart(dataset, np.arange(len(dataset)), transforms, prepared)


def _fingerprint(parts: Mapping[Split, DataPart]) -> str:
    digest = hashlib.sha256()
    for split, part in parts.items():
        ids = part.prepared.ids(np.arange(len(part.prepared)))
        digest.update("\n".join([split, *ids, part.prepared.store.digest]).encode())
    return digest.hexdigest()


def eval_transforms(config: RunConfig) -> TransformList:
    """The transforms of evaluation and prediction."""
    return TransformList([build_component(transform) for transform in config.transforms.eval], evaluation=True)


def info_of(dataset: Dataset[Any], transforms: TransformList) -> DataInfo:
    """The info of a data set that is not prepared, with the shape of its first picture after these transforms."""
    return _with_input_shape(dataset.info, transforms, transforms.prepare(dataset[0]))


def _with_input_shape(info: DataInfo, transforms: TransformList, prepared: Sample[Any]) -> DataInfo:
    height, width, channels = transforms.augment(prepared, (0,)).image.shape
    return dataclasses.replace(info, input_shape=(channels, height, width))


def _loaders(
    config: RunConfig, runtime: Runtime, data: Data, task: Task[Any, Any, Any, Any], on_reading: Callable[[str], None]
) -> tuple[Literal["device", "worker"], dict[Split, Loader]]:
    """The engine and the loaders: the device engine where it can do every list, else the worker engine for all."""
    plans, refusals = {}, {}
    for split, part in data.parts.items() if config.loader.engine != "worker" else ():
        plan = plan_for(part.prepared, part.transforms)
        if isinstance(plan, Refusal):
            refusals[split] = plan
        else:
            plans[split] = plan
    for split, refusal in refusals.items():
        if config.loader.engine == "device":
            raise ConfigError(f"{_place(config, split, refusal)}: loader.engine is device, but {refusal}; use engine: auto or worker")
        on_reading(f"worker engine for all, since {refusal} ({split} transforms)")
    shared: dict[str, Any] = {
        "seed": config.seed,
        "device": runtime.device,
        "channels_last": runtime.channels_last,
        "rank": runtime.rank,
        "world": runtime.world,
    }
    loaders: dict[Split, Loader] = {}
    for split, part in data.parts.items():
        train = split == "train" and config.fit.name == "gradient"  # one pass takes every sample, and each in its place
        size = config.fit.batch_size if split == "train" else _eval_batch_size(config.fit) * runtime.world
        what = (part.prepared, part.transforms)
        if len(plans) == len(data.parts):
            loaders[split] = DeviceLoader(*what, plans[split], task.encode, batch_size=size, train=train, **shared)
        else:
            loaders[split] = WorkerLoader(*what, task.encode, batch_size=size, train=train, workers=config.loader.workers, **shared)
    return "device" if len(plans) == len(data.parts) else "worker", loaders


def _place(config: RunConfig, split: Split, refusal: Refusal) -> Position:
    """Where the refused transform stands in the YAML; within a composition, where that does."""
    transforms = config.transforms.train if split == "train" else config.transforms.eval
    places = [t.position for t in transforms if t.name == refusal.name or refusal.name in repr(t.options)]
    return places[0] if places else config.data.position


def _eval_batch_size(fit: FitConfig) -> int:
    return fit.eval_batch_size if fit.eval_batch_size != "auto" else max(fit.batch_size, 256)


def _selected_metric(config: RunConfig, metrics: Sequence[Metric[Any]]) -> str:
    """The score that chooses the best epoch, checked before the first batch against the names that the metrics compute."""
    chosen = config.fit.select.metric
    metric: str = chosen if chosen != "auto" else config.task.component.factory.default_select  # type: ignore[attr-defined]
    asked = metric.removeprefix("val/")
    known = [f"val/{name}" for m in metrics for name in m.compute()]
    of_loss = asked == "loss" or asked.startswith("loss/")  # the terms of a loss are known after the first epoch
    if of_loss or any(asked == name.removeprefix("val/") or asked.endswith("/" + name.removeprefix("val/")) for name in known):
        return metric
    mains = ", ".join(name for name in ["val/loss", *known] if name.count("/") == 1)
    if chosen == "auto":
        raise ConfigError(f"the task's own choice {metric} is not among the metrics; set it to one of: {mains}", path="fit.select.metric")
    close = difflib.get_close_matches(metric, known, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {mains}"
    raise ConfigError(f"no score named '{metric}'; {hint}", path="fit.select.metric")
