"""From a config to objects: which engine is taken, and what is said where a choice cannot be met."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.build import Run, build_run
from toolkit.config import load_config
from toolkit.data.device_engine import DeviceLoader
from toolkit.data.sample import Split
from toolkit.data.worker_engine import WorkerLoader
from toolkit.errors import ConfigError
from toolkit.extension.discovery import Plugins, load_plugins
from toolkit.training.runtime import choose_runtime

CONFIG = """\
task: classification
data: {name: synthetic_shapes, size: 60, image_size: 16}
transforms:
  train:
    - {name: HorizontalFlip, p: 0.5}
    - {name: OneOf, transforms: [{name: ElasticTransform}, {name: RandomGamma}]}
    - Normalize
  eval: [Normalize]
model: {name: mlp, hidden: [8]}
fit:
  batch_size: 10
  phases: [{epochs: 1, optimizer: sgd}]
"""


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


@pytest.fixture
def build(plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Run, list[str]]]:
    def built(*overrides: str, text: str = CONFIG, only: Split | None = None) -> tuple[Run, list[str]]:
        monkeypatch.chdir(tmp_path)
        Path("some.yaml").write_text(text)
        config, _ = load_config("some.yaml", overrides=overrides, registry=plugins.registry)
        lines: list[str] = []
        return build_run(config, plugins, choose_runtime(config.runtime), only=only, on_reading=lines.append), lines

    return built


def test_lists_that_have_batched_twins_run_on_the_device_engine(build: Callable[..., Any]) -> None:
    run, lines = build("transforms.train=[{name: HorizontalFlip}, {name: Affine, rotate: [-10, 10]}, Normalize]")
    assert {type(loader) for loader in run.loaders.values()} == {DeviceLoader}
    assert run.config.loader.engine == "device"
    assert lines == ["device engine on cpu: 2 transforms on whole batches; 54 pictures of 16x16x3 (0 MiB) in memory"]


@pytest.mark.parametrize(("only", "count"), [("test", 15), ("validation", 6)])
def test_to_evaluate_one_part_no_other_is_read(build: Callable[..., Any], only: Split, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, _ = build()
    shapes, read = type(whole.data.parts["train"].dataset), []
    original = shapes.__getitem__

    def noted(data: Any, index: int) -> Any:
        read.append(original(data, index).id)
        return original(data, index)

    monkeypatch.setattr(shapes, "__getitem__", noted)
    run, lines = build(only=only)
    assert tuple(read) == whole.data.parts[only].prepared.ids(np.arange(count))
    assert [*run.loaders] == [*run.data.parts] == [only]
    assert run.info == whole.info
    assert lines == [f"device engine on cpu: nothing random to do; {count} pictures of 16x16x3 (0 MiB) in memory"]


def test_one_transform_without_a_twin_sends_all_lists_to_the_worker_engine_and_is_named(build: Callable[..., Any]) -> None:
    run, lines = build("loader.workers=0")
    assert {type(loader) for loader in run.loaders.values()} == {WorkerLoader}
    assert run.config.loader.engine == "worker"
    assert lines[0] == "worker engine for all, since ElasticTransform has no batched twin (train transforms)"


def test_the_device_engine_asked_for_and_impossible_is_told_at_the_transforms_line(build: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError) as told:
        build("loader.engine=device")
    expected = "some.yaml:6:7: loader.engine is device, but ElasticTransform has no batched twin; use engine: auto or worker"
    assert str(told.value) == expected


def test_the_worker_engine_can_be_asked_for(build: Callable[..., Any]) -> None:
    run, _ = build("loader.engine=worker", "loader.workers=0", "transforms.train=[HorizontalFlip, Normalize]")
    assert {type(loader) for loader in run.loaders.values()} == {WorkerLoader}


def test_pictures_that_do_not_fit_into_memory_go_to_the_worker_engine(build: Callable[..., Any]) -> None:
    run, lines = build("loader.memory_gib=0", "loader.workers=0", "transforms.train=[HorizontalFlip, Normalize]")
    assert run.config.loader.engine == "worker"
    reason = "the data set fits neither into memory (loader.memory_gib) nor into the cache (loader.cache_gib) (train transforms)"
    assert lines[0] == f"worker engine for all, since {reason}"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("fit.select.metric=val/acuracy", "command line: fit.select.metric: no score named 'val/acuracy'; did you mean 'val/accuracy'?"),
        (
            "metrics=[f1_macro]",
            "fit.select.metric: the task's own choice val/accuracy is not among the metrics; set it to one of: val/loss, val/f1_macro",
        ),
    ],
)
def test_a_score_that_no_metric_computes_cannot_choose_the_best_epoch(build: Callable[..., Any], override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as told:
        build("transforms.train=[Normalize]", override)
    assert str(told.value) == expected


@pytest.mark.parametrize("metric", ["val/accuracy/circle", "val/loss", "val/loss/cross_entropy"])
def test_parts_of_scores_and_the_loss_can_choose_the_best_epoch(build: Callable[..., Any], metric: str) -> None:
    run, _ = build("transforms.train=[Normalize]", f"fit.select.metric={metric}")
    assert run.config.fit.select.metric == metric
