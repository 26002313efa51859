"""How the command starts: fast, and saying what it can do."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests.commands import Command
from toolkit.cli import main

VERBS = (
    *("run", "resume", "evaluate", "predict", "check", "show", "schema", "list", "plugins", "report", "summary", "visualize", "export"),
    *("bench", "grid", "compare", "lr-find", "sweep"),
)


def python(*arguments: str) -> CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


def test_help_lists_every_verb_without_importing_torch_or_a_plugin() -> None:
    ended = python("-X", "importtime", "-m", "toolkit", "--help")
    assert ended.returncode == 0
    listed = [line.split()[0] for line in ended.stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert listed == list(VERBS)
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "toolkit.cli.app" in imported
    heavy = {"torch", "torchvision", "timm", "albumentations", "cv2", "numpy", "matplotlib", "toolkit.runs", "toolkit.builtin"}
    assert not {name for name in imported if name in heavy or name.startswith("toolkit_")}


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert not ended.value.code
    assert capsys.readouterr().out == f"vision-toolkit {version('vision-toolkit')}\n"


def test_the_module_is_the_same_command() -> None:
    script = python(str(Path(sys.executable).with_name("toolkit")), "list", "nonsense")
    module = python("-m", "toolkit", "list", "nonsense")
    assert (script.returncode, script.stderr) == (module.returncode, module.stderr)
    assert module.returncode == 2
    assert module.stderr.startswith("error: no kind named 'nonsense'")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_and_its_options(verb: str, command: Command) -> None:
    ended = command(verb, "--help")
    assert ended.returncode == 0
    assert ended.stdout.startswith(f"Usage: toolkit {verb} ")
    options = [line for line in ended.stdout.partition("Options:")[2].splitlines() if line.strip().startswith("--")]
    assert options
    assert all(len(line.split()) > 2 for line in options), options


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("rum",), "No such command 'rum'. Did you mean 'run', 'resume'?"),
        (("xyz",), "No such command 'xyz'; `toolkit --help` lists what there is"),
        (("run",), "Missing argument 'CONFIG'; `toolkit run --help` lists what there is"),
        (("run", "--oops"), "No such option: --oops; `toolkit run --help` lists what there is"),
        (
            ("export", ".", "--format", "tflite"),
            "Invalid value for '--format': 'tflite' is not one of 'onnx', 'safetensors', 'keras'; "
            "`toolkit export --help` lists what there is",
        ),
    ],
)
def test_a_usage_error_is_one_line_that_says_where_the_help_is(command: Command, arguments: tuple[str, ...], told: str) -> None:
    ended = command(*arguments)
    assert (ended.returncode, ended.stderr) == (2, f"error: {told}\n")


def test_the_command_alone_shows_the_help(command: Command) -> None:
    ended = command()
    assert ended.returncode == 2
    assert "Usage: toolkit [OPTIONS] COMMAND" in ended.stderr


def test_arguments_can_be_given_by_a_script(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list", "task"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("task       anomaly ")


def test_ctrl_c_before_there_is_a_run_ends_with_130_and_no_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("toolkit.extension.discovery.load_plugins", interrupted)
    ended = command("plugins")
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
