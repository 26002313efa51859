import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from toolkit.errors import DataError
from toolkit.reporting.curves import plot_curves
from toolkit.reporting.figures import new_figure, save_figure
from toolkit.reporting.files import rewrite_jsonl, write_json_atomic
from toolkit.reporting.report import write_report
from toolkit.reporting.run_dir import RunDir

RESULTS: dict[str, Any] = {
    "scores": {"test/loss": 0.4, "test/accuracy": 0.876543, "val/accuracy": 0.88, "test/accuracy/cat": 0.5, "test/accuracy/dog": 0.9},
    "undefined": {"test/auc": "needs two classes among the samples"},
    "config": "classification_mnist_cnn",
    "task": "classification",
    "data": {"name": "mnist", "train": 54000, "validation": 6000, "test": 10000, "fingerprint": "sha256:12"},
    "synthetic": False,
    "select": {"metric": "val/accuracy", "epoch": 2, "value": 0.88, "use": "best"},
    "model": {"name": "cnn", "parameters": 1199882},
    "seconds": 123.4,
    "device": "cpu",
    "precision": "bfloat16",
    "seed": 12345,
}
ROWS = [
    {"epoch": 1, "phase": "all", "train/loss": 2.0, "val/loss": 2.5, "val/accuracy": 0.25},
    {"epoch": 2, "phase": "all", "train/loss": 1.0, "val/loss": 1.5, "val/accuracy": 0.88},
]
CONFIG = "task: {name: classification}\ndata: mnist\nmodel: {name: cnn}\nfit: {phases: [{epochs: 5}, {epochs: 3}]}\n"


