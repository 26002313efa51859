"""Plugins found through entry points: each stands or falls by itself."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from toolkit.config import load_config
from toolkit.errors import ConfigError, PluginError
from toolkit.extension import Origin
from toolkit.extension.discovery import Plugins, command_entry_points, load_plugins
from toolkit.extension.leaf import Leaf
from toolkit.extension.registry import UnknownNameError
from toolkit.extension.schema import SectionShape, component_options, section_options

GOOD = """
    from toolkit.extension import hookimpl

    class Task:
        '''Made up.'''

    @hookimpl
    def toolkit_register(registry):
        registry.task("made_up", Task)
"""


class Site:
    """A folder on `sys.path` into which tests put distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.modules: set[str] = set()

    def install(self, distribution: str, code: str, *, plugin: str, version: str = "1.0", commands: Mapping[str, str] | None = None) -> str:
        """One distribution with one plugin, whose module is called as the distribution is; returns the module's name."""
        module = distribution.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(code))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[toolkit.plugins]", f"{plugin} = {module}"]
        lines += ["[toolkit.commands]", *(f"{name} = {target}" for name, target in (commands or {}).items())]
        (info / "entry_points.txt").write_text("\n".join(lines))
        self.modules.add(module)
        importlib.invalidate_caches()
        return module


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("TOOLKIT_BLOCK_PLUGINS", raising=False)
    made = Site(folder)
    yield made
    for module in made.modules:
        sys.modules.pop(module, None)


def problem_of(plugins: Plugins, plugin: str) -> str:
    [problem] = [status.problem for status in plugins.statuses if status.origin.plugin == plugin]
    return problem


def made_up_config(**sections: object) -> dict[str, object]:
    fit = {"phases": [{"epochs": 1, "optimizer": "adam"}]}
    return {"task": "classification", "data": "synthetic_shapes", "model": "mlp", "fit": fit} | sections


def test_a_strangers_plugin_is_loaded_and_listed_with_its_distribution_and_version(site: Site) -> None:
    site.install("stranger", GOOD, plugin="zebra", version="3.1")
    plugins = load_plugins()
    assert plugins.statuses[0].origin.plugin == "core"
    assert [status.origin.plugin for status in plugins.statuses][1:] == sorted(s.origin.plugin for s in plugins.statuses[1:])
    assert plugins.statuses[-1].origin == Origin("zebra", "stranger", "3.1")
    assert {status.problem for status in plugins.statuses} == {""}
    assert plugins.registry.find("task", "made_up").origin == Origin("zebra", "stranger", "3.1")


