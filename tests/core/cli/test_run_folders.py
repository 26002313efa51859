"""`run`, `evaluate`, `predict`, `report` and `bench`: what they print and where they write."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.commands import Command
from toolkit.data.images import read_image, write_png


def test_run_prints_the_main_scores_and_where_the_report_is(
    command: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = command("run", config)
    assert (ended.returncode, ended.stderr) == (0, "")
    runs = tmp_path / "runs" / "tiny"
    report = Path(ended.stdout.splitlines()[-1].removeprefix("report: "))
    assert report.resolve() == (runs / "latest" / "report.html").resolve()
    scores = json.loads((runs / "latest" / "results.json").read_text())["scores"]
    assert f"test/accuracy  {scores['test/accuracy']:.4f}\n" in ended.stdout
    assert "test/accuracy/circle" not in ended.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "tiny.yaml"]


def test_evaluate_repeats_the_scores_of_the_run(command: Command, finished_run: Path) -> None:
    expected = json.loads((finished_run / "results.json").read_text())["scores"]
    for split, prefix in (("test", "test"), ("validation", "val")):
        ended = command("evaluate", finished_run, "--split", split, "--json")
        assert ended.returncode == 0
        scores = json.loads(ended.stdout)["scores"]
        assert scores == {name: value for name, value in expected.items() if name.startswith(f"{prefix}/")}
    assert f"test/accuracy           {expected['test/accuracy']:.4f}\n" in command("evaluate", finished_run).stdout


def test_a_command_with_a_wrong_path_does_not_take_the_last_runs_place(
    command: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command("run", config)
    latest = (tmp_path / "runs" / "tiny" / "latest").readlink()
    assert command("run", config, "data={name: mnist, root: nowhere}").returncode == 3
    assert (tmp_path / "runs" / "tiny" / "latest").readlink() == latest


def test_the_log_says_whose_scores_follow(command: Command, finished_run: Path) -> None:
    best = json.loads((finished_run / "results.json").read_text())["select"]
    told = f"scores of epoch {best['epoch']} of 1, the best val/accuracy ({best['value']:.4g})"
    assert told in (finished_run / "log.txt").read_text()


def test_evaluate_takes_data_that_are_fewer_than_a_training_batch(command: Command, finished_run: Path) -> None:
    ended = command("evaluate", finished_run, "data.size=5")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "test/accuracy" in ended.stdout


def test_evaluate_changes_nothing_in_the_run_folder(command: Command, finished_run: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in finished_run.rglob("*")}
    command("evaluate", finished_run)
    assert {file: file.stat().st_mtime_ns for file in finished_run.rglob("*")} == before


def test_predict_prints_a_json_line_and_draws_a_picture_for_each_file(command: Command, finished_run: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    files = [tmp_path / "a" / "x.png", tmp_path / "b" / "x.png"]
    for file in files:
        file.parent.mkdir()
        write_png(file, noise.integers(0, 256, (16, 16, 3)).astype(np.uint8))
    ended = command("predict", finished_run, *files, "--out", tmp_path / "drawn")
    assert (ended.returncode, ended.stderr) == (0, "")
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [answer["image"] for answer in answers] == [str(file) for file in files]
    assert all(0 < answer["probability"] <= 1 and answer["class"] == answer["top5"][0][0] for answer in answers)
    drawn = [Path(answer["picture"]) for answer in answers]
    assert len(set(drawn)) == 2, "two files of one name need two pictures"
    assert all(read_image(file).shape[2] == 3 and file.parent == tmp_path / "drawn" for file in drawn)


def test_predict_takes_the_pictures_of_a_folder_in_the_order_of_their_names(command: Command, finished_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("b.png", "a.PNG"):
        write_png(folder / name, np.zeros((16, 16, 3), np.uint8))
    (folder / "notes.txt").write_text("two photos")
    ended = command("predict", finished_run, folder, "--out", tmp_path / "drawn")
    assert [json.loads(line)["image"] for line in ended.stdout.splitlines()] == [str(folder / "a.PNG"), str(folder / "b.png")]


def test_predict_tells_a_folder_without_pictures(command: Command, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    ended = command("predict", finished_run, tmp_path / "photos", "--out", tmp_path / "drawn")
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"error: no picture in the folder {tmp_path}/photos; expected files that end with .bmp, .jpeg, ")


def test_predict_tells_every_missing_file_before_the_first_answer(command: Command, finished_run: Path, tmp_path: Path) -> None:
    there = tmp_path / "x.png"
    write_png(there, np.zeros((16, 16, 3), np.uint8))
    ended = command("predict", finished_run, there, tmp_path / "a.png", tmp_path / "b.png", "--out", tmp_path / "drawn")
    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == f"error: no such picture: {tmp_path}/a.png, {tmp_path}/b.png\n"
    assert not (tmp_path / "drawn").exists()


def test_predict_goes_on_after_a_broken_file_and_names_it_at_the_end(command: Command, finished_run: Path, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        write_png(tmp_path / name, np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "b.png").write_text("<html>")
    ended = command("predict", finished_run, *(tmp_path / name for name in ("a.png", "b.png", "c.png")), "--out", tmp_path / "drawn")
    assert [Path(json.loads(line)["image"]).name for line in ended.stdout.splitlines()] == ["a.png", "c.png"]
    assert ended.returncode == 3
    assert ended.stderr.startswith(f"error: {tmp_path}/b.png: ")


def test_predict_tells_a_file_that_is_no_picture(command: Command, finished_run: Path, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_text("<html>")
    ended = command("predict", finished_run, tmp_path / "x.png", "--out", tmp_path / "drawn")
    assert ended.returncode == 3
    expected = f"error: {tmp_path}/x.png: is no picture (it starts with b'<html>'); expected JPEG, PNG, WebP, BMP, TIFF or PGM/PPM\n"
    assert ended.stderr == expected


def test_a_model_trained_on_a_device_that_is_not_here_can_be_used(command: Command, finished_run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(finished_run, tmp_path / "copy"))
    text = (copy / "config.yaml").read_text()
    assert "device: cpu" in text
    (copy / "config.yaml").write_text(text.replace("device: cpu", "device: xpu"))
    ended = command("evaluate", copy, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    write_png(tmp_path / "x.png", np.zeros((16, 16, 3), np.uint8))
    assert command("predict", copy, tmp_path / "x.png", "--out", tmp_path / "drawn").returncode == 0
    ended = command("resume", copy)  # going on elsewhere would not give the same numbers
    assert (ended.returncode, ended.stderr) == (2, "error: runtime.device: no device 'xpu' on this machine; use auto or cpu\n")


def test_report_writes_the_same_page_again_from_the_folder_alone(command: Command, finished_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished_run, tmp_path / "copy")
    page = copy / "report.html"
    before = page.read_text()
    page.unlink()
    ended = command("report", copy)
    assert (ended.returncode, ended.stdout) == (0, f"{page}\n")
    assert page.read_text().count("<img") == before.count("<img") > 0
    assert len(page.read_text()) == pytest.approx(len(before), rel=0.01)


def test_bench_prints_speeds_as_json_and_as_lines_and_writes_nothing(
    command: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ("--seconds", "0.01", "--rounds", "1")
    result = json.loads(command("bench", config, *tiny, "--json").stdout)
    assert (result["batch_size"], result["rounds"]) == (8, 1)
    assert result["efficiency"] == pytest.approx(result["real"] / result["bare"])
    assert min(result[name] for name in ("real", "bare", "bare_without_transforms", "data")) > 0
    lines = command("bench", config, *tiny).stdout.splitlines()
    assert lines[1].startswith("training loop ")
    assert lines[-3].startswith("efficiency ")
    assert lines[-2].startswith("peak memory ")
    assert lines[-1].startswith("verdict ")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
