"""`toolkit compare`: runs side by side."""

from __future__ import annotations

import csv
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

import toolkit
from tests.commands import Command
from toolkit.data.images import read_image
from toolkit.errors import ConfigError, DataError
from toolkit.reporting.files import read_jsonl
from toolkit.studies.compare import compare


@pytest.fixture(scope="module")
def small_run(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = ["fit.phases.0.epochs=1", "model={name: mlp, hidden: [8]}", "plots=[]"]
    return toolkit.run(tiny, settings, out=tmp_path_factory.mktemp("compared") / "small").folder


def table(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((out / "compare.csv").read_text().splitlines()))


def test_the_table_says_what_the_run_folders_say(finished_run: Path, small_run: Path, tmp_path: Path, command: Command) -> None:
    ended = command("compare", finished_run, small_run, "--out", tmp_path / "out")
    assert ended.returncode == 0
    rows = table(tmp_path / "out")
    assert [row["run"] for row in rows] == ["tiny", "small"]
    for row, folder in zip(rows, (finished_run, small_run), strict=True):
        results = json.loads((folder / "results.json").read_text())
        assert float(row["test/accuracy"]) == results["scores"]["test/accuracy"]
        assert int(row["parameters"]) == results["model"]["parameters"]
        each = results["model"]["parameters"] / (100 * results["scores"]["test/accuracy"])
        assert int(row["parameters per % of test/accuracy"]) == round(each)
        seconds = statistics.median(timing["seconds"] for timing in read_jsonl(folder / "timings.jsonl"))
        assert float(row["time per epoch (s)"]) == seconds
    assert [row["data"] for row in rows] == ["synthetic_shapes", "synthetic_shapes"]
    assert [row["layers"] for row in rows] == ["1 conv + 2 dense", "2 dense"]
    assert "test/accuracy/circle" not in rows[0]
    assert (tmp_path / "out" / "compare.md").read_text() in ended.stdout
    assert "data:image/png;base64," in (tmp_path / "out" / "compare.html").read_text()
    assert read_image(tmp_path / "out" / "compare.png").std() > 5  # something is drawn


def test_the_first_chosen_score_is_set_against_the_parameters(finished_run: Path, small_run: Path, tmp_path: Path) -> None:
    compare([finished_run, small_run], out=tmp_path, scores=["val/accuracy", "test/accuracy"])
    (row, _) = table(tmp_path)
    assert list(row)[4:8] == ["parameters", "val/accuracy", "test/accuracy", "parameters per % of val/accuracy"]


def test_a_checkpoint_that_cannot_be_read_is_named(copied_run: Path, tmp_path: Path) -> None:
    weights = copied_run / "checkpoints" / "last" / "model.safetensors"
    weights.unlink()
    weights.write_bytes(b"no weights")
    with pytest.raises(DataError, match=rf"^{weights}: .*; `toolkit resume {copied_run}` goes on from an older checkpoint$"):
        compare([copied_run], out=tmp_path / "out")


def test_runs_of_one_config_are_told_apart_by_their_commands(finished_run: Path, copied_run: Path, tmp_path: Path) -> None:
    environment = json.loads((copied_run / "environment.json").read_text())
    (copied_run / "environment.json").write_text(json.dumps(environment | {"command": "toolkit run tiny.yaml seed=9"}))
    told = compare([finished_run, copied_run], out=tmp_path / "out").with_suffix(".md").read_text()
    assert "- copied: toolkit run tiny.yaml seed=9\n" in told


PREPARED = "These runs prepared their pictures differently (size, padding), or did not see the same ones: check before comparing scores."
DIFFERENT = "These runs saw different data, so their scores do not compare."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, None),
        ({"fingerprint": "other"}, PREPARED),
        ({"fingerprint": "other", "test": None}, PREPARED),
        ({"fingerprint": "other", "test": 7}, DIFFERENT),
        ({"fingerprint": "other", "name": "mnist"}, DIFFERENT),
    ],
    ids=["the same", "another size or other pictures", "the test part unread", "other numbers", "another name"],
)
def test_no_more_is_said_about_the_data_of_runs_than_is_known(
    finished_run: Path, copied_run: Path, tmp_path: Path, change: dict[str, Any], said: str | None
) -> None:
    results = json.loads((copied_run / "results.json").read_text())
    results["data"] = {key: value for key, value in (results["data"] | change).items() if value is not None}
    (copied_run / "results.json").write_text(json.dumps(results))
    told = compare([finished_run, copied_run], out=tmp_path / "out").with_suffix(".md").read_text()
    assert [line for line in told.splitlines() if line.startswith("- These runs")] == ([f"- {said}"] if said else [])


def test_what_a_run_says_against_its_own_scores_is_repeated(finished_run: Path, copied_run: Path, tmp_path: Path) -> None:
    results = json.loads((copied_run / "results.json").read_text())
    (copied_run / "results.json").write_text(json.dumps(results | {"caveats": ["the threshold was chosen on test data"]}))
    told = compare([finished_run, copied_run], out=tmp_path / "out").with_suffix(".md").read_text()
    assert [line for line in told.splitlines() if "threshold" in line] == ["- copied: the threshold was chosen on test data"]


def test_where_a_finished_run_has_no_test_scores_those_of_validation_are_shown_too(
    finished_run: Path, copied_run: Path, tmp_path: Path
) -> None:
    results = json.loads((copied_run / "results.json").read_text())
    results["scores"] = {name: value for name, value in results["scores"].items() if name.startswith("val/")}
    (copied_run / "results.json").write_text(json.dumps(results))
    compare([finished_run, copied_run], out=tmp_path / "out")
    tested, untested = table(tmp_path / "out")
    assert untested["test/accuracy"] == ""
    assert float(tested["val/accuracy"]) == float(untested["val/accuracy"]) == results["scores"]["val/accuracy"]


def test_damaged_results_are_named_with_the_way_out(copied_run: Path, tmp_path: Path) -> None:
    (copied_run / "results.json").write_text("{")
    way_out = rf"results\.json: not JSON: .*; delete it and `toolkit resume {copied_run}`$"
    with pytest.raises(DataError, match=way_out):
        compare([copied_run], out=tmp_path / "out")


def test_nothing_is_counted_per_percent_of_a_score_of_which_less_is_better(finished_run: Path, copied_run: Path, tmp_path: Path) -> None:
    results = json.loads((copied_run / "results.json").read_text())
    assert "loss" in results["lower_is_better"]
    assert "accuracy" not in results["lower_is_better"]
    results["scores"]["test/error_min"] = 0.8
    results["lower_is_better"] += ["error_min"]
    (copied_run / "results.json").write_text(json.dumps(results))
    compare([copied_run], out=tmp_path, scores=["test/error_min"])
    assert not any("per %" in column for column in table(tmp_path)[0])


def test_a_run_that_has_not_finished_shows_its_curves_and_says_so(finished_run: Path, copied_run: Path, tmp_path: Path) -> None:
    (copied_run / "results.json").unlink()
    page = compare([finished_run, copied_run], out=tmp_path / "out")
    assert "copied has not finished: 3 epochs are done" in page.with_suffix(".md").read_text()
    assert table(tmp_path / "out")[1]["test/accuracy"] == ""


def test_a_score_that_no_run_has_is_refused(finished_run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no run has a score named 'test/acuracy'; there are: val/loss, .*test/accuracy"):
        compare([finished_run], out=tmp_path, scores=["test/acuracy"])


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^no run in .*: looked for "):
        compare([tmp_path], out=tmp_path / "out")
