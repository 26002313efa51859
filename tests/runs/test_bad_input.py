"""Everything a user can get wrong ends in one line that says what, where and what to do, and in the documented exit code."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import safetensors.torch
import yaml

from toolkit.reporting.run_dir import RunDir

Command = Callable[..., "CompletedProcess[str]"]


@pytest.fixture
def config(tmp_path: Path, tiny: dict[str, Any]) -> Callable[..., Path]:
    """Writes the tiny config with some sections replaced."""

    def write(**sections: Any) -> Path:
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(tiny | sections))
        return file

    return write


@pytest.fixture(autouse=True)
def _data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def idx_files(folder: Path, part: str, labels: list[int]) -> None:
    """MNIST's two files of one part, with black pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(labels).to_bytes(4, "big")
    side = (28).to_bytes(4, "big")
    (folder / f"{part}-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + count + side + side + bytes(28 * 28 * len(labels)))
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + count + bytes(labels))


def assert_fails(ended: CompletedProcess[str], exit_code: int, text: str) -> None:
    """One line on stderr, exactly `text`; where it holds several, each below a heading."""
    assert ended.stderr == f"error: {text}\n"
    assert ended.returncode == exit_code


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
    assert_fails(ended, 2, "fit.batch_size is 1000 but the training part has 108 samples, so an epoch has no batch; use at most 108")


