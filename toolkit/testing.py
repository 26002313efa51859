"""`PluginContract`: the conformance suite that every plugin's tests inherit.

```python
class TestPose(PluginContract):
    config = "configs/pose_deeppose.yaml"
    perfect_scores = {"pcp": 1.0, "mean_error_px": 0.0}

    def perfect_output(self, encoded): ...
```
"""

from __future__ import annotations

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from toolkit import runs
from toolkit.build import Run, build_run
from toolkit.config import load_config
from toolkit.data.sample import Batch
from toolkit.data.tree import map_tensors, select, to_float32
from toolkit.evaluation.evaluate import Scorekeeper, total_loss
from toolkit.evaluation.metrics import Undefined
from toolkit.extension.discovery import Plugins, load_plugins
from toolkit.extension.schema import undocumented_options
from toolkit.models.model import PreparesPhases, training_output
from toolkit.task import Task
from toolkit.training.checkpoint import load_checkpoint, save_checkpoint
from toolkit.training.phases import trained_part
from toolkit.training.runtime import choose_runtime, seed_torch


class PluginContract(ABC):
    """What a task plugin promises, as tests. Subclass it in a test file; the name of the subclass begins with `Test`.

    config: a config file of the plugin (or the same as a mapping); its `synthetic:` block is used throughout.
    overrides: laid over it, to make it small: the smoke run should take seconds.
    perfect_scores: what the metrics say when every answer is the truth, up to `score_tolerance` (warped masks lose a little).
    random_transforms: laid over `transforms.train` for the test of geometry.
    device_overrides: laid over it for the test that a step stays on its device, to leave out what a plugin does on the host on purpose.
    overfit_steps, overfit_rate: how long and how fast eight samples are learnt; their loss must fall to a tenth.
    """

    config: ClassVar[str | Mapping[str, Any]]
    overrides: ClassVar[Sequence[str]] = ()
    perfect_scores: ClassVar[Mapping[str, float]]
    score_tolerance: ClassVar[float] = 1e-3
    random_transforms: ClassVar[Sequence[Mapping[str, Any]]] = ()
    device_overrides: ClassVar[Sequence[str]] = ()
    overfit_steps: ClassVar[int] = 100
    overfit_rate: ClassVar[float] = 1e-3

    @abstractmethod
    def perfect_output(self, encoded: Any) -> Any:
        """What a network would give if it knew the truth: the inverse of the task's `decode` after `encode`, for a batch."""

    @pytest.fixture(scope="class")
    @classmethod
    def plugins(cls) -> Plugins:
        """Every installed plugin."""
        return load_plugins()

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, plugins: Plugins) -> Iterator[Run]:
        """The plugin's config, built and prepared for all phases."""
        run = cls.build(plugins)
        _prepare(run)
        yield run
        run.close()

    @classmethod
    def build(cls, plugins: Plugins, *overrides: str) -> Run:
        """The plugin's config with more overrides, in float32 on the CPU."""
        options = [*cls.overrides, "runtime.device=cpu", "runtime.precision=float32", "loader.workers=0", *overrides]
        config, _ = load_config(cls.config, overrides=options, synthetic=True, registry=plugins.registry)
        return build_run(config, plugins, choose_runtime(config.runtime), synthetic=True)

    @pytest.mark.parametrize("split", ["train", "validation"])
    def test_a_perfect_output_decodes_to_the_truth_also_after_random_warps(self, plugins: Plugins, split: Any) -> None:
        warps = json.dumps([dict(transform) for transform in self.random_transforms])  # YAML reads JSON, but not Python's None
        run = self.build(plugins, f"transforms.train={warps}") if self.random_transforms else self.build(plugins)
        scores = Scorekeeper(run.task, run.metrics)
        for _, batch in zip(range(4), run.loaders[split].epoch(1), strict=False):
            output = self.perfect_output(batch.encoded)
            scores.update(run.loss(output, batch.encoded), run.task.decode(output, batch.to_original), batch.truth)
        computed, _ = scores.compute(run.runtime)
        assert {name: computed.get(name) for name in self.perfect_scores} == pytest.approx(self.perfect_scores, abs=self.score_tolerance)

    def test_no_answer_scores_better_than_the_truth(self, built: Run) -> None:
        batch, output = _some_output(built)
        better = Scorekeeper(built.task, built.metrics)
        better.update(built.loss(output, batch.encoded), built.task.decode(output, batch.to_original), batch.truth)
        scores, _ = better.compute(built.runtime)
        for name, best in self.perfect_scores.items():
            if name in scores:
                assert scores[name] <= best + 1e-9 if better.higher_is_better[name] else scores[name] >= best - 1e-9

    def test_a_metric_that_saw_no_sample_gives_all_its_names_undefined(self, built: Run) -> None:
        batch, output = _some_output(built)
        for metric in built.metrics:
            fresh = copy.deepcopy(metric)
            names = fresh.compute().keys()
            assert _numbers(fresh.compute()) == {}
            fresh.update(built.task.decode(output, batch.to_original), batch.truth)
            assert fresh.compute().keys() == names

    def test_metrics_do_not_depend_on_the_order_of_samples_or_their_split_into_batches(self, built: Run) -> None:
        batch, output = _some_output(built)
        prediction = built.task.decode(output, batch.to_original)
        order = torch.randperm(len(batch), generator=torch.Generator().manual_seed(0))
        for metric in built.metrics:
            whole, split = copy.deepcopy(metric), copy.deepcopy(metric)
            whole.update(prediction, batch.truth)
            for indices in (order[:1], order[1:4], order[4:]):
                split.update(select(prediction, indices), select(batch.truth, indices))
            expected, found = whole.compute(), split.compute()
            assert _numbers(found) == pytest.approx(_numbers(expected), rel=1e-9)
            assert found.keys() == expected.keys()

    def test_every_parameter_that_a_phase_trains_gets_a_gradient(self, built: Run) -> None:
        batch = next(built.loaders["train"].epoch(0))
        for phase in built.config.fit.phases:
            part = trained_part(built.model, phase.train)
            part.freeze_the_rest()
            part.train_mode()
            built.model.zero_grad()
            output = training_output(built.model, batch.images, batch.encoded)
            torch.autograd.backward(total_loss(built.loss(output, batch.encoded)).mean())
            without = [name for name, p in built.model.named_parameters() if p.requires_grad and p.grad is None]
            assert without == []
            built.model.requires_grad_(True)

    def test_loss_terms_are_one_number_per_sample(self, built: Run) -> None:
        batch, output = _some_output(built)
        for term, values in built.loss(output, batch.encoded).items():
            assert values.shape == (len(batch),), f"term '{term}' has shape {list(values.shape)}"

    def test_a_step_stays_on_its_device(self, plugins: Plugins) -> None:
        """On tensors with a device and a shape but no data: mixing devices, or asking for a number, raises, and no GPU is needed.

        A tensor that is copied to the host and back is not noticed.
        """
        run = self.build(plugins, *self.device_overrides)
        if run.config.fit.name == "one_pass":
            pytest.skip("the model is fitted in one pass, not trained")
        batch = next(run.loaders["train"].epoch(0))
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode, torch.backends.cudnn.flags(enabled=False):  # some of cuDNN's kernels cannot be imagined; torch's own can
            _move(run.model, lambda tensor: mode.from_tensor(tensor).to("cuda"))
            there = map_tensors(lambda tensor: mode.from_tensor(tensor).to("cuda"), batch)
            encoded = run.task.encode(there.targets, (there.images.shape[2], there.images.shape[3]))
            for phase in run.config.fit.phases:
                trained_part(run.model, phase.train).train_mode()
                output = training_output(run.model, there.images, encoded)
                terms = tuple(run.loss(output, encoded).values())
                prediction = run.task.decode(to_float32(output), there.to_original)
                for metric in run.metrics:
                    metric.update(prediction, there.truth)
                map_tensors(_assert_on_device, (encoded, output, terms, prediction))

    def test_eight_samples_are_learnt_by_heart(self, plugins: Plugins) -> None:
        run = self.build(plugins)
        if run.config.fit.name == "one_pass":
            pytest.skip("the model is fitted in one pass, not trained")
        seed_torch(0)
        batch = select(next(run.loaders["train"].epoch(0)), slice(0, 8))
        part = trained_part(run.model, run.config.fit.phases[0].train)
        part.freeze_the_rest()
        run.model.eval()  # dropout would keep the loss up
        optimizer = torch.optim.Adam(part.parameters(), lr=self.overfit_rate)
        losses = []
        for _ in range(self.overfit_steps):
            optimizer.zero_grad()
            loss = total_loss(run.loss(training_output(run.model, batch.images, batch.encoded), batch.encoded)).mean()
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.1 * losses[0]

    def test_a_checkpoint_brings_back_the_same_outputs(self, plugins: Plugins, tmp_path: Path) -> None:
        run, other = self.build(plugins), self.build(plugins, "seed=1")
        _prepare(run)
        batch, output = _some_output(run)
        save_checkpoint(tmp_path / "saved", {"model": run.model.state_dict()}, {})
        other.model.load_state_dict(load_checkpoint(tmp_path / "saved").tensors["model"])
        with torch.inference_mode():
            assert _equal(output, to_float32(other.model.eval()(batch.images)))

    def test_every_option_is_documented(self, plugins: Plugins, built: Run) -> None:
        task = built.config.task.component
        own = [c for c in plugins.registry.components() if c.origin.plugin == task.origin.plugin]
        missing = {f"{c.kind} {c.name}": options for c in own if (options := undocumented_options(c))}
        assert missing == {}

    def test_a_prediction_is_described_in_json_and_drawn(self, built: Run) -> None:
        batch, output = _some_output(built)
        prediction = select(built.task.decode(output, batch.to_original), 0)
        picture = built.data.parts["validation"].dataset[0].image
        json.dumps(dict(built.task.describe(prediction, picture.shape[:2])), allow_nan=False)
        drawn = built.task.draw(torch.from_numpy(picture).expand(-1, -1, 3).permute(2, 0, 1), prediction, select(batch.truth, 0))
        assert drawn.dtype == torch.uint8
        assert drawn.ndim == 3
        assert drawn.shape[0] == 3

    def test_each_reading_can_be_chosen_to_answer(self, plugins: Plugins) -> None:
        run = self.build(plugins)
        if type(run.task).answer_with is Task.answer_with:  # it leaves none to choose
            return
        _prepare(run)
        batch, output = _some_output(run)
        names = [name for name in run.task.readings(run.task.decode(output, batch.to_original)) if name]
        if not names:
            pytest.skip("the task has `answer_with`, but with this config there is nothing to choose")
        size = run.data.parts["validation"].dataset[0].image.shape[:2]
        for name in names:
            run.task.answer_with(name)
            readings = run.task.readings(run.task.decode(output, batch.to_original))
            assert run.task.describe(select(readings[""], 0), size) == run.task.describe(select(readings[name], 0), size), name

    def test_the_smoke_config_runs(self, tmp_path: Path) -> None:
        result = runs.run(self.config, self.overrides, synthetic=True, out=tmp_path / "run")
        assert "test/loss" in result.scores or "val/loss" in result.scores
        assert result.report.is_file()


