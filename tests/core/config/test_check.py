from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import RunConfig, check_config, read_text
from toolkit.config.run_config import ComponentConfig, ValidationConfig
from toolkit.errors import ConfigError, PluginError
from toolkit.extension import Origin, Registrar, Registry

FIT = "fit: {phases: [{epochs: 1, optimizer: adam}]}\n"
MODEL = "model: {name: deeppose, backbone: vgg16_bn}\n"
SHORT = f"task: pose\ndata: lsp\n{MODEL}{FIT}"


def check(text: str, registry: Registry) -> RunConfig:
    return check_config(read_text(text, "configs/pose.yaml"), registry)


def told(text: str, registry: Registry) -> str:
    with pytest.raises(ConfigError, match=r"configs/pose\.yaml") as caught:
        check(text, registry)
    return str(caught.value)


def test_all_problems_are_told_together_sorted_by_position(registry: Registry) -> None:
    text = """task: pose
model: {name: deeppose,
  backbone: vgg16_bm,
  betas: [0.9, 0.99],
  # columns as an editor shows them
    dropuot: 0.5,
    stages: '3',
    dropout: 1.5}
data: lsp
fit: {phases: [{epochs: 1, optimizer: adam}]}
"""
    assert told(text, registry) == (
        "4 problems in configs/pose.yaml\n"
        "  configs/pose.yaml:3:3: no backbone named 'vgg16_bm' for task 'pose'; did you mean 'vgg16_bn'?\n"
        "  configs/pose.yaml:6:5: model.dropuot: model 'deeppose' has no option 'dropuot'; did you mean 'dropout'?\n"
        "  configs/pose.yaml:7:5: model.stages: input should be a valid integer, got '3'\n"
        "  configs/pose.yaml:8:5: model.dropout: input should be less than 1, got 1.5"
    )


