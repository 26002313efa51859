"""Everything a user can get wrong ends in one line that says what, where and what to do, and in the documented exit code."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Command, assert_fails

pytestmark = pytest.mark.usefixtures("own_folder")


def idx_files(folder: Path, part: str, labels: list[int]) -> None:
    """MNIST's two files of one part, with black pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(labels).to_bytes(4, "big")
    side = (28).to_bytes(4, "big")
    (folder / f"{part}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + count + side + side + bytes(28 * 28 * len(labels)))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + count + bytes(labels))


# --- config and usage: 2


def test_a_config_that_is_not_there_is_told_with_the_name_that_was_meant(command: Command, config: Callable[..., Path]) -> None:
    config()
    assert_fails(command("run", "confg.yaml"), 2, "no config file at confg.yaml; did you mean config.yaml?")


def test_an_unknown_name_is_told_with_its_place_and_the_nearest_one(command: Command, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(
        "task: classification\ndata: synthetic_shapes\nmodel: {name: cnnn}\nfit: {phases: [{epochs: 1, optimizer: adam}]}"
    )
    expected = "c.yaml:3:9: no model named 'cnnn' for task 'classification'; did you mean 'cnn'?"
    assert_fails(command("run", "c.yaml"), 2, expected)


def test_all_problems_of_a_config_are_told_together(command: Command, tmp_path: Path) -> None:
    text = "task: classification\ndata: synthetic_shapes\nmodel: {name: mlp, dropuot: 0.1}\n"
    text += "fit:\n  batch_size: many\n  phases: [{epochs: 1, optimizer: adam}]\n"
    (tmp_path / "c.yaml").write_text(text)
    expected = (
        "2 problems in c.yaml\n"
        "  c.yaml:3:20: model.dropuot: model 'mlp' has no option 'dropuot'; did you mean 'dropout'?\n"
        "  c.yaml:5:3: fit.batch_size: input should be a valid integer, got 'many'"
    )
    assert_fails(command("run", "c.yaml"), 2, expected)


def test_an_override_of_the_wrong_type_names_the_command_line(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.batch_size=many")
    assert_fails(ended, 2, "command line: fit.batch_size: input should be a valid integer, got 'many'")


def test_a_batch_larger_than_the_training_part_is_refused_before_training(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.batch_size=1000", "--out", "out")
    assert_fails(
        ended, 2, "command line: fit.batch_size: an epoch has no batch of 1000, since the training part has 108 samples; use at most 108"
    )


def test_a_misspelt_selection_metric_is_told_before_training(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.select.metric=val/acuracy", "--out", "out")
    assert_fails(ended, 2, "command line: fit.select.metric: no score named 'val/acuracy'; did you mean 'val/accuracy'?")
    assert not Path("out/metrics.jsonl").exists()


def test_what_only_the_built_network_shows_is_told_with_its_place_in_the_file_too(command: Command, config: Callable[..., Path]) -> None:
    file = config(model={"backbone": "timm/test_resnet", "head": "linear"})
    text = file.read_text().replace("  - epochs: 3\n", "  - epochs: 3\n    train: haed\n")
    file.write_text(text)
    line = text.splitlines().index("    train: haed") + 1
    told = f"{file}:{line}:5: fit.phases.0.train: the model has no part named 'haed'; did you mean 'head'?"
    assert_fails(command("run", file, "--out", "out"), 2, told)


def test_a_run_folder_with_other_things_in_it_is_left_alone(command: Command, config: Callable[..., Path]) -> None:
    Path("thesis").mkdir()
    Path("thesis/thesis.tex").write_text("")
    expected = "--out thesis is not empty and holds no run (no config.yaml, so no `toolkit resume thesis` either); name a new folder"
    assert_fails(command("run", config(), "--out", "thesis"), 2, expected)
    assert os.listdir("thesis") == ["thesis.tex"]


def test_a_run_folder_that_holds_a_run_is_not_overwritten(command: Command, config: Callable[..., Path], copied_run: Path) -> None:
    expected = f"--out {copied_run} holds a run already; go on with it by `toolkit resume {copied_run}`, or name a new folder"
    assert_fails(command("run", config(), "--out", copied_run), 2, expected)


def test_resuming_what_is_no_run_says_what_was_looked_for(command: Command, tmp_path: Path) -> None:
    expected = (
        f"no run in {tmp_path}: looked for {tmp_path}/config.yaml and {tmp_path}/latest/config.yaml; "
        "name a run folder such as runs/<config name>/latest"
    )
    assert_fails(command("resume", tmp_path), 2, expected)


def test_evaluating_a_part_that_the_data_set_lacks_names_those_it_has(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path], tmp_path: Path
) -> None:
    picture_folder(tmp_path / "pictures" / "train")
    picture_folder(tmp_path / "pictures" / "val", count=4)
    assert command("run", config(data={"name": "image_folder", "root": "pictures"}), "--out", "out").returncode == 0
    scores = json.loads(Path("out/results.json").read_text())["scores"]
    assert {name.partition("/")[0] for name in scores} == {"val"}
    assert_fails(command("evaluate", "out"), 2, "data set 'image_folder' has no test part to evaluate; there are: validation")


# --- data: 3


def test_data_whose_classes_are_others_than_the_runs_are_not_scored(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path], tmp_path: Path
) -> None:
    for root in ("pictures", "others"):
        picture_folder(tmp_path / root / "train")
        picture_folder(tmp_path / root / "val", count=4)
    classes = sorted(folder.name for folder in (tmp_path / "pictures/train").iterdir())
    for part in ("train", "val"):
        (tmp_path / "others" / part / classes[1]).rename(tmp_path / "others" / part / f"{classes[1]}_new")
    assert command("run", config(data={"name": "image_folder", "root": "pictures"}), "--out", "out").returncode == 0
    same = "give data with the same names in the same order"
    told = (
        f"data set 'image_folder' has {len(classes)} names for a model's outputs, the run {len(classes)}; "
        f"the first difference is at 1: {classes[1]}_new, not {classes[1]}; {same}"
    )
    assert_fails(command("evaluate", "out", "data.root=others", "--split", "validation"), 3, told)
    for part in ("train", "val"):
        (tmp_path / "others" / part / "zebra").mkdir()
        next((tmp_path / "others" / part / classes[0]).iterdir()).rename(tmp_path / "others" / part / "zebra/one.png")
    told = (
        f"data set 'image_folder' has {len(classes) + 1} names for a model's outputs, the run {len(classes)}; "
        f"the first difference is at 1: {classes[1]}_new, not {classes[1]}; {same}"
    )
    assert_fails(command("evaluate", "out", "data.root=others", "--split", "validation"), 3, told)


def test_a_data_set_that_is_not_there_is_told_with_the_file_expected(command: Command, config: Callable[..., Path], tmp_path: Path) -> None:
    ended = command("run", config(data="mnist"), "--out", "out")
    expected = (
        f"no MNIST below {tmp_path}; expected {tmp_path}/MNIST/raw/train-images-idx3-ubyte; "
        "set TOOLKIT_DATA or data.root, or data.download=true"
    )
    assert_fails(ended, 3, expected)


def test_half_of_mnist_is_told_with_the_file_that_lacks(command: Command, config: Callable[..., Path], tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    idx_files(raw, "train", [n % 10 for n in range(100)])
    idx_files(raw, "t10k", [n % 10 for n in range(20)])
    (raw / "t10k-labels-idx1-ubyte").unlink()
    expected = f"no MNIST below {tmp_path}; expected {raw}/t10k-labels-idx1-ubyte; set TOOLKIT_DATA or data.root, or data.download=true"
    assert_fails(command("run", config(data="mnist"), "--out", "out"), 3, expected)


def test_a_cifar_file_cut_short_is_told_with_both_lengths(command: Command, config: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "cifar-10-batches-bin" / "data_batch_1.bin"
    file.parent.mkdir()
    file.write_bytes(bytes(1000))
    expected = f"{file} is damaged: found 1,000 bytes; expected 30,730,000 bytes; fetch it again"
    assert_fails(command("run", config(data="cifar10"), "--out", "out"), 3, expected)


def test_a_label_out_of_range_is_told_with_file_and_sample(command: Command, config: Callable[..., Path], tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    idx_files(raw, "train", [0, 1, 2, 12, 4])
    expected = f"{raw}/train-labels-idx1-ubyte: sample train/00003 has label 12; expected 0 to 9; delete the file and fetch it again"
    assert_fails(command("run", config(data="mnist"), "--out", "out"), 3, expected)


def test_a_class_folder_without_pictures_is_told(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (picture_folder() / "fish").mkdir()
    ended = command("run", config(data={"name": "image_folder", "root": "pictures"}), "--out", "out")
    assert_fails(ended, 3, f"class folder {tmp_path}/pictures/fish has no pictures; add some or remove it")


def test_every_unreadable_picture_is_told_in_one_message_before_training(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path]
) -> None:
    root = picture_folder()
    for number in range(3):
        (root / "cat" / f"{number}.png").write_bytes(b"")
    (root / "dog" / "0.png").write_text("<html>")
    ended = command("run", config(data={"name": "image_folder", "root": "pictures", "test_share": 0.01}, test=False), "--out", "out")
    kinds = "JPEG, PNG, WebP, BMP, TIFF or PGM/PPM"
    expected = (
        "4 of 40 samples of the training part cannot be used\n"
        f"  {root}/cat/0.png: is empty; expected a picture ({kinds})\n"
        f"  {root}/cat/1.png: is empty; expected a picture ({kinds})\n"
        f"  {root}/cat/2.png: is empty; expected a picture ({kinds})\n"
        f"  {root}/dog/0.png: is no picture (it starts with b'<html>'); expected {kinds}"
    )
    assert_fails(ended, 3, expected)
    assert not Path("out/metrics.jsonl").exists()


def test_unreadable_pictures_of_all_parts_are_told_at_once(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path]
) -> None:
    root = picture_folder().rename("whole")
    for part in ("train", "test"):
        shutil.copytree(root, Path("parts") / part)
        (Path("parts") / part / "cat" / "1.png").write_bytes(b"")
    ended = command("run", config(data={"name": "image_folder", "root": "parts"}), "--out", "out")
    kinds = "JPEG, PNG, WebP, BMP, TIFF or PGM/PPM"
    here = Path("parts").absolute()
    told = [f"{here}/{part}/cat/1.png: is empty; expected a picture ({kinds})" for part in ("train", "test")]
    assert_fails(ended, 3, "\n".join(told))


def test_a_validation_that_is_not_used_is_told(command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path]) -> None:
    root = picture_folder().rename("whole")
    for part in ("train", "val"):
        shutil.copytree(root, Path("parts") / part)
    data = {"name": "image_folder", "root": "parts", "validation": {"fold": 1, "folds": 5}}
    ended = command("run", config(data=data), "--out", "out")
    assert ended.returncode == 0
    assert "data.validation is not used: 'image_folder' has a validation part of its own" in ended.stdout


def test_data_that_changed_since_the_run_began_are_noticed(
    command: Command, config: Callable[..., Path], picture_folder: Callable[..., Path], stop_after_epoch: Callable[..., None]
) -> None:
    root = picture_folder()
    stop_after_epoch(1)
    assert command("run", config(data={"name": "image_folder", "root": "pictures"}), "--out", "out").returncode == 143
    stop_after_epoch(None)
    shutil.copy(root / "cat" / "0.png", root / "cat" / "new.png")
    expected = "out began with other data (their fingerprint differs); restore them, or start a new run"
    assert_fails(command("resume", "out"), 3, expected)
    (root / "cat" / "new.png").unlink()
    assert command("resume", "out").returncode == 0


def test_labels_that_changed_since_the_run_began_are_noticed(
    command: Command, config: Callable[..., Path], stop_after_epoch: Callable[..., None], tmp_path: Path
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    labels = [n % 10 for n in range(60)]
    idx_files(raw, "train", labels)
    idx_files(raw, "t10k", labels)
    stop_after_epoch(1)
    assert command("run", config(data="mnist"), "--out", "out").returncode == 143
    idx_files(raw, "train", [*labels[1:], labels[0]])
    expected = "out began with other data (their fingerprint differs); restore them, or start a new run"
    assert_fails(command("resume", "out"), 3, expected)


# --- non-finite numbers: 6


def test_a_loss_that_is_not_finite_ends_the_run_and_names_samples(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.phases.0.optimizer.lr=1e30", "--out", "out")
    assert ended.returncode == 6
    names = r"train/\d{5}, train/\d{5}, train/\d{5}, train/\d{5}, train/\d{5} and \d+ more of its batch"
    rest = "look at these samples, or lower the learning rate or set fit.clip_norm; the last checkpoint is from before"
    assert re.fullmatch(rf"error: the loss of sample {names} is not finite in epoch 1; {rest}\n", ended.stderr)
    assert not Path("out/checkpoints/last").exists()


# --- plugins: 8, or 2 where a config names what a broken one would have brought


def test_a_plugin_that_cannot_be_imported_gives_its_reason_to_the_config_that_needs_it(
    command: Command, config: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    (site / "toolkit_sonar-1.2.dist-info").mkdir(parents=True)
    (site / "toolkit_sonar-1.2.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toolkit-sonar\nVersion: 1.2\n")
    (site / "toolkit_sonar-1.2.dist-info" / "entry_points.txt").write_text("[toolkit.plugins]\nsonar = toolkit_sonar_plugin\n")
    (site / "toolkit_sonar_plugin.py").write_text("raise ImportError('libsonar.so.3 is missing')\n")
    monkeypatch.syspath_prepend(site)
    expected = (
        "config.yaml:23:1: no task named 'sonar'; there are: anomaly, classification, clock, pose "
        "(plugin 'sonar' could not be loaded: toolkit-sonar 1.2: ImportError: libsonar.so.3 is missing)"
    )
    ended = command("check", config(task="sonar").name)
    assert ended.returncode == 2
    assert re.sub(r":\d+:\d+:", ":23:1:", ended.stderr) == f"error: {expected}\n"
    assert command("check", config()).stdout == f"{tmp_path}/config.yaml: ok\n"  # the broken plugin stops nobody else
    assert "sonar                toolkit-sonar 1.2  ImportError: libsonar.so.3 is missing\n" in command("plugins").stdout


def test_a_blocked_plugin_is_named_to_the_config_that_needs_it(
    command: Command, config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLKIT_BLOCK_PLUGINS", "classification")
    ended = command("run", config())
    assert ended.returncode == 2
    assert (
        "no task named 'classification'; there are: anomaly, clock, pose (plugin 'classification' could not be loaded: vision-toolkit"
        in ended.stderr
    )
    assert "blocked by TOOLKIT_BLOCK_PLUGINS)" in ended.stderr


def test_a_one_file_plugin_that_fails_is_named(command: Command, config: Callable[..., Path]) -> None:
    Path("mine.py").write_text("import nothing_of_that_name\n")
    expected = "--plugin mine.py: ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert_fails(command("run", config(), "--plugin", "mine.py"), 8, expected)


# --- bugs: 70


def test_a_bug_is_told_in_one_line_with_the_file_that_holds_its_traceback(
    command: Command, config: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("two wrongs\nmake no right")

    monkeypatch.setattr("toolkit.runs.build_run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = command("run", config(), "--out", "out")
    assert ended.returncode == 70
    pattern = r"error: this is a bug in the toolkit or a plugin: RuntimeError: two wrongs; the traceback is in (\S+); please report it\n"
    told = re.fullmatch(pattern, ended.stderr)
    assert told is not None
    log = Path(told.group(1)).read_text()
    assert log.startswith("Traceback (most recent call last):")
    assert "two wrongs\nmake no right" in log


def test_debug_shows_the_traceback_of_an_error_and_keeps_its_exit_code(command: Command) -> None:
    ended = command("run", "nowhere.yaml", "--debug")
    assert ended.returncode == 2
    assert ended.stderr.startswith("Traceback (most recent call last):")
    assert ended.stderr.endswith("error: no config file at nowhere.yaml\n") or "\nerror: no config file at nowhere.yaml" in ended.stderr
