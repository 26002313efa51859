import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from toolkit.errors import ConfigError, ResourceError, RunBusyError
from toolkit.reporting.environment import command_line, environment
from toolkit.reporting.run_dir import RunDir

HOLD_UNTIL_TOLD = """
import sys
from pathlib import Path
from toolkit.reporting.run_dir import RunDir
with RunDir(Path(sys.argv[1])).lock():
    print("held", flush=True)
    sys.stdin.read()
"""
FORK_AND_DIE = """
import os, sys, signal
from pathlib import Path
from toolkit.reporting.run_dir import RunDir
forked, tell = os.pipe()
with RunDir(Path(sys.argv[1])).lock():
    if os.fork() == 0:  # a data worker that outlives its parent, until the test closes its input
        os.write(tell, b"1")
        sys.stdin.read()
        os._exit(0)
    os.read(forked, 1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def process(code: str, folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def made_run(folder: Path) -> RunDir:
    run_dir = RunDir.at(folder)
    run_dir.config_yaml.write_text("task: t\n")
    return run_dir


def test_a_new_run_has_a_folder_of_its_own_and_latest_points_to_it(tmp_path: Path) -> None:
    first = RunDir.create(tmp_path / "runs", "mnist_cnn")
    first.become_latest()
    second = RunDir.create(tmp_path / "runs", "mnist_cnn")
    assert RunDir.create(tmp_path / "runs", "other").path.parent.name == "other"
    second.become_latest()
    parent = tmp_path / "runs" / "mnist_cnn"
    assert first.path != second.path
    assert first.path.parent == parent
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{6}", first.path.name)
    assert os.readlink(parent / "latest") == second.path.name
    assert sorted(os.listdir(parent)) == sorted([first.path.name, second.path.name, "latest"])


def test_a_folder_of_the_users_own_moves_no_latest(tmp_path: Path) -> None:
    RunDir.at(tmp_path / "mine").become_latest()
    assert not (tmp_path / "latest").is_symlink()


def test_a_folder_called_latest_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cnn" / "latest").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"cnn/latest is not a link to the newest run; rename it, or choose a run folder with --out"):
        RunDir.create(tmp_path, "cnn")
    assert os.listdir(tmp_path / "cnn") == ["latest"]


def test_a_runs_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(ResourceError, match=r"^cannot write .*runs/cnn/.*: Not a directory$"):
        RunDir.create(tmp_path / "runs", "cnn")


def test_out_takes_an_absent_folder_and_an_empty_one(tmp_path: Path) -> None:
    assert RunDir.at(tmp_path / "a" / "b").path.is_dir()
    assert RunDir.at(tmp_path / "a" / "b").path == tmp_path / "a" / "b"


def test_out_takes_a_folder_whose_run_never_got_past_its_lock(tmp_path: Path) -> None:
    with RunDir.at(tmp_path).lock():
        pass
    assert RunDir.at(tmp_path).path == tmp_path


def test_out_uses_a_folder_again_whose_run_ended_before_its_first_epoch(tmp_path: Path) -> None:
    made_run(tmp_path)
    assert RunDir.at(tmp_path).path == tmp_path


@pytest.mark.parametrize("begun", ["metrics.jsonl", "checkpoints"])
def test_out_refuses_a_folder_that_holds_a_run(tmp_path: Path, begun: str) -> None:
    made_run(tmp_path)
    (tmp_path / begun).mkdir()
    with pytest.raises(ConfigError, match=rf"^--out {tmp_path} holds a run already; go on with it by `toolkit resume {tmp_path}`"):
        RunDir.at(tmp_path)


def test_out_refuses_a_folder_that_holds_anything_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=rf"^--out {tmp_path} is not empty and holds no run .*`toolkit resume {tmp_path}`.*name a new"):
        RunDir.at(tmp_path)


def test_out_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(ConfigError, match=r"^--out .*/x is a file; a run needs a folder of its own"):
        RunDir.at(tmp_path / "x")


def test_a_run_is_opened_by_folder_by_latest_and_by_the_folder_that_holds_latest(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "cnn")
    run_dir.become_latest()
    run_dir.config_yaml.write_text("")
    assert RunDir.open(run_dir.path) == run_dir
    assert RunDir.open(tmp_path / "cnn" / "latest") == run_dir
    assert RunDir.open(tmp_path / "cnn") == run_dir


def test_an_opened_run_stays_the_same_when_latest_moves(tmp_path: Path) -> None:
    run_dir = RunDir.create(tmp_path, "cnn")
    run_dir.become_latest()
    run_dir.config_yaml.write_text("")
    opened = RunDir.open(tmp_path / "cnn" / "latest")
    RunDir.create(tmp_path, "cnn").become_latest()
    assert opened.path.resolve() == run_dir.path.resolve()


def test_opening_says_what_it_looked_for(tmp_path: Path) -> None:
    expected = f"no run in {tmp_path}: looked for {tmp_path}/config.yaml and {tmp_path}/latest/config.yaml; name a run folder such as"
    with pytest.raises(ConfigError, match=re.escape(expected)):
        RunDir.open(tmp_path)


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    with process(HOLD_UNTIL_TOLD, tmp_path) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        expected = f"{tmp_path} is in use by process {holder.pid} on {socket.gethostname()}; wait until it ends, or use another run folder"
        with pytest.raises(RunBusyError, match=f"^{re.escape(expected)}$"), RunDir(tmp_path).lock():
            pass
        holder.communicate("")
    with RunDir(tmp_path).lock():
        assert RunDir(tmp_path).run_lock.read_text().startswith(f"process {os.getpid()} on ")
    assert RunDir(tmp_path).run_lock.read_text() == ""


def test_a_killed_process_lets_go_even_while_its_forked_worker_lives(tmp_path: Path) -> None:
    with process(FORK_AND_DIE, tmp_path) as parent:
        assert parent.wait() == -9
        with RunDir(tmp_path).lock():
            pass


def test_an_error_inside_the_lock_is_not_taken_for_one_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), RunDir(tmp_path).lock():
        raise FileNotFoundError("of the body")
    with RunDir(tmp_path).lock():
        pass


def test_every_file_has_the_documented_place(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    files = {run.config_yaml: "config.yaml", run.source_yaml: "source.yaml", run.environment_json: "environment.json"}
    files |= {run.metrics_jsonl: "metrics.jsonl", run.timings_jsonl: "timings.jsonl", run.results_json: "results.json"}
    files |= {run.checkpoints: "checkpoints", run.plots: "plots", run.report_html: "report.html", run.log_txt: "log.txt"}
    assert len(files) == 10
    assert all(path == tmp_path / name for path, name in files.items())


def test_run_dir_and_progress_do_not_import_torch() -> None:
    code = "import sys, toolkit.reporting.run_dir, toolkit.reporting.progress, toolkit.reporting.environment; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


@pytest.mark.parametrize("program", ["/some/where/bin/toolkit", "/some/where/toolkit/__main__.py"])
def test_the_command_line_is_what_a_person_would_type(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [program, "run", "a b.yaml"])
    assert command_line() == "toolkit run 'a b.yaml'"


def test_the_environment_names_versions_device_and_plugins() -> None:
    found = environment("cpu", 2, [{"name": "pose", "distribution": "vision-toolkit", "version": "0.1"}], "sha256:00")
    assert found["versions"]["numpy"] == np.__version__
    assert {"toolkit", "torch", "torchvision", "timm", "albumentations", "opencv"} <= set(found["versions"])
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (found["device"], found["threads"], found["data_fingerprint"]) == ("cpu", 2, "sha256:00")
    assert found["plugins"] == [{"name": "pose", "distribution": "vision-toolkit", "version": "0.1"}]
    assert found["cpu"]
    assert found["cores"] >= 1


def test_the_environment_holds_the_commit_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment("cpu", 1, [], "")["git_commit"] is None
    git = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org"]
    subprocess.run(["git", "init", "-q"], check=True)
    Path("a").write_text("1")
    subprocess.run(["git", "add", "a"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "m"], check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert environment("cpu", 1, [], "")["git_commit"] == commit
    Path("a").write_text("2")
    assert environment("cpu", 1, [], "")["git_commit"] == commit + "-dirty"


def test_without_git_there_is_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment("cpu", 1, [], "")["git_commit"] is None