def test_what_a_task_says_of_parts_that_do_not_fit_is_told_with_its_place(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def problems(config: RunConfig) -> list[tuple[str, str]]:
        asked.append(config.model.options["stages"])
        return [("model.backbone", "too small for three stages"), ("loss", "cannot be used with stages")]

    monkeypatch.setattr(registry.find("task", "pose").factory, "config_problems", problems, raising=False)
    assert told(SHORT, registry) == (
        "2 problems in configs/pose.yaml\n"
        "  configs/pose.yaml:1:1: loss: cannot be used with stages\n"  # not written there: it is the task's own
        "  configs/pose.yaml:3:25: model.backbone: too small for three stages"
    )
    told(SHORT + "seed: -1\n", registry)
    assert asked == [3]  # not asked where a part is wrong


def test_a_task_that_fails_to_look_at_a_config_is_named(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry.find("task", "pose").factory, "config_problems", lambda config: {}["stages"], raising=False)
    message = r"^configs/pose\.yaml:1:1: task 'pose' of .*toolkit-pose.*: config_problems failed: KeyError: 'stages'$"
    with pytest.raises(PluginError, match=message):
        check(SHORT, registry)


def test_a_single_problem_is_a_single_line(registry: Registry) -> None:
    assert told(SHORT + "seed: -1\n", registry) == "configs/pose.yaml:5:1: seed: input should be greater than or equal to 0, got -1"


def test_every_default_is_filled_in(registry: Registry) -> None:
    config = check(SHORT, registry)
    assert config.task.options == {"flip": False}
    assert config.data.options == {"root": Path("lsp")}
    assert config.model.options["stages"] == 3
    assert config.model.options["backbone"].options == {"pretrained": False}
    assert config.model.options["head"] is None
    assert config.fit.batch_size == 128
    assert config.validation == ValidationConfig()


def test_loss_metrics_and_plots_come_from_the_task(registry: Registry) -> None:
    config = check(SHORT + "loss:\n", registry)
    assert config.loss.name == "keypoint_l2"
    assert [metric.name for metric in config.metrics] == ["pcp"]
    assert config.plots == ()
    assert str(config.loss.position) == "configs/pose.yaml:1:1"


def test_a_task_without_a_default_loss_needs_one(registry: Registry) -> None:
    text = "task: clock\ndata: synth\nmodel: {backbone: vgg16_bn, head: linear}\n" + FIT
    assert told(text, registry) == (
        "4 problems in configs/pose.yaml\n"
        "  configs/pose.yaml:1:1: a config needs 'loss'\n"
        "  configs/pose.yaml:1:1: a config needs 'metrics'\n"
        "  configs/pose.yaml:1:1: a config needs 'plots'\n"
        "  configs/pose.yaml:2:1: no dataset named 'synth' for task 'clock'; there are: none"
    )


def test_an_unknown_task_does_not_make_its_names_unknown_too(registry: Registry) -> None:
    assert told(SHORT.replace("task: pose", "task: pos"), registry) == "configs/pose.yaml:1:1: no task named 'pos'; did you mean 'pose'?"


def test_below_a_misspelt_task_the_rest_is_checked_against_the_task_that_was_meant(registry: Registry) -> None:
    assert told(SHORT.replace("task: pose", "task: pos").replace("data: lsp", "data: lps"), registry) == (
        "2 problems in configs/pose.yaml\n"
        "  configs/pose.yaml:1:1: no task named 'pos'; did you mean 'pose'?\n"
        "  configs/pose.yaml:2:1: no dataset named 'lps' for task 'pose'; did you mean 'lsp'?"
    )


def test_a_model_without_a_name_is_composed(registry: Registry) -> None:
    config = check(SHORT.replace(MODEL, "model: {backbone: vgg16_bn, head: {name: linear, width: 5}}\n"), registry)
    assert config.model.name == "composed"
    head = config.model.options["head"]
    assert isinstance(head, ComponentConfig)
    assert head.options == {"width": 5}
    assert str(head.position) == "configs/pose.yaml:3:29"


def test_validation_stands_beside_the_data_sets_options(registry: Registry) -> None:
    config = check(SHORT.replace("data: lsp", "data: {name: lsp, root: other, validation: {fold: 1, folds: 3}}"), registry)
    assert config.validation == ValidationConfig(fold=1, folds=3)
    assert config.data.options == {"root": Path("other")}


@pytest.mark.parametrize(
    ("written", "instead", "message"),
    [
        ("task: pose\n", "", "1:1: a config needs 'task'"),
        (FIT, "", "1:1: a config needs 'fit'"),
        ("data: lsp", "dota: lsp", "2:1: dota: unknown section 'dota'; did you mean 'data'?"),
        ("data: lsp", "data: {root: x}", "2:1: data: a dataset needs a name: {name: ..., option: ...}"),
        ("data: lsp", "data:", "2:1: data: input should be the name of a dataset or {name: ..., option: ...}, got null"),
        ("data: lsp", "data: {name: 3}", "2:8: data.name: input should be text, got 3"),
        ("data: lsp", "data: {name: lsq}", "2:8: no dataset named 'lsq' for task 'pose'; did you mean 'lsp'?"),
        ("data: lsp", "data: {name: lsp, rot: x}", "2:19: data.rot: dataset 'lsp' has no option 'rot'; did you mean 'root'?"),
        (
            "data: lsp",
            "data: {name: lsp, validatoin: 1}",
            "2:19: data.validatoin: dataset 'lsp' has no option 'validatoin'; did you mean 'validation'?",
        ),
        (
            "data: lsp",
            "data: {name: lsp, validation: {share: 1}}",
            "2:32: data.validation.share: input should be less than 1, got 1",
        ),
        (
            "data: lsp",
            "data: {name: lsp, validation: {fold: 5}}",
            "2:19: data.validation: fold is 5, but of 5 folds the last is 4",
        ),
        (MODEL, "model: deeppose\n", "3:1: model: model 'deeppose' needs option 'backbone'"),
        (
            "backbone: vgg16_bn",
            "backbone: {name: vgg16_bn, pretrained: yes}",
            "3:52: model.backbone.pretrained: input should be a valid boolean, got 'yes'; write true or false",
        ),
        (
            "backbone: vgg16_bn",
            "backbone: vgg16_bn, betas: [0.9, x]",
            "3:58: model.betas.1: input should be a valid number, got 'x'",
        ),
        ("backbone: vgg16_bn", "backbone: vgg16_bn, betas: [0.9]", "3:45: model.betas: input should have 2 items, got [0.9]"),
        ("backbone: vgg16_bn", "backbone: vgg16_bn, dropout: .nan", "3:45: model.dropout: input should be a finite number, got .nan"),
        (
            "backbone: vgg16_bn",
            "backbone: vgg16_bn, head: {name: linear, width: wide}",
            "3:66: model.head.width: input should be a valid integer or 'auto', got 'wide'",
        ),
        (MODEL, MODEL + "metrics: pcp\n", "4:1: metrics: input should be a list, got 'pcp'"),
        (
            MODEL,
            MODEL + "metrics: [pcp, {name: pdj, thresholds: [a]}]\n",
            "4:41: metrics.1.thresholds.0: input should be a valid number, got 'a'",
        ),
        (MODEL, MODEL + "metrics:\n  - pcp\n  - pcpp\n", "6:5: no metric named 'pcpp' for task 'pose'; did you mean 'pcp'?"),
        (MODEL, MODEL + "loader: fast\n", "4:1: loader: input should be a mapping, got 'fast'"),
        (MODEL, MODEL + "loader: {enigne: auto}\n", "4:10: loader.enigne: unknown key 'enigne'; did you mean 'engine'?"),
        (
            MODEL,
            MODEL + "loader: {engine: atuo}\n",
            "4:10: loader.engine: input should be 'auto', 'device' or 'worker', got 'atuo'; did you mean 'auto'?",
        ),
        (
            MODEL,
            MODEL + "loader: {zzz: 1}\n",
            "4:10: loader.zzz: unknown key 'zzz'; there are: engine, workers, memory_gib, cache_gib",
        ),
        (FIT, "fit: {}\n", "4:1: fit: needs 'phases'"),
        (FIT, "fit: {phases: []}\n", "4:1: fit: needs 'phases'"),
        ("epochs: 1", "epochs: 0", "4:17: fit.phases.0.epochs: input should be greater than or equal to 1, got 0"),
        ("epochs: 1", "epochs: 1, train: 5", "4:28: fit.phases.0.train: input should be a valid string or a valid list, got 5"),
        ("fit: {", "fit: {batch_size: 1e3, ", "4:7: fit.batch_size: input should be a valid integer, got 1000.0"),
        (
            "fit: {",
            "fit: {select: {metric: test/pcp}, ",
            "4:16: fit.select.metric: input should be 'auto' or a validation score such as 'val/loss', "
            "because nothing is chosen on other data, got 'test/pcp'",
        ),
        (
            MODEL,
            MODEL + "runtime: {channels_last: no}\n",
            "4:11: runtime.channels_last: input should be a valid boolean or 'auto', got 'no'; write true or false",
        ),
        (MODEL, MODEL + "synthetic: {fot: 1}\n", "4:13: synthetic.fot: unknown section 'fot'; did you mean 'fit'?"),
        (MODEL, MODEL + "synthetic: 3\n", "4:1: synthetic: input should be a mapping, got 3"),
        (
            MODEL,
            MODEL + "validation: {share: 0.1}\n",
            "4:1: validation: unknown section 'validation'; it stands under 'data'",
        ),
    ],
)
def test_a_problem_names_its_place_what_was_found_and_what_is_expected(
    registry: Registry, written: str, instead: str, message: str
) -> None:
    assert written in SHORT
    assert told(SHORT.replace(written, instead), registry) == f"configs/pose.yaml:{message}"


def test_a_config_is_a_mapping(registry: Registry) -> None:
    message = told("- task: pose", registry)
    assert message == "configs/pose.yaml:1:1: a config is a mapping with task, data, model and fit, got [{task: 'pose'}]"


def test_empty_sections_have_their_defaults(registry: Registry) -> None:
    assert check(SHORT + "loader:\ntransforms:\nruntime:\nsynthetic:\n", registry) == check(SHORT, registry)


def test_lists_of_components_and_sections_are_checked_within_options(registry: Registry) -> None:
    cascade = "model: {name: cascade, parts: [vgg16_bn, {name: vgg16_bn, pretrained: true}], border: {fill: 3}, names: {a: 1}}\n"
    options = check(SHORT.replace(MODEL, cascade), registry).model.options
    assert [part.options["pretrained"] for part in options["parts"]] == [False, True]
    assert options["border"].fill == 3
    assert options["border"].mode == "constant"
    assert options["names"] == {"a": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("parts: vgg16_bn", "3:24: model.parts: input should be a list, got 'vgg16_bn'"),
        ("parts: [vgg16_bn, {name: vgg}]", "3:43: no backbone named 'vgg' for task 'pose'; there are: vgg16_bn"),
        ("border: {fil: 1}", "3:33: model.border.fil: unknown key 'fil'; did you mean 'fill'?"),
        ("border: {fill: 3, mode: mirror}", "3:24: model.border: fill is not used with mode mirror"),
        ("names: {a: b}", "3:32: model.names.a: input should be a valid number, got 'b'"),
    ],
)
def test_problems_within_nested_options_have_their_place(registry: Registry, options: str, message: str) -> None:
    assert told(SHORT.replace(MODEL, f"model: {{name: cascade, {options}}}\n"), registry) == f"configs/pose.yaml:{message}"


