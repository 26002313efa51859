"""The arithmetic, the table and the choices of `compare.py`; nothing is trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from compare import JOBS, arguments, made, take_turns, try_all
from peers import lightning_loop
from peers.contender import AbsentError, Choice, Stopwatch
from standings import JobStanding, PeerStanding, Spread, Tried, fastest, table

HERE = Path(__file__).parent
FAST, SLOW = Choice(2, "bfloat16"), Choice(0, "float32")


class Scripted:
    """A contender whose rates are written down."""

    def __init__(self, rates: dict[Choice, float]) -> None:
        self.rates = rates

    def images_per_s(self, choice: Choice, seconds: float) -> float:
        return self.rates[choice]

    def close(self) -> None: ...


def standing() -> JobStanding:
    tried = (Tried(SLOW, 900.0), Tried(FAST, 1100.0))
    peers = {"timm": PeerStanding(tried, FAST, (1000.0, 2000.0, 500.0)), "keras": PeerStanding(skipped="no Python")}
    return JobStanding("cnn", 128, "mnist", "cpu", (3000.0, 4000.0, 2000.0), peers)


def test_ratios_are_taken_round_by_round_before_their_median() -> None:
    assert standing().ratio("timm") == Spread(2.0, 3.0, 4.0)  # 3000 : 1000, 4000 : 2000, 2000 : 500
    skewed = JobStanding("cnn", 128, "mnist", "cpu", (10.0, 20.0, 90.0), {"timm": PeerStanding((), FAST, (10.0, 1.0, 30.0))})
    assert skewed.ratio("timm") == Spread(1.0, 3.0, 20.0)  # the medians' would be 2


def test_the_table_gives_least_median_and_greatest_ratio_and_says_who_was_skipped() -> None:
    lines = table([standing()]).splitlines()
    assert lines[1].split()[:3] == ["cnn", "toolkit", "3,000"]
    assert lines[2].split()[:7] == ["timm", "1,000", "2.00", "/", "3.00", "/", "4.00"]
    assert lines[2].endswith("2 workers, bfloat16")
    assert lines[3].endswith("skipped: no Python")
    assert len(lines) == 4


def test_the_json_holds_every_combination_tried_and_the_ratios() -> None:
    written = json.loads(json.dumps(standing().as_json()))
    assert written["peers"]["timm"]["tried"][0] == {
        "choice": {"workers": 0, "precision": "float32"},
        "images_per_s": 900.0,
        "problem": "",
    }
    assert written["ratios"] == {"timm": {"least": 2.0, "median": 3.0, "greatest": 4.0}}


def test_a_peer_gets_the_fastest_combination_that_ran() -> None:
    tried = try_all(Scripted({SLOW: 5.0, Choice(0, "bfloat16"): 7.0, Choice(2, "float32"): 6.0}), (0, 2), 0.1)
    assert [(one.choice, one.images_per_s) for one in tried[:3]] == [(SLOW, 5.0), (Choice(0, "bfloat16"), 7.0), (Choice(2, "float32"), 6.0)]
    assert (tried[3].choice, tried[3].images_per_s) == (FAST, None)
    assert tried[3].problem.startswith("KeyError")
    assert fastest(tried) == Choice(0, "bfloat16")
    assert fastest([Tried(SLOW, None, "broken")]) is None


def test_loops_take_turns_and_each_round_begins_with_another() -> None:
    called: list[str] = []

    def loop(name: str, rate: float) -> float:
        called.append(name)
        return rate

    turns = {"a": lambda seconds: loop("a", 1.0), "b": lambda seconds: loop("b", 2.0)}
    assert take_turns(turns, 3, 0.1) == {"a": (1.0, 1.0, 1.0), "b": (2.0, 2.0, 2.0)}
    assert "".join(called) == "abbaab"


def test_the_stopwatch_leaves_the_warm_up_out_and_counts_what_came_after_it() -> None:
    now = iter([10.0, 11.0, 12.0, 13.0, 14.0])  # the start, a look after batches 5, 6 and 7, the end
    watch = Stopwatch(3.0, lambda: None, lambda: next(now))
    assert [watch.batch_done(images) for images in range(1, 8)] == [False] * 6 + [True]
    assert watch.images_per_s == (4 + 5 + 6 + 7) / 4.0


def test_a_compromised_lightning_is_refused_unimported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lightning_loop, "version", lambda name: "2.6.3")
    monkeypatch.setattr(lightning_loop.importlib, "import_module", lambda name: pytest.fail("imported"))
    with pytest.raises(AbsentError, match=r"lightning 2\.6\.3 is a compromised release"):
        lightning_loop.lightning()


def test_keras_without_a_python_of_its_own_is_absent() -> None:
    with pytest.raises(AbsentError, match="--keras-python"):
        made("keras", None, arguments([]))


def test_unknown_jobs_are_refused_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments(["--jobs", "mlp,vgg"])
    assert "there is no vgg; there are: mlp,cnn,alexnet,clock,autoencoder" in capsys.readouterr().err


@pytest.mark.slow
def test_every_job_is_a_valid_config() -> None:
    from toolkit.config import load_config
    from toolkit.extension.discovery import load_plugins

    registry = load_plugins().registry
    for name in JOBS:
        load_config(HERE / "jobs" / f"{name}.yaml", registry=registry)
        load_config(HERE / "jobs" / f"{name}.yaml", synthetic=True, registry=registry)


@pytest.mark.parametrize("file", ["compare.py", "gpu.py", "peers/keras_side.py"])
def test_a_script_imports_no_framework_when_it_is_read(file: str) -> None:
    code = f"import runpy, sys; runpy.run_path({str(HERE / file)!r}); print(*sys.modules)"
    read = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(HERE)})
    assert {"torch", "lightning", "pytorch_lightning", "keras", "tensorflow", "timm", "toolkit"} & {*read.stdout.split()} == set()
