"""`toolkit sweep`: trials run, pruned, resumed and shared."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.commands import Command
from toolkit import runs
from toolkit.errors import ConfigError, DataError, StoppedError

SWEEP = """\
config: tiny.yaml
set: {fit.phases.0.epochs: 2, plots: [], model: {name: mlp, hidden: [8]}}
space:
  fit.phases.0.optimizer.lr: {low: 1e-4, high: 1e-1, log: true}
  model.hidden: {choices: [[8], [16]]}
trials: 2
metric: val/loss
direction: minimize
sampler: {name: random, seed: 0}
"""


@pytest.fixture
def sweep(tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(runs, "plot_curves", lambda *args, **kwargs: [])  # most of the time of so small a run
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    file = tmp_path / "sweep.yaml"
    file.write_text(SWEEP)
    return file


def trials(out: Path, storage: str | None = None) -> list[Any]:
    optuna = importlib.import_module("optuna")
    return list(optuna.load_study(study_name="sweep", storage=storage or f"sqlite:///{out}/study.db").trials)


def refuses(message: str) -> Callable[..., Any]:
    """In the place of `runs.run`."""

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise ConfigError(message)

    return refuse


def test_without_optuna_the_error_says_how_to_install_it(sweep: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'", name=name)

    monkeypatch.setattr(importlib, "import_module", absent)
    ended = command("sweep", sweep)
    assert ended.returncode == 2
    assert ended.stderr == "error: toolkit sweep needs Optuna, which is not installed; pip install 'vision-toolkit[sweep]'\n"


class TestWithOptuna:
    @pytest.fixture(autouse=True)
    def _optuna(self) -> None:
        pytest.importorskip("optuna")

    def test_a_sweep_keeps_every_trial_judges_it_on_validation_and_leaves_the_test_data_alone(
        self, sweep: Path, tmp_path: Path, command: Command
    ) -> None:
        out = tmp_path / "out"
        ended = command("sweep", sweep, "--out", out)
        assert (ended.returncode, ended.stderr) == (0, "")
        values = []
        for number, trial in enumerate(trials(out)):
            results = json.loads((out / "trials" / f"{number:04d}" / "results.json").read_text())
            assert trial.value == results["scores"]["val/loss"]
            assert not any(name.startswith("test/") for name in results["scores"])
            config = yaml.safe_load((out / "trials" / f"{number:04d}" / "config.yaml").read_text())
            assert config["fit"]["phases"][0]["optimizer"]["lr"] == trial.params["fit.phases.0.optimizer.lr"]
            assert str(config["model"]["hidden"]) == trial.params["model.hidden"]
            values.append(trial.value)
        assert len(values) == 2
        best = trials(out)[values.index(min(values))]
        assert f"fit.phases.0.optimizer.lr={best.params['fit.phases.0.optimizer.lr']}" in ended.stdout.splitlines()[-1]
        assert "test=false" not in ended.stdout
        assert {"sweep.md", "sweep.csv", "sweep.html", "sweep.png"} <= {file.name for file in out.iterdir()}

        before = [trial.params for trial in trials(out)]
        sweep.write_text(SWEEP.replace("trials: 2", "trials: 3"))
        assert command("sweep", sweep, "--out", out).returncode == 0
        after = [trial.params for trial in trials(out)]
        assert after[:2] == before
        assert after[2] not in before  # a seeded sampler goes on and does not begin again

    def test_a_stopped_trial_is_resumed_with_its_own_options(
        self, sweep: Path, tmp_path: Path, stop_after_epoch: Callable[..., None]
    ) -> None:
        from toolkit.studies.sweep import run_sweep

        sweep.write_text(SWEEP.replace("trials: 2", "trials: 1"))
        stop_after_epoch(1)
        with pytest.raises(StoppedError, match=r"^stopped by SIGTERM after epoch 1; the same command goes on with trial 0$"):
            run_sweep(sweep, out=tmp_path / "out")
        (stopped,) = trials(tmp_path / "out")
        assert (stopped.state.name, [*stopped.intermediate_values]) == ("RUNNING", [1])
        stop_after_epoch(None)
        run_sweep(sweep, out=tmp_path / "out")
        (done,) = trials(tmp_path / "out")
        assert (done.state.name, [*done.intermediate_values], done.params) == ("COMPLETE", [1, 2], stopped.params)
        assert "resumed after epoch 1" in (tmp_path / "out" / "trials" / "0000" / "log.txt").read_text()

    @pytest.mark.parametrize(("spared", "state", "epochs"), [(0, "PRUNED", 1), (1, "PRUNED", 2), (2, "COMPLETE", 3)])
    def test_a_trial_worse_than_the_median_is_pruned_after_the_epochs_that_are_spared_but_never_after_its_last(
        self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spared: int, state: str, epochs: int
    ) -> None:
        from toolkit.studies.sweep import run_sweep

        optuna = importlib.import_module("optuna")
        drawn = ["good", "good", "bad"]
        monkeypatch.setattr(optuna.samplers.RandomSampler, "sample_independent", lambda self, study, trial, *rest: drawn[trial.number])
        rates = "{choices: {good: {fit.phases.0.optimizer.lr: 1e-2}, bad: {fit.phases.0.optimizer.lr: 50.0}}}"
        text = f"{SWEEP[: SWEEP.index('  fit.phases')]}  rate: {rates}\n{SWEEP[SWEEP.index('trials') :]}"
        pruner = f"pruner: {{name: median, startup_trials: 1, warmup_epochs: {spared}}}"
        sweep.write_text(text.replace("trials: 2", f"trials: 3\n{pruner}").replace("epochs: 2", "epochs: 3"))
        page = run_sweep(sweep, out=tmp_path / "out").page
        done = [(trial.state.name, len(trial.intermediate_values)) for trial in trials(tmp_path / "out")]
        assert done == [("COMPLETE", 3), ("COMPLETE", 3), (state, epochs)]
        pruned = f"| 0002 | \N{EN DASH} | bad | {epochs} |" in page.with_suffix(".md").read_text()
        assert pruned == (state == "PRUNED")

    def test_a_resumed_trial_is_pruned_as_the_file_says_and_not_by_optunas_own_rule(
        self, sweep: Path, tmp_path: Path, stop_after_epoch: Callable[..., None]
    ) -> None:
        """Optuna's own pruner ends a trial below the median of five others from the first epoch on."""
        from toolkit.studies.sweep import run_sweep

        optuna = importlib.import_module("optuna")
        sweep.write_text(SWEEP.replace("trials: 2", "trials: 1"))
        stop_after_epoch(1)
        with pytest.raises(StoppedError, match=r"trial 0$"):
            run_sweep(sweep, out=tmp_path / "out")
        study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{tmp_path}/out/study.db")
        (stopped,) = study.trials
        for _ in range(5):
            steps = {1: 1e-6, 2: 1e-6}
            study.add_trial(
                optuna.trial.create_trial(params=stopped.params, distributions=stopped.distributions, value=1e-6, intermediate_values=steps)
            )
        stop_after_epoch(None)
        run_sweep(sweep, out=tmp_path / "out")
        assert trials(tmp_path / "out")[0].state.name == "COMPLETE"

    def test_data_that_are_not_there_cost_no_trial(self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from toolkit.studies.sweep import run_sweep

        monkeypatch.setenv("TOOLKIT_DATA", str(tmp_path / "nowhere"))
        sweep.write_text(SWEEP.replace("plots: []", "plots: [], data: {name: mnist}").replace("trials: 2", "trials: 1"))
        for _ in range(2):
            with pytest.raises(DataError, match=r"no MNIST below"):
                run_sweep(sweep, out=tmp_path / "out")
        assert [trial.state.name for trial in trials(tmp_path / "out")] == ["RUNNING"]

    def test_a_misspelt_metric_ends_the_sweep_before_anything_is_trained(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        sweep.write_text(SWEEP.replace("metric: val/loss", "metric: val/acuracy"))
        with pytest.raises(ConfigError, match=r"fit.select.metric: no score named 'val/acuracy'; did you mean 'val/accuracy'\?$"):
            run_sweep(sweep, out=tmp_path / "out")
        assert not (tmp_path / "out" / "trials" / "0000" / "metrics.jsonl").exists()

    def test_a_trial_without_a_possible_config_fails_once_and_the_next_start_goes_on_with_another(
        self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from toolkit.studies.sweep import run_sweep

        train = runs.run
        monkeypatch.setattr(runs, "run", refuses("fit.batch_size: no GPU here"))
        with pytest.raises(ConfigError, match=r"^fit.batch_size: no GPU here$"):
            run_sweep(sweep, out=tmp_path / "out")
        assert [trial.state.name for trial in trials(tmp_path / "out")] == ["FAIL"]
        monkeypatch.setattr(runs, "run", train)
        page = run_sweep(sweep, out=tmp_path / "out").page
        assert [trial.state.name for trial in trials(tmp_path / "out")] == ["FAIL", "COMPLETE"]
        assert "- trial 0: ConfigError: fit.batch_size: no GPU here\n" in page.with_suffix(".md").read_text()

    def test_a_later_trial_without_a_possible_config_does_not_end_the_sweep(
        self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from toolkit.studies.sweep import run_sweep

        sweep.write_text(SWEEP.replace("trials: 2", "trials: 3"))
        train, refuse = runs.run, refuses("model.hidden: too many")
        monkeypatch.setattr(runs, "run", lambda *args, out, **kwargs: (refuse if out.name == "0001" else train)(*args, out=out, **kwargs))
        run_sweep(sweep, out=tmp_path / "out")
        assert [trial.state.name for trial in trials(tmp_path / "out")] == ["COMPLETE", "FAIL", "COMPLETE"]

    def test_a_trial_whose_score_is_undefined_fails_with_the_reason(
        self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from toolkit.studies.sweep import run_sweep

        done = runs.RunResult(tmp_path, {"val/accuracy": 0.5}, {"val/loss": "the metric gave nan"}, tmp_path / "report.html")
        monkeypatch.setattr(runs, "run", lambda *args, **kwargs: done)
        page = run_sweep(sweep, out=tmp_path / "out").page
        assert [trial.state.name for trial in trials(tmp_path / "out")] == ["FAIL", "FAIL"]
        assert "- trial 1: val/loss has no number: the metric gave nan\n" in page.with_suffix(".md").read_text()

    def test_a_score_that_no_run_gives_ends_the_sweep(self, sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from toolkit.studies.sweep import run_sweep

        done = runs.RunResult(tmp_path, {"val/accuracy": 0.5}, {}, tmp_path / "report.html")
        monkeypatch.setattr(runs, "run", lambda *args, **kwargs: done)
        with pytest.raises(ConfigError, match=r"^the run gave no number for val/loss; there are: val/accuracy$"):
            run_sweep(sweep, out=tmp_path / "out")

    def test_a_wrong_direction_ends_the_sweep_after_its_first_trial_and_every_later_start(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        sweep.write_text(SWEEP.replace("direction: minimize", "direction: maximize"))
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"sweep\.yaml:8:1: direction: val/loss is better lower, but direction is maximize"):
                run_sweep(sweep, out=tmp_path / "out")
            assert [trial.state.name for trial in trials(tmp_path / "out")] == ["COMPLETE"]

    def test_a_trial_left_under_way_elsewhere_is_told_with_how_to_make_up_for_it(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        url = f"sqlite:///{tmp_path}/shared.db"
        study = importlib.import_module("optuna").create_study(storage=url, study_name="sweep", direction="minimize")
        study.ask().set_user_attr("folder", "dead:/runs/trials/0000")
        text = run_sweep(sweep, out=tmp_path / "out", storage=url).page.with_suffix(".md").read_text()
        assert [trial.state.name for trial in trials(tmp_path, url)] == ["RUNNING", "COMPLETE"]
        assert [line for line in text.splitlines() if "under way, or" in line] == [
            "- trial 0 is under way, or was when its process ended, in dead:/runs/trials/0000; the same command there goes on with it, "
            "and where that is lost, raise 'trials' by one to make up for it"
        ]

    def test_with_synthetic_a_sweep_says_what_its_trials_saw(self, sweep: Path, tiny: dict[str, Any], tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(tiny | {"data": "mnist", "synthetic": {"data": tiny["data"]}}))
        sweep.write_text(SWEEP.replace("plots: []", "plots: [], data.limit: 10").replace("trials: 2", "trials: 1"))
        done = run_sweep(sweep, out=tmp_path / "out", synthetic=True)
        told = "- with --synthetic all trials are of synthetic_shapes; the sweep's settings of data are left out\n"
        assert told in done.page.with_suffix(".md").read_text()
        assert done.best is not None
        assert "data.limit" not in done.best

    def test_the_command_of_the_best_trial_has_the_sweeps_own_flags(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        plugin = tmp_path / "mine.py"
        plugin.write_text("")
        sweep.write_text(SWEEP.replace("trials: 2", "trials: 1"))
        best = run_sweep(sweep, out=tmp_path / "out", synthetic=True, plugin_files=[plugin]).best
        assert best is not None
        assert best.endswith(f" --synthetic --plugin {plugin}")
        assert "fit.select.metric" in best

    def test_two_folders_share_a_study_through_its_storage(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        url = f"sqlite:///{tmp_path}/shared.db"
        for wanted, folder in ((1, "a"), (2, "b")):
            sweep.write_text(SWEEP.replace("trials: 2", f"trials: {wanted}"))
            run_sweep(sweep, out=tmp_path / folder, storage=url)
        assert [trial.number for trial in trials(tmp_path, url)] == [0, 1]
        assert [folder.name for folder in (tmp_path / "b" / "trials").iterdir()] == ["0001"]

    def test_a_study_with_another_space_is_refused(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        sweep.write_text(SWEEP.replace("trials: 2", "trials: 1"))
        run_sweep(sweep, out=tmp_path / "out")
        sweep.write_text(SWEEP.replace("high: 1e-1", "high: 1.0"))
        told = r"^study 'sweep' in sqlite:.* began with space.fit.phases.0.optimizer.lr.high 0.1, now it is 1.0; put it back, or begin"
        with pytest.raises(ConfigError, match=told):
            run_sweep(sweep, out=tmp_path / "out")

    def test_a_storage_that_cannot_be_opened_is_told_without_its_password(self, sweep: Path, tmp_path: Path) -> None:
        from toolkit.studies.sweep import run_sweep

        with pytest.raises(ConfigError, match=r"^cannot open the storage nosuch://\.\.\.@host/db: "):
            run_sweep(sweep, out=tmp_path / "out", storage="nosuch://me:secret@host/db")
