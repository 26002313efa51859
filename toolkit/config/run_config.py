"""The sections of a run's config: every fixed key, its type, bounds and default. Component options come from the components."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator

from toolkit.config.nodes import Node, Position
from toolkit.errors import ConfigError
from toolkit.extension.registry import Component
from toolkit.extension.schema import Kind as Kind


@dataclass(frozen=True, eq=False)
class ComponentConfig:
    """A `{name:, option:}` node whose name and options were checked and whose defaults are filled in.

    options: by keyword; an option that is itself a component is a ComponentConfig, several are a tuple of them.
    position: where a message about it points to; two configs that differ only there are equal.
    """

    component: Component
    options: Mapping[str, Any]
    position: Position

    @property
    def name(self) -> str:
        """The registered name."""
        return self.component.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ComponentConfig):
            return NotImplemented
        mine, others = self.component, other.component  # their factories may differ: a family makes one at each look-up
        return (mine.task, mine.kind, mine.name, self.options) == (others.task, others.kind, others.name, other.options)


@dataclass(frozen=True)
class ValidationConfig:
    """How validation is cut from the training part: a share, or fold `fold` of `folds`. Samples are drawn with `seed`."""

    share: Annotated[float, Gt(0), Lt(1)] = 0.1
    fold: Annotated[int, Ge(0)] | None = None
    folds: Annotated[int, Ge(2)] = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.fold is not None and self.fold >= self.folds:
            raise ValueError(f"fold is {self.fold}, but of {self.folds} folds the last is {self.folds - 1}")


@dataclass(frozen=True)
class TransformsConfig:
    """Albumentations transforms by name, or a plugin's own; `eval` serves validation, test and prediction.

    batch: what mixes the samples of a training batch (mixup, cutmix), after `train`.
    """

    train: tuple[Annotated[ComponentConfig, Kind("transform")], ...] = ()
    eval: tuple[Annotated[ComponentConfig, Kind("transform")], ...] = ()
    batch: tuple[Annotated[ComponentConfig, Kind("batch_transform")], ...] = ()


@dataclass(frozen=True)
class LoaderConfig:
    """How batches are made.

    engine: device keeps the prepared pictures as one tensor and transforms whole batches there; worker runs albumentations
        itself, sample by sample; auto takes device where it can do every list of `transforms`, and says why where it cannot.
    workers: processes of the worker engine beside the main one; auto is 0 where nothing is left to do per sample.
    memory_gib: prepared pictures (decoded, deterministic transforms done) are kept in memory up to this size.
    cache_gib: those that take long to make, or do not fit into the memory, are kept in a cache on disk ($TOOLKIT_CACHE, or
        vision-toolkit in the user's cache folder) for the next run, up to this size over all runs; 0 keeps none.
    """

    engine: Literal["auto", "device", "worker"] = "auto"
    workers: Annotated[int, Ge(0)] | Literal["auto"] = "auto"
    memory_gib: Annotated[float, Ge(0)] = 4.0
    cache_gib: Annotated[float, Ge(0)] = 20.0


@dataclass(frozen=True)
class PhaseConfig:
    """A stretch of training with its own optimizer.

    train: which part of the model learns: "all", or the name of a submodule (or several); the rest is frozen.
    """

    optimizer: Annotated[ComponentConfig, Kind("optimizer")]
    epochs: Annotated[int, Ge(1)]
    train: str | tuple[str, ...] = "all"
    schedule: Annotated[ComponentConfig, Kind("schedule")] | None = None


def _validation_score(metric: str) -> str:
    if metric != "auto" and not re.fullmatch(r"val(/[^/\s]+)+", metric):
        raise ValueError("input should be 'auto' or a validation score such as 'val/loss', because nothing is chosen on other data")
    return metric


@dataclass(frozen=True)
class SelectConfig:
    """Which epoch is kept as `checkpoints/best`.

    metric: a validation score such as val/accuracy; auto is the task's own choice. While it is undefined, the latest epoch is kept.
    early_stop: end a phase after this many epochs without a better one of its own: what is unfrozen, or a new stage of a cascade, may begin
        below what the phase before reached.
    use: the checkpoint that the final evaluation reads.
    """

    metric: Annotated[str, AfterValidator(_validation_score)] = "auto"
    early_stop: Annotated[int, Ge(1)] | None = None
    use: Literal["best", "last"] = "best"


@dataclass(frozen=True)
class PenaltyConfig:
    """Penalties on the trained weights (biases and norms excepted), added to their gradients; the reported loss is without them.

    l1: the loss grows by l1 * sum |w|. l2: by l2 * sum w^2, as Keras counts it (an SGD weight_decay of 2 * l2).
    """

    l1: Annotated[float, Ge(0)] = 0.0
    l2: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True)
class FitConfig:
    """How the model is trained.

    name: gradient trains `phases`; one_pass shows a model that is fitted, not trained, every training batch once.
    phases: one after the other; none for one_pass.
    batch_size: samples per optimizer step, over all processes and accumulation steps together.
    eval_batch_size: samples per evaluation batch in one process; auto is batch_size, at least 256.
    accumulate: a batch is cut into this many parts whose gradients are added; the step stays the same.
    penalty: on the weights.
    clip_norm: gradients are scaled down to this total norm.
    ema: decay per step of the moving average of the weights, at most (1 + n) / (10 + n) after n steps; it is evaluated and kept.
    save_minutes: a checkpoint is also written within an epoch after this much time.
    """

    name: Literal["gradient", "one_pass"] = "gradient"
    phases: tuple[PhaseConfig, ...] = ()
    batch_size: Annotated[int, Ge(1)] = 128
    eval_batch_size: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    accumulate: Annotated[int, Ge(1)] = 1
    penalty: PenaltyConfig = field(default_factory=PenaltyConfig)
    clip_norm: Annotated[float, Gt(0)] | None = None
    ema: Annotated[float, Gt(0), Lt(1)] | None = None
    save_minutes: Annotated[float, Gt(0)] = 10.0
    select: SelectConfig = field(default_factory=SelectConfig)

    def __post_init__(self) -> None:
        if self.name == "gradient" and not self.phases:
            raise ValueError("needs 'phases'")
        if self.name == "one_pass" and self.phases:
            raise ValueError("one_pass looks at every training batch once and has no phases; take them out")


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how the arithmetic runs; every auto is decided once and written into the run's config.yaml.

    device: auto takes an accelerator where there is one.
    precision: bfloat16 is autocast (weights stay float32); auto takes it where the hardware has it.
    channels_last: memory layout of pictures and convolutions.
    compile: train through torch.compile, which pays after minutes; auto does not, since on which GPU it pays was not measured.
    threads: of the CPU in each process; auto shares the cores among the processes.
    deterministic: only algorithms that give the same bytes each time (the CPU always does).
    """

    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compile: bool | Literal["auto"] = "auto"
    threads: Annotated[int, Ge(1)] | Literal["auto"] = "auto"
    deterministic: bool = False


@dataclass(frozen=True)
class RunConfig:
    """A whole run. Fields without a default must be in the YAML; loss, metrics and plots default to the task's own.

    pretrained: a file of weights (.safetensors, .pth, .keras) that the whole model begins with.
    test: false leaves the test data unread, for searches and other runs that must not look at them.
    """

    task: Annotated[ComponentConfig, Kind("task")]
    data: Annotated[ComponentConfig, Kind("dataset")]
    model: Annotated[ComponentConfig, Kind("model")]
    loss: Annotated[ComponentConfig, Kind("loss")]
    metrics: tuple[Annotated[ComponentConfig, Kind("metric")], ...]
    plots: tuple[Annotated[ComponentConfig, Kind("plot")], ...]
    fit: FitConfig
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    """In the YAML this stands under `data:`, beside the data set's own options."""
    transforms: TransformsConfig = field(default_factory=TransformsConfig)
    loader: LoaderConfig = field(default_factory=LoaderConfig)
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    pretrained: str | None = None
    test: bool = True
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0
    document: Node | None = field(init=False, compare=False, repr=False, default=None)
    """What it was read from."""

    @contextmanager
    def placed(self) -> Iterator[None]:
        """A `ConfigError` raised within that names its option is told with the option's place in the file, as those of `check` are."""
        try:
            yield
        except ConfigError as error:
            place = self.document.place(error.path) if error.path and self.document else None
            if place is None:
                raise
            raise ConfigError(f"{place}: {error}") from error