def test_a_factory_that_checks_its_own_options_has_its_problems_placed(registry: Registry) -> None:
    text = """transforms:
  train:
    - {name: Flip, p: 2}
    - name: OneOf
      transforms:
        - {name: Blur, p: 1}
        - {name: Noise, p: 3}
    - {name: Crop, empty: true}
    - horizontalFlip
"""
    assert told(SHORT + text, registry) == (
        "4 problems in configs/pose.yaml\n"
        "  configs/pose.yaml:7:20: transforms.train.0.p: p must be at most 1\n"
        "  configs/pose.yaml:11:25: transforms.train.1.transforms.1.p: p must be at most 1\n"
        "  configs/pose.yaml:12:7: transforms.train.2: needs max_size or scale\n"
        "  configs/pose.yaml:13:7: no transform named 'horizontalFlip' for task 'pose'; did you mean 'HorizontalFlip'?"
    )


def test_a_factory_that_checks_its_own_options_gets_them_as_written(registry: Registry) -> None:
    config = check(SHORT + "transforms: {train: [{name: Affine, rotate: [-40, 40]}, Flip]}\n", registry)
    assert [item.options for item in config.transforms.train] == [{"rotate": [-40, 40]}, {}]


def test_a_name_registered_twice_is_the_plugins_problem(registry: Registry) -> None:
    again = Registrar(Origin("pose2", "other-pose", "2.0"))
    again.dataset("lsp", lambda split, /: [], task="pose")
    registry.add(again)
    with pytest.raises(
        PluginError, match=r"dataset 'lsp' is registered twice: by toolkit-pose 1\.0 \(plugin 'pose'\) and by other-pose 2\.0"
    ):
        check(SHORT, registry)