def test_an_older_copy_of_a_distribution_further_down_the_path_counts_for_nothing(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = Site(tmp_path / "older")
    older.folder.mkdir()
    older.install("stranger", "raise RuntimeError('the old one')", plugin="stranger", version="0.9")
    monkeypatch.setattr(sys, "path", [*sys.path, str(older.folder)])
    site.install("stranger", GOOD, plugin="stranger", version="1.0")
    assert [s.origin.version for s in load_plugins().statuses if s.origin.plugin == "stranger"] == ["1.0"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import not_there", "ModuleNotFoundError: No module named 'not_there'"),
        ("raise RuntimeError('no luck\\ntoday')", "RuntimeError: no luck today"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def f(:", "SyntaxError: invalid syntax (broken.py, line 1)"),
    ],
)
def test_a_plugin_that_fails_at_import_is_listed_with_the_reason_and_stops_no_other(site: Site, code: str, reason: str) -> None:
    site.install("broken", code, plugin="aardvark")
    site.install("stranger", GOOD, plugin="stranger")
    plugins = load_plugins()
    assert problem_of(plugins, "aardvark") == reason
    assert problem_of(plugins, "stranger") == ""
    assert plugins.registry.find("task", "made_up").origin.plugin == "stranger"


def test_an_entry_point_that_names_nothing_is_a_reason_too(site: Site) -> None:
    site.install("stranger", GOOD, plugin="stranger")
    (site.folder / "stranger-1.0.dist-info" / "entry_points.txt").write_text("[toolkit.plugins]\nstranger = stranger:plugin")
    assert problem_of(load_plugins(), "stranger") == "AttributeError: module 'stranger' has no attribute 'plugin'"


def test_a_config_that_needs_a_broken_plugins_name_is_given_its_reason(site: Site) -> None:
    site.install("broken-clock", "import not_there", plugin="clock", version="2.0")
    text = (
        r"^<config>: no model named 'sundial' for task 'classification'; .*"
        r"\(plugin 'clock' could not be loaded: broken-clock 2\.0: ModuleNotFoundError: No module named 'not_there'\)$"
    )
    with pytest.raises(ConfigError, match=text):
        load_config(made_up_config(model="sundial"), registry=load_plugins().registry)


def test_a_config_that_needs_nothing_of_a_broken_plugin_is_fine(site: Site) -> None:
    site.install("broken", "import not_there", plugin="clock")
    config, _ = load_config(made_up_config(), registry=load_plugins().registry)
    assert config.model.name == "mlp"


def test_a_plugin_that_fails_half_way_leaves_nothing_behind(site: Site) -> None:
    site.install(
        "half",
        GOOD
        + """
        registry.family("plot", "half/", lambda name: Task, lambda: ["a"])
        registry.adapter("loss", lambda factory: None)
        raise ValueError("the other half")

    @hookimpl
    def toolkit_run_started(run):
        run.append("half")
""",
        plugin="half",
    )
    plugins = load_plugins()
    assert problem_of(plugins, "half") == "ValueError: the other half"
    for kind, name in (("task", "made_up"), ("plot", "half/a")):
        with pytest.raises(UnknownNameError, match=r"could not be loaded: half 1\.0: ValueError: the other half"):
            plugins.registry.find(kind, name)
    assert plugins.registry.find("loss", "l1").factory is not None
    seen: list[str] = []
    plugins.observe("toolkit_run_started", seen.append, run=seen)
    assert seen == []


def test_a_misspelt_hook_is_an_error(site: Site) -> None:
    site.install("typo", GOOD + "\n    @hookimpl\n    def toolkit_epoch_end(run): ...\n", plugin="typo")
    site.install("zebra", GOOD, plugin="zebra")
    plugins = load_plugins()
    assert problem_of(plugins, "typo") == "there is no hook 'toolkit_epoch_end'; did you mean 'toolkit_epoch_ended'?"
    assert problem_of(plugins, "zebra") == ""
    assert plugins.registry.find("task", "made_up").origin.plugin == "zebra"


def test_a_hook_with_an_argument_that_it_is_not_given_is_an_error(site: Site) -> None:
    site.install("typo", GOOD + "\n    @hookimpl\n    def toolkit_epoch_ended(run, loss): ...\n", plugin="typo")
    site.install("zebra", GOOD, plugin="zebra")
    plugins = load_plugins()
    assert "toolkit_epoch_ended(run, loss)" in problem_of(plugins, "typo")
    assert "{'loss'} are declared in the hookimpl but can not be found in the hookspec" in problem_of(plugins, "typo")
    assert problem_of(plugins, "zebra") == ""


def test_a_plugin_for_another_api_is_refused(site: Site) -> None:
    site.install("future", "TOOLKIT_API = 2\n" + textwrap.dedent(GOOD), plugin="future")
    site.install("present", "TOOLKIT_API = 1\n" + textwrap.dedent(GOOD), plugin="present")
    plugins = load_plugins()
    assert problem_of(plugins, "future") == "made for plugin API 2, this toolkit has 1; install a matching release of either"
    assert problem_of(plugins, "present") == ""


def test_a_misspelt_hook_whose_prefix_is_wrong_is_an_error_too(site: Site) -> None:
    site.install("typo", GOOD + "\n    @hookimpl\n    def tolkit_run_started(run): ...\n", plugin="typo")
    assert "unknown hook 'tolkit_run_started' in plugin" in problem_of(load_plugins(), "typo")


def test_a_hook_without_its_marker_is_an_error(site: Site) -> None:
    site.install("unmarked", GOOD.replace("@hookimpl", ""), plugin="unmarked")
    assert problem_of(load_plugins(), "unmarked") == "hook 'toolkit_register' is not marked with @hookimpl"


def test_a_plugin_may_only_observe_and_import_what_it_likes(site: Site) -> None:
    site.install("observer", "from toolkit.config import load_config as toolkit_config\ndef helper(): ...", plugin="observer")
    assert problem_of(load_plugins(), "observer") == ""


def test_blocked_plugins_are_not_imported_and_a_config_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    module = site.install("stranger", GOOD, plugin="stranger", version="3.1")
    other = site.install("other", GOOD, plugin="other")
    monkeypatch.setenv("TOOLKIT_BLOCK_PLUGINS", " stranger, other,,")
    plugins = load_plugins()
    assert not {module, other} & sys.modules.keys()
    assert problem_of(plugins, "stranger") == "blocked by TOOLKIT_BLOCK_PLUGINS"
    with pytest.raises(
        UnknownNameError, match=r"\(plugin 'stranger' could not be loaded: stranger 3\.1: blocked by TOOLKIT_BLOCK_PLUGINS\)"
    ):
        plugins.registry.find("task", "made_up")


def test_the_core_cannot_be_blocked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLKIT_BLOCK_PLUGINS", "core,classification")
    plugins = load_plugins()
    assert problem_of(plugins, "core") == ""
    assert problem_of(plugins, "classification") == "blocked by TOOLKIT_BLOCK_PLUGINS"


def test_nothing_works_without_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(registry: object) -> None:
        raise OSError("no disk")

    monkeypatch.setattr("toolkit.builtin.toolkit_register", failing)
    with pytest.raises(PluginError, match=r"^the core's own components could not be loaded: OSError: no disk$"):
        load_plugins()


def test_two_plugins_of_one_name_are_both_loaded(site: Site) -> None:
    site.install("one-pose", GOOD, plugin="posture")
    site.install("two-pose", GOOD.replace("made_up", "made_up_too"), plugin="posture")
    registry = load_plugins().registry
    assert registry.find("task", "made_up").origin.distribution == "one-pose"
    assert registry.find("task", "made_up_too").origin.distribution == "two-pose"


def test_commands_are_found_without_importing_them(site: Site) -> None:
    module = site.install("stranger", GOOD, plugin="stranger", commands={"label": "stranger:label"})
    entry_point = command_entry_points()["label"]
    assert entry_point.value == "stranger:label"
    assert entry_point.dist is not None
    assert entry_point.dist.name == "stranger"
    assert module not in sys.modules


ONE_FILE = """
from dataclasses import dataclass
from toolkit.extension import hookimpl

@dataclass(frozen=True)
class Flat:
    '''A constant learning rate.

    Args:
        height: the factor.
    '''
    height: "float"

def flat(steps: int, /, *, height: float = 1.0):
    return lambda step: Flat(height).height

@hookimpl
def toolkit_register(registry):
    registry.schedule("flat", flat)
"""


def test_a_plugin_may_be_one_file_and_a_config_may_use_it(tmp_path: Path) -> None:
    file = tmp_path / "my_schedules.py"
    file.write_text(ONE_FILE)
    plugins = load_plugins([file])
    assert plugins.statuses[-1].origin == Origin("my_schedules", str(file))
    phases = [{"epochs": 1, "optimizer": "adam", "schedule": {"name": "flat", "height": 0.5}}]
    config, _ = load_config(made_up_config(fit={"phases": phases}), registry=plugins.registry)
    schedule = config.fit.phases[0].schedule
    assert schedule is not None
    assert schedule.component.factory(10, **schedule.options)(3) == 0.5


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("missing.py", None, "there is no such file"),
        ("plugin.txt", ONE_FILE, "not a Python file"),
        ("broken.py", "1 / 0", "ZeroDivisionError: division by zero"),
        ("future.py", "TOOLKIT_API = 7", "made for plugin API 7, this toolkit has 1; install a matching release of either"),
    ],
)
def test_a_file_that_is_no_plugin_is_an_error_that_names_it(tmp_path: Path, name: str, code: str | None, reason: str) -> None:
    file = tmp_path / name
    if code is not None:
        file.write_text(code)
    with pytest.raises(PluginError) as raised:
        load_plugins([file])
    assert str(raised.value) == f"--plugin {file}: {reason}"