def test_a_misspelt_selection_metric_is_told_before_training(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.select.metric=val/acuracy", "--out", "out")
    assert_fails(ended, 2, "fit.select.metric: no score named 'val/acuracy'; did you mean 'val/accuracy'?")
    assert not Path("out/metrics.jsonl").exists()


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
    ended = command("run", config(data={"name": "image_folder", "root": "pictures", "test_share": 0.01}), "--out", "out")
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


# --- checkpoints: 4


def damage(checkpoint: Path) -> Path:
    """Change one byte in the middle of the weights."""
    file = checkpoint / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()  # `last` and `best` may be hard links to the same file
    file.write_bytes(content)
    return file


def test_a_run_whose_checkpoints_are_all_damaged_is_not_begun_anew(command: Command, copied_run: Path) -> None:
    best, last = damage(copied_run / "checkpoints" / "best"), damage(copied_run / "checkpoints" / "last")
    expected = (
        f"no valid checkpoint in {copied_run}/checkpoints: {best} is damaged: its SHA-256 is not the manifest's; "
        f"{last} is damaged: its SHA-256 is not the manifest's"
    )
    assert_fails(command("resume", copied_run), 4, expected)


def test_with_last_damaged_a_run_goes_on_from_best_and_says_so(
    command: Command, config: Callable[..., Path], finished_run: Path, stop_after_epoch: Callable[..., None]
) -> None:
    stop_after_epoch(2)
    assert command("run", config(), "--out", "out").returncode == 143
    stop_after_epoch(None)
    file = damage(Path("out/checkpoints/last"))
    ended = command("resume", "out")
    assert ended.returncode == 0
    assert f"passed over: {file} is damaged: its SHA-256 is not the manifest's\n" in ended.stdout
    assert Path("out/metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    last = Path("checkpoints/last/model.safetensors")
    assert ("out" / last).read_bytes() == (finished_run / last).read_bytes()


def test_a_run_killed_between_saving_best_and_last_of_its_final_epoch_gets_both(command: Command, config: Callable[..., Path]) -> None:
    assert command("run", config(), "fit.phases.0.epochs=1", "--out", "out").returncode == 0
    last = Path("out/checkpoints/last/model.safetensors")
    expected = last.read_bytes()
    last.parent.rename("out/checkpoints/last.new")
    assert command("resume", "out").returncode == 0
    assert last.read_bytes() == expected


def test_with_best_damaged_a_run_chooses_its_best_anew_and_says_so(command: Command, copied_run: Path) -> None:
    damage(copied_run / "checkpoints" / "best")
    best = json.loads((copied_run / "checkpoints" / "last" / "state.json").read_text())["best"]
    ended = command("resume", copied_run)
    assert ended.returncode == 0
    lost = f"checkpoints/best is lost, so epoch {best['epoch']} with val/accuracy {best['value']} is; the best is chosen from here on"
    assert lost in (copied_run / "log.txt").read_text()
    rows = [json.loads(line) for line in (copied_run / "metrics.jsonl").read_text().splitlines()]
    chosen = json.loads((copied_run / "results.json").read_text())["select"]
    assert (chosen["epoch"], chosen["value"]) == (len(rows), rows[-1]["val/accuracy"])


def test_a_checkpoint_of_another_model_is_refused(command: Command, copied_run: Path) -> None:
    text = (copied_run / "config.yaml").read_text()
    (copied_run / "config.yaml").write_text(re.sub(r"dense: \[\d+\]", "dense: [7]", text))
    ended = command("evaluate", copied_run)
    assert ended.returncode == 4
    folder = copied_run / "checkpoints" / "best"
    assert ended.stderr.startswith(f"error: {folder}/model.safetensors does not fit the model; its code or config changed: Error")
    assert ended.stderr.count("\n") == 1


def test_evaluating_or_predicting_from_a_damaged_checkpoint_is_refused(command: Command, copied_run: Path) -> None:
    file = damage(copied_run / "checkpoints" / "best")
    expected = f"{file} is damaged: its SHA-256 is not the manifest's"
    assert_fails(command("evaluate", copied_run), 4, expected)
    assert_fails(command("predict", copied_run, copied_run / "plots" / "curves.png"), 4, expected)


def test_a_run_folder_without_its_environment_cannot_be_gone_on_with(command: Command, copied_run: Path) -> None:
    file = copied_run / "environment.json"
    file.unlink()
    ended = command("resume", copied_run)
    assert_fails(ended, 4, f"{file} cannot be read ([Errno 2] No such file or directory: '{file}'), so the run cannot be gone on with")
    file.write_text("[]")
    ended = command("resume", copied_run)
    assert ended.returncode == 4
    assert ended.stderr.startswith(f"error: {file} cannot be read (")


# --- run folder busy: 5


def test_a_second_process_in_a_run_folder_is_refused(command: Command, config: Callable[..., Path], copied_run: Path) -> None:
    with RunDir(copied_run).lock():
        expected = f"is in use by process {os.getpid()} on {socket.gethostname()}; wait until it ends, or use another run folder"
        assert_fails(command("resume", copied_run), 5, f"{copied_run} {expected}")


# --- non-finite numbers: 6


def test_a_loss_that_is_not_finite_ends_the_run_and_names_samples(command: Command, config: Callable[..., Path]) -> None:
    ended = command("run", config(), "fit.phases.0.optimizer.lr=1e30", "--out", "out")
    assert ended.returncode == 6
    names = r"train/\d{5}, train/\d{5}, train/\d{5}, train/\d{5}, train/\d{5} and \d+ more of its batch"
    rest = "look at these samples, or lower the learning rate or set fit.clip_norm; the last checkpoint is from before"
    assert re.fullmatch(rf"error: the loss of sample {names} is not finite in epoch 1; {rest}\n", ended.stderr)
    assert not Path("out/checkpoints/last").exists()


# --- resources: 7


def test_a_disk_that_fills_up_while_saving_costs_nothing_that_was_saved(
    command: Command, config: Callable[..., Path], finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_file = safetensors.torch.save_file
    saved = []

    def save_until_full(tensors: Any, filename: Any) -> None:
        saved.append(filename)
        if len(saved) == 6:  # model and optimizer of epochs 1 and 2; the optimizer of epoch 3 finds no room
            Path(filename).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, filename)

    monkeypatch.setattr(safetensors.torch, "save_file", save_until_full)
    ended = command("run", config(), "--out", "out")
    name = Path(saved[-1]).parent.name.removesuffix(".new")
    expected = f"checkpoint out/checkpoints/{name} could not be saved: the disk is full; free some space and run `toolkit resume out`"
    assert_fails(ended, 7, expected)
    assert len(Path("out/metrics.jsonl").read_text().splitlines()) == 2
    assert not list(Path("out/checkpoints").glob("*.new"))
    monkeypatch.setattr(safetensors.torch, "save_file", save_file)
    assert command("resume", "out").returncode == 0
    for file in ("metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert ("out" / Path(file)).read_bytes() == (finished_run / file).read_bytes()


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


# --- stopped by a signal: 130 and 143


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_training_saves_a_checkpoint_and_says_how_to_go_on(
    command: Command,
    config: Callable[..., Path],
    finished_run: Path,
    stop_after_epoch: Callable[..., None],
    number: signal.Signals,
    exit_code: int,
) -> None:
    stop_after_epoch(2, number)
    ended = command("run", config(), "--out", "out")
    assert_fails(ended, exit_code, f"stopped by {number.name} after epoch 2; go on with `toolkit resume out`")
    state = json.loads(Path("out/checkpoints/last/state.json").read_text())
    assert (state["epoch"], state["position"]) == (2, 0)
    stop_after_epoch(None)
    assert command("resume", "out").returncode == 0
    for file in ("metrics.jsonl", "checkpoints/last/model.safetensors"):
        assert ("out" / Path(file)).read_bytes() == (finished_run / file).read_bytes()


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("stage", ["build_run", "write_report"])
def test_a_signal_outside_of_training_says_how_to_go_on_too(
    command: Command,
    config: Callable[..., Path],
    finished_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    stage: str,
    number: signal.Signals,
    exit_code: int,
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(f"toolkit.runs.{stage}", lambda *arguments, **options: os.kill(os.getpid(), number))
        ended = command("run", config(), "--out", "out")
    assert_fails(ended, exit_code, f"stopped by {number.name}; go on with `toolkit resume out`")
    assert command("resume", "out").returncode == 0
    assert Path("out/metrics.jsonl").read_bytes() == (finished_run / "metrics.jsonl").read_bytes()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# --- the run folder of a run that did not get to its first epoch


def test_a_folder_whose_run_failed_before_training_is_used_again_by_the_mended_command(
    command: Command, config: Callable[..., Path]
) -> None:
    assert command("run", config(data="mnist"), "--out", "out").returncode == 3
    assert command("run", config(), "fit.phases.0.epochs=1", "--out", "out").returncode == 0


def test_a_second_run_into_a_folder_at_work_is_refused(command: Command, config: Callable[..., Path], copied_run: Path) -> None:
    with RunDir(copied_run).lock():
        ended = command("run", config(), "--out", copied_run)
    assert ended.returncode == 5
    assert ended.stderr.startswith(f"error: {copied_run} is in use by process {os.getpid()} on ")
