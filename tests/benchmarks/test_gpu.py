"""What `gpu.py` does around its measurements: order, time limits, failures, the summary; nothing is trained."""

from __future__ import annotations

import json
import os
import subprocess
from argparse import Namespace
from importlib.metadata import Distribution, entry_points
from pathlib import Path
from typing import Any

import gpu
import pytest


def part_that(behaves: str) -> gpu.Part:
    return gpu.Part(f"bench {behaves}", "bench", behaves, 60.0)


@pytest.fixture
def asked(tmp_path: Path) -> Namespace:
    return Namespace(out=tmp_path / "out", device="cpu", quick=False, minutes=60.0, data=None)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The command lines of the parts, which run no process: `bad` fails, `slow` is ended, all others answer."""
    commands: list[str] = []

    def run(command: list[str], *, timeout: float, **options: Any) -> subprocess.CompletedProcess[str]:
        commands.append(" ".join(command[3:]))
        what = command[4].partition(":")[2]
        if what == "slow":
            raise subprocess.TimeoutExpired(command, timeout)
        if what != "bad":
            Path(command[2]).write_text(json.dumps({"real": 1000.0, "efficiency": 0.95}))
        return subprocess.CompletedProcess(command, 1 if what == "bad" else 0, "", "Traceback ...\nRuntimeError: no memory\n\n")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    return commands


def test_a_part_that_fails_or_hangs_costs_only_itself(asked: Namespace, scripted: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    results = gpu.measure([part_that("bad"), part_that("slow"), part_that("alexnet")], asked)
    assert results["bench bad"]["failed"] == "RuntimeError: no memory"
    assert results["bench slow"]["failed"].startswith("was ended after 60 s")
    assert results["bench alexnet"]["result"]["efficiency"] == 0.95
    assert scripted == [f"--part bench:{name} --device cpu" for name in ("bad", "slow", "alexnet")]
    assert json.loads((asked.out / "gpu.json").read_text()) == results
    assert "1,000 images/s, efficiency 0.950" in capsys.readouterr().out


def test_nothing_begins_after_the_minutes_are_over(asked: Namespace, scripted: list[str]) -> None:
    asked.minutes = 0.0
    assert gpu.measure([part_that("alexnet")], asked) == {"bench alexnet": {"failed": "not begun: the 0 minutes were over"}}
    assert scripted == []


def test_the_summary_holds_the_epoch_and_the_efficiency_against_their_targets() -> None:
    results = {
        "epoch alexnet": {"result": {"train_s": 0.81, "images": 45000}, "seconds": 9.0},
        "bench alexnet": {"result": {"efficiency": 0.9}, "seconds": 9.0},
        "bench mlp": {"failed": "no memory", "seconds": 1.0},
    }
    assert gpu.summary(results).splitlines() == [
        "alexnet epoch 0.810 s on 45,000 pictures, target 0.8 s: MISSED",
        "alexnet efficiency 0.900, target 0.9: met",
        "2 of 3 parts measured; failed: bench mlp",
    ]


def test_every_part_names_a_function_and_a_job_or_config_that_are_there() -> None:
    import gpu_parts

    configs = sorted(str(file) for file in (gpu.ROOT / "configs").glob("*.yaml"))
    for part in gpu.parts(False, configs) + gpu.parts(True, []):
        assert callable(getattr(gpu_parts, part.measured))
        assert not part.of or gpu_parts._file(part.of).is_file()
    names = [part.name for part in gpu.parts(False, configs)]
    assert len({*names}) == len(names)


def test_a_checkout_that_is_not_installed_shows_its_plugins_entry_points(tmp_path: Path) -> None:
    site = gpu.as_installed(gpu.ROOT, tmp_path / "site")
    (found,) = Distribution.discover(name="vision-toolkit", path=[str(site)])
    shown = {(entry.name, entry.value) for entry in found.entry_points if entry.group == "toolkit.plugins"}
    assert shown == {(entry.name, entry.value) for entry in entry_points(group="toolkit.plugins") if entry.dist and _is_ours(entry.dist)}


def _is_ours(found: Any) -> bool:
    return bool(found.name == "vision-toolkit")


def test_parts_see_the_data_that_were_named_and_none_else(tmp_path: Path) -> None:
    assert gpu.surroundings(tmp_path, tmp_path / "mine")["TOOLKIT_DATA"] == str((tmp_path / "mine").resolve())
    without = gpu.surroundings(tmp_path, None)["TOOLKIT_DATA"]
    assert not os.path.exists(without)


def test_a_part_that_ends_without_an_answer_is_reported_by_its_last_line(tmp_path: Path) -> None:
    outcome = gpu.run_part(gpu.Part("none", "no_such_part", "", 600), ["--device", "cpu"], os.environ, tmp_path, 600)
    assert outcome["failed"] == "AttributeError: module 'gpu_parts' has no attribute 'no_such_part'"