def test_a_folder_is_no_plugin_file(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"^--plugin .*: there is no such file$"):
        load_plugins([tmp_path])


def test_a_file_that_failed_leaves_no_module_behind(tmp_path: Path) -> None:
    file = tmp_path / "fails_at_the_end.py"
    file.write_text("1 / 0")
    with pytest.raises(PluginError, match="division by zero"):
        load_plugins([file])
    assert not [name for name in sys.modules if "fails_at_the_end" in name]


def test_a_file_given_twice_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "twice.py"
    file.write_text(ONE_FILE)
    plugins = load_plugins([file, tmp_path / "." / "twice.py"])
    assert [status.origin.plugin for status in plugins.statuses].count("twice") == 1
    assert plugins.registry.find("schedule", "flat").origin.plugin == "twice"


def test_files_of_one_name_in_two_folders_do_not_see_each_others_types(tmp_path: Path) -> None:
    files = {kind: tmp_path / kind / "mine.py" for kind in ("int", "str")}
    for kind, file in files.items():
        file.parent.mkdir()
        file.write_text(
            f"""
from dataclasses import dataclass
from toolkit.extension import hookimpl

Height = {kind}

@dataclass(frozen=True)
class Shape:
    height: "Height"

def flat(steps, /, *, shape: Shape): ...

@hookimpl
def toolkit_register(registry):
    registry.schedule("flat_{kind}", flat)
"""
        )
    registry = load_plugins([*files.values()]).registry
    for kind, value, other in (("int", 1, "high"), ("str", "high", 1)):
        component = registry.find("schedule", f"flat_{kind}")
        assert component.origin == Origin("mine", str(files[kind]))
        shape = component_options(component)["shape"].shape
        assert isinstance(shape, SectionShape)
        height = section_options(shape.cls)["height"].shape
        assert isinstance(height, Leaf)
        assert height.check(value) == (value, [])
        assert height.check(other)[1]