def _numbers(scores: Mapping[str, float | Undefined]) -> dict[str, float]:
    return {name: score for name, score in scores.items() if not isinstance(score, Undefined)}


def _prepare(run: Run) -> None:
    """As a run does before each phase; only the training in between is left out."""
    if isinstance(run.model, PreparesPhases):
        run.model.eval()
        with torch.no_grad():
            for phase in run.config.fit.phases:
                run.model.prepare_phase(phase.train, run.loaders["validation"].epoch(0))


def _some_output(run: Run) -> tuple[Batch[Any, Any], Any]:
    """A validation batch of at least five samples and what the untrained model makes of it."""
    batch = next(run.loaders["validation"].epoch(0))
    assert len(batch) >= 5, "the contract needs at least five validation samples"
    run.model.eval()
    with torch.inference_mode():
        return batch, to_float32(run.model(batch.images))


def _assert_on_device(tensor: Tensor) -> None:
    assert tensor.device.type == "cuda"


def _move(model: nn.Module, moved: Callable[[Tensor], Tensor]) -> None:
    """Replace every parameter and buffer; `Module.to` does not take tensors of another kind."""
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            setattr(module, name, nn.Parameter(moved(parameter.detach()), requires_grad=parameter.requires_grad))
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, moved(buffer))


def _equal(one: Any, other: Any) -> bool:
    """Whether two outputs are the same bytes."""
    flat: list[list[Tensor]] = [[], []]
    for tensors, value in zip(flat, (one, other), strict=True):
        map_tensors(tensors.append, value)
    return all(torch.equal(a, b) for a, b in zip(*flat, strict=True))
