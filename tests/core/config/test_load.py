from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from toolkit.config import load_config, load_node
from toolkit.config.run_config import ValidationConfig
from toolkit.errors import ConfigError
from toolkit.extension import Registry

FIT = "fit: {phases: [{epochs: 1, optimizer: adam}]}\n"
CONFIG: Mapping[str, Any] = {
    "task": "pose",
    "data": {"name": "lsp", "root": "here", "validation": {"share": 0.2}},
    "model": {"name": "deeppose", "backbone": "vgg16_bn", "stages": 2},
    "fit": {"phases": [{"epochs": 9, "optimizer": {"name": "adam", "lr": 0.1}}, {"epochs": 8, "optimizer": "adam"}]},
}


def write(folder: Path, **files: str) -> Path:
    """The first of some YAML files."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder / f"{next(iter(files))}.yaml"


def plain(source: Any, registry: Registry, *overrides: str, synthetic: bool = False) -> Any:
    return load_node(source, overrides=overrides, synthetic=synthetic, registry=registry).plain()


def refused(source: Any, registry: Registry, *overrides: str, synthetic: bool = False) -> str:
    with pytest.raises(ConfigError, match=r".") as caught:
        load_config(source, overrides=overrides, synthetic=synthetic, registry=registry)
    return str(caught.value)


def test_a_file_is_laid_over_the_one_it_extends(tmp_path: Path, registry: Registry) -> None:
    file = write(
        tmp_path,
        child="extends: parent.yaml\nfit: {ema: 0.9}\nmetrics: [b]\n",
        parent="extends: root.yaml\nfit: {batch_size: 8}\nseed: 1\n",
        root="fit: {batch_size: 4, accumulate: 2}\nmetrics: [a, c]\nseed: 2\n",
    )
    assert plain(file, registry) == {"fit": {"batch_size": 8, "accumulate": 2, "ema": 0.9}, "metrics": ["b"], "seed": 1}


def test_positions_survive_extends(tmp_path: Path, registry: Registry) -> None:
    file = write(tmp_path, child="extends: base/root.yaml\nseed: x\n")
    (tmp_path / "base").mkdir()
    write(
        tmp_path / "base",
        root="task: pose\ndata: lsp\nmodel: {name: deeppose,\n backbone: vgg16_bn, stages: x}\n" + FIT,
    )
    assert refused(file, registry) == (
        f"2 problems in {file}\n"
        f"  {file}:2:1: seed: input should be a valid integer, got 'x'\n"
        f"  {tmp_path}/base/root.yaml:4:22: model.stages: input should be a valid integer, got 'x'"
    )


@pytest.mark.parametrize(
    ("lower", "upper", "merged"),
    [
        ("{name: a, x: 1}", "{name: b, y: 2}", {"name": "b", "y": 2}),
        ("{name: a, x: 1}", "{name: a, y: 2}", {"name": "a", "x": 1, "y": 2}),
        ("{name: a, x: 1}", "{y: 2}", {"name": "a", "x": 1, "y": 2}),
        ("{name: a, x: 1}", "a", {"name": "a", "x": 1}),
        ("{name: a, x: 1}", "b", "b"),
        ("a", "{y: 2}", {"name": "a", "y": 2}),
        ("a", "{name: b, y: 2}", {"name": "b", "y": 2}),
        ("{backbone: r, head: h}", "{name: b}", {"name": "b"}),
        ("{backbone: r, head: h}", "{name: composed, head: i}", {"name": "composed", "backbone": "r", "head": "i"}),
        ("{backbone: r, head: h}", "{head: i}", {"backbone": "r", "head": "i"}),
        ("{name: a, x: 1}", "null", None),
        ("null", "{name: a}", {"name": "a"}),
    ],
)
def test_options_do_not_outlive_the_component_they_belong_to(
    tmp_path: Path, registry: Registry, lower: str, upper: str, merged: Any
) -> None:
    file = write(tmp_path, child=f"extends: parent.yaml\nmodel: {upper}\n", parent=f"model: {lower}\n")
    assert plain(file, registry)["model"] == merged


@pytest.mark.parametrize("upper", ["mpii", "{name: mpii}"])
def test_another_data_set_keeps_how_validation_is_cut(tmp_path: Path, registry: Registry, upper: str) -> None:
    file = write(tmp_path, child=f"extends: parent.yaml\ndata: {upper}\n", parent="data: {name: lsp, root: x, validation: {share: 0.3}}\n")
    assert plain(file, registry)["data"] == {"name": "mpii", "validation": {"share": 0.3}}


def test_a_cycle_of_extends_is_told_with_its_path(tmp_path: Path, registry: Registry) -> None:
    file = write(tmp_path, a="extends: b.yaml\n", b="seed: 1\nextends: ./a.yaml\n")
    a, b = tmp_path / "a.yaml", tmp_path / "b.yaml"
    assert refused(file, registry) == f"{b}:2:1: extends: {a} -> {b} -> {a} is a cycle"


@pytest.mark.parametrize(
    ("extends", "message"),
    [
        ("basse.yaml", "no config file at {folder}/basse.yaml; did you mean {folder}/base.yaml?"),
        ("[base.yaml]", "input should be the path of a config file, got ['base.yaml']"),
        ("list.yaml", "{folder}/list.yaml holds no mapping"),
    ],
)
def test_what_extends_cannot_name_is_told_at_its_place(tmp_path: Path, registry: Registry, extends: str, message: str) -> None:
    file = write(tmp_path, child=f"seed: 1\nextends: {extends}\n", base="seed: 1\n", list="- 1\n")
    assert refused(file, registry) == f"{file}:2:1: extends: {message.format(folder=tmp_path)}"


def test_a_syntax_error_in_an_extended_file_has_its_own_place(tmp_path: Path, registry: Registry) -> None:
    file = write(tmp_path, child="extends: base.yaml\n", base="seed: 1\nseed: 2\n")
    assert refused(file, registry) == f"{tmp_path}/base.yaml:2:1: key 'seed' is repeated; it stands already in line 1"


def test_overrides_set_values_as_yaml(registry: Registry) -> None:
    overrides = [
        "fit.batch_size=64",
        "fit.phases.0.optimizer.lr=3e-4",
        "runtime.device=cpu",
        "fit.phases.1.schedule={name: cosine, warmup: 0.1}",
    ]
    config, _ = load_config(CONFIG, overrides=overrides, registry=registry)
    assert config.fit.batch_size == 64
    assert config.fit.phases[0].optimizer.options["lr"] == 0.0003
    assert config.runtime.device == "cpu"
    schedule = config.fit.phases[1].schedule
    assert schedule is not None
    assert schedule.options == {"warmup": 0.1}


@pytest.mark.parametrize(
    ("override", "model"),
    [
        ("model.dropout=0.1", {"name": "cnn", "dropout": 0.1}),
        ("model=mlp", "mlp"),
        ("model.name=mlp", {"name": "mlp"}),
        ("model=", None),
    ],
)
def test_an_override_below_a_bare_name_makes_a_mapping_of_it(registry: Registry, override: str, model: Any) -> None:
    assert plain({"model": "cnn"}, registry, override)["model"] == model


def test_an_override_below_null_or_nothing_makes_mappings(registry: Registry) -> None:
    assert plain({"fit": None}, registry, "fit.select.early_stop=3") == {"fit": {"select": {"early_stop": 3}}}


def test_what_a_section_lacks_is_told_at_its_place_in_the_file_though_an_option_was_overridden(registry: Registry) -> None:
    message = refused({**CONFIG, "model": {"name": "deeppose"}}, registry, "model.stages=5")
    assert message == "<config>: model: model 'deeppose' needs option 'backbone'"


def test_another_name_on_the_command_line_drops_the_options_of_the_first(registry: Registry) -> None:
    assert plain(CONFIG, registry, "model.name=cascade")["model"] == {"name": "cascade"}
    assert plain(CONFIG, registry, "model.name=deeppose", "model.stages=5")["model"]["stages"] == 5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.batch_size", "command line: 'fit.batch_size' is no override; write key.key=value, such as fit.batch_size=64"),
        ("fit..x=1", "command line: 'fit..x=1' is no override; write key.key=value, such as fit.batch_size=64"),
        ("=1", "command line: '=1' is no override; write key.key=value, such as fit.batch_size=64"),
        ("fit.phases.2.epochs=5", "command line: fit.phases.2.epochs=5: fit.phases has 2 items, numbered from 0; there is no 2"),
        ("fit.phases.-1.epochs=5", "command line: fit.phases.-1.epochs=5: fit.phases is a list; write a number from 0 instead of '-1'"),
        ("fit.phases.last=5", "command line: fit.phases.last=5: fit.phases is a list; write a number from 0 instead of 'last'"),
        ("model.stages.x=5", "command line: model.stages.x=5: model.stages is 2, nothing stands below it"),
        ("fit.ema=[1", "command line: fit.ema: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        ("fit.ema=2", "command line: fit.ema: input should be less than 1, got 2"),
        ("fit.phases.0.optimizer.name=adma", "command line: no optimizer named 'adma' for task 'pose'; did you mean 'adam'?"),
        ("fti.ema=2", "command line: fti: unknown section 'fti'; did you mean 'fit'?"),
    ],
)
def test_a_wrong_override_is_told_as_it_was_written(registry: Registry, override: str, message: str) -> None:
    assert refused(CONFIG, registry, override) == message


def test_the_synthetic_block_is_laid_over_only_when_asked_for(registry: Registry) -> None:
    config = {**CONFIG, "synthetic": {"data": {"name": "synthetic_people", "size": 40}, "fit": {"batch_size": 4}}}
    plainly, plain_flag = load_config(config, registry=registry)
    assert (plainly.data.name, plainly.fit.batch_size, plain_flag) == ("lsp", 128, False)
    built_in, flag = load_config(config, synthetic=True, registry=registry)
    assert (built_in.data.name, built_in.fit.batch_size, flag) == ("synthetic_people", 4, True)
    assert built_in.data.options == {"size": 40}
    assert built_in.validation == ValidationConfig(share=0.2)
    assert len(built_in.fit.phases) == 2


def test_overrides_come_after_the_synthetic_block(registry: Registry) -> None:
    config = {**CONFIG, "synthetic": {"fit": {"batch_size": 4}}}
    assert load_config(config, overrides=["fit.batch_size=2"], synthetic=True, registry=registry)[0].fit.batch_size == 2


@pytest.mark.parametrize("block", [{}, {"synthetic": None}, {"synthetic": {"seed": 3}}])
def test_a_block_that_names_no_data_gets_the_registered_stand_in(registry: Registry, block: Mapping[str, Any]) -> None:
    config, flag = load_config({**CONFIG, **block}, synthetic=True, registry=registry)
    assert (config.data.name, config.data.options, flag) == ("synthetic_people", {"size": 1000}, True)


def test_options_of_data_in_a_block_are_those_of_the_stand_in_where_it_names_none(registry: Registry) -> None:
    config, flag = load_config({**CONFIG, "synthetic": {"data": {"size": 40}}}, synthetic=True, registry=registry)
    assert (config.data.name, config.data.options, flag) == ("synthetic_people", {"size": 40}, True)


@pytest.mark.parametrize(
    ("block", "override"), [({}, "data.name=mpii"), ({"data": {"name": "mpii"}}, "seed=1")], ids=["an override", "the synthetic block"]
)
def test_what_names_real_data_gets_it_and_nobody_calls_them_synthetic(registry: Registry, block: Mapping[str, Any], override: str) -> None:
    config, flag = load_config({**CONFIG, "synthetic": block}, overrides=[override], synthetic=True, registry=registry)
    assert (config.data.name, flag) == ("mpii", False)


def test_built_in_data_is_its_own_stand_in(registry: Registry) -> None:
    config, _ = load_config({**CONFIG, "data": {"name": "synthetic_people", "size": 5}}, synthetic=True, registry=registry)
    assert config.data.options == {"size": 5}


def test_a_data_set_without_a_stand_in_says_so(registry: Registry) -> None:
    message = refused({**CONFIG, "data": "mpii"}, registry, synthetic=True)
    assert message == "<config>: data: no synthetic data known for dataset 'mpii'; add a 'synthetic:' block that names its data"


def test_a_misspelt_data_set_is_told_as_that_with_synthetic_too(registry: Registry) -> None:
    message = refused({**CONFIG, "data": "lps"}, registry, synthetic=True)
    assert message == "<config>: no dataset named 'lps' for task 'pose'; did you mean 'lsp'?"


def test_a_python_mapping_may_hold_paths_and_tuples(registry: Registry) -> None:
    config, _ = load_config(
        {**CONFIG, "data": {"name": "lsp", "root": Path("a/b")}, "metrics": ({"name": "pdj", "thresholds": (0.1, 0.5)},)}, registry=registry
    )
    assert config.data.options["root"] == Path("a/b")
    assert config.metrics[0].options["thresholds"] == (0.1, 0.5)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"seed": 1j}, "<config>: seed: a value is null, a bool, a number, text, a list or a mapping, got complex"),
        ({"fit": {3: 4}}, "<config>: fit: the key 3 is not text"),
        ({"seed": "x"}, "<config>: seed: input should be a valid integer, got 'x'"),
    ],
)
def test_a_python_mapping_is_checked_like_a_file(registry: Registry, extra: Mapping[str, Any], message: str) -> None:
    assert refused({**CONFIG, **extra}, registry) == message


def test_a_mapping_that_holds_itself_is_refused(registry: Registry) -> None:
    endless: dict[str, Any] = {}
    endless["fit"] = endless
    assert refused(endless, registry) == "<config>: nested deeper than 50 levels"


def test_a_config_file_is_a_mapping(tmp_path: Path, registry: Registry) -> None:
    file = write(tmp_path, a="- 1\n")
    assert re.fullmatch(r".*a\.yaml:1:1: a config is a mapping with task, data, model and fit, got \[1\]", refused(file, registry))


def test_importing_the_config_package_does_not_import_torch() -> None:
    code = "import sys, toolkit.config, toolkit.extension.schema; sys.exit('torch' in sys.modules or 'toolkit.data' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