OBSERVER = """
    from toolkit.extension import hookimpl

    @hookimpl
    def toolkit_epoch_ended(run, epoch):
        run.append(("observer", epoch))
"""


def test_an_observer_that_raises_is_reported_and_the_others_are_still_called(site: Site) -> None:
    for name in ("first", "third"):
        site.install(f"{name}-observer", OBSERVER.replace('"observer"', f'"{name}"'), plugin=name)
    site.install("second-observer", OBSERVER.replace("run.append", "1 / 0, run.append"), plugin="second")
    plugins, seen, problems = load_plugins(), list[tuple[str, int]](), list[str]()
    plugins.observe("toolkit_epoch_ended", problems.append, run=seen, epoch=4, scores={})
    assert sorted(seen) == [("first", 4), ("third", 4)]
    assert problems == ["plugin 'second (second-observer)' failed in toolkit_epoch_ended: ZeroDivisionError: division by zero"]


def test_an_observer_may_not_end_the_process(site: Site) -> None:
    site.install("quitter", OBSERVER.replace("run.append", "raise SystemExit(3)  #"), plugin="quitter")
    problems: list[str] = []
    load_plugins().observe("toolkit_epoch_ended", problems.append, run=[], epoch=1, scores={})
    assert problems == ["plugin 'quitter (quitter)' failed in toolkit_epoch_ended: SystemExit: 3"]