class Page(HTMLParser):
    """Visible text and every address of a report."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pieces: list[str] = []
        self.sources: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = re.sub(r"\s+", " ", " ".join(self.pieces))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] != ["style"]:
            self.pieces.append(data)


def run_folder(path: Path, results: dict[str, Any] | None) -> RunDir:
    run_dir = RunDir.at(path / "runs" / "classification_mnist_cnn" / "20250301-120000-abcdef")
    run_dir.config_yaml.write_text(CONFIG)
    rewrite_jsonl(run_dir.metrics_jsonl, ROWS)
    rewrite_jsonl(run_dir.timings_jsonl, [{"epoch": 1, "seconds": 10.0, "images_per_s": 4000.0}])
    write_json_atomic(
        run_dir.environment_json, {"python": "3.11.7", "versions": {"torch": "2.10.0"}, "command": "toolkit run x.yaml seed=3"}
    )
    if results is not None:
        write_json_atomic(run_dir.results_json, results)
    return run_dir


def report(path: Path, results: dict[str, Any] | None) -> Page:
    return Page(write_report(run_folder(path, results)))


def test_the_report_tells_scores_choice_data_model_and_command(tmp_path: Path) -> None:
    text = report(tmp_path, RESULTS).text
    for expected in (
        "classification_mnist_cnn",
        "classification · mnist · cnn",
        "run 20250301-120000-abcdef",
        "test accuracy 0.8765",
        "validation accuracy 0.8800",
        "time 2 min 3 s on cpu",
        "The scores are those of checkpoints/best: epoch 2 has the best val/accuracy (0.8800) of 2 epochs",
        "test/auc : needs two classes among the samples",
        "Train 54,000",
        "Parameters 1,199,882",
        "Seed 12345",
        "torch 2.10.0",
        "4,000 images/s (median)",
        "toolkit run x.yaml seed=3",
        "fit: {phases: [{epochs: 5}, {epochs: 3}]}",
    ):
        assert expected in text
    assert "synthetic" not in text
    assert "has not finished" not in text


def test_the_score_that_chose_the_epoch_stands_first(tmp_path: Path) -> None:
    other = RESULTS | {"scores": {"test/f1": 0.1, "test/accuracy": 0.2}, "select": {"metric": "val/accuracy"}}
    text = report(tmp_path, other).text
    assert text.index("test accuracy 0.2000") < text.index("test f1 0.1000")


def test_synthetic_data_wear_a_badge(tmp_path: Path) -> None:
    assert "synthetic data" in report(tmp_path, RESULTS | {"synthetic": True}).text


def test_the_last_checkpoint_is_named_where_the_config_asks_for_it(tmp_path: Path) -> None:
    select = {"metric": "val/accuracy", "epoch": 2, "value": 0.88, "use": "last"}
    text = report(tmp_path, RESULTS | {"select": select}).text
    assert "The scores are those of checkpoints/last, as the config asks; epoch 2 has the best val/accuracy" in text


def test_an_interrupted_run_says_so_and_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = report(tmp_path, None).text
    assert "This run has not finished: 2 of 8 epochs are done, and there are no test scores." in text
    assert "validation accuracy 0.8800" in text
    assert "classification · mnist · cnn" in text
    assert "toolkit resume runs/classification_mnist_cnn/20250301-120000-abcdef" in text
    assert "toolkit run x.yaml seed=3" in text


def test_a_run_that_never_began_and_one_whose_results_are_bare_have_reports(tmp_path: Path) -> None:
    empty = RunDir.at(tmp_path / "empty")
    assert "No epoch has ended yet." in Page(write_report(empty)).text
    bare = RunDir.at(tmp_path / "bare")
    write_json_atomic(bare.results_json, {"scores": {"test/accuracy": 1}})
    assert "test accuracy 1" in Page(write_report(bare)).text
    odd = RunDir.at(tmp_path / "odd")
    write_json_atomic(odd.results_json, {"scores": None, "data": "mnist", "select": None, "model": 3, "seconds": None})
    odd.config_yaml.write_text("a: [")
    assert "a: [" in Page(write_report(odd)).text


def test_pictures_are_inside_the_file_with_captions_and_nothing_is_fetched(tmp_path: Path) -> None:
    run_dir = run_folder(tmp_path, RESULTS)
    plot_curves(ROWS, run_dir.plots, best_epoch=2)
    for name in ("test_roc", "b"):
        figure, _ = new_figure()
        save_figure(figure, run_dir.plots / f"{name}.png")
    page = Page(write_report(run_dir))
    assert page.tags.count("img") == 3  # the curves together, not each by itself
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert base64.b64decode(page.sources[0].split(",")[1]) == (run_dir.plots / "curves.png").read_bytes()
    assert "ROC, test" in page.text
    html = run_dir.report_html.read_text()
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "http" not in html
    assert "url(" not in html


def test_everything_from_outside_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\"'&"
    results = json.loads(json.dumps(RESULTS).replace("mnist", "EVIL").replace("cat", "EVIL").replace("needs two", "EVIL"))
    results = json.loads(json.dumps(results).replace("EVIL", json.dumps(evil)[1:-1]))
    run_dir = run_folder(tmp_path, results)
    run_dir.log_txt.write_text(evil)
    run_dir.config_yaml.write_text(evil)
    save_figure(new_figure()[0], run_dir.plots / "<script>x.png")
    page = Page(write_report(run_dir))
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>\"'&") >= 5


def test_a_long_list_of_parts_is_folded_away(tmp_path: Path) -> None:
    few = report(tmp_path / "a", RESULTS)
    many = report(tmp_path / "b", RESULTS | {"scores": {f"test/accuracy/{index}": 0.5 for index in range(30)}})
    assert many.tags.count("details") == few.tags.count("details") + 1
    assert "All 30" in many.text


def test_only_the_end_of_a_long_log_is_shown(tmp_path: Path) -> None:
    run_dir = run_folder(tmp_path, RESULTS)
    run_dir.log_txt.write_text("".join(f"line {number}.\n" for number in range(500)))
    text = Page(write_report(run_dir)).text
    assert "line 499." in text
    assert "line 300." in text
    assert "line 299." not in text


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    run_dir = run_folder(tmp_path, RESULTS)
    run_dir.results_json.write_text("{")
    with pytest.raises(DataError, match=r"results\.json: not JSON: .*; delete it, and the report is written without it"):
        write_report(run_dir)
    run_dir.results_json.unlink()
    run_dir.metrics_jsonl.write_text("{\n{}\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: not JSON"):
        write_report(run_dir)


def test_a_picture_that_is_no_png_is_named(tmp_path: Path) -> None:
    run_dir = run_folder(tmp_path, RESULTS)
    run_dir.plots.mkdir()
    (run_dir.plots / "half.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"plots/half\.png is no PNG picture; delete it"):
        write_report(run_dir)
