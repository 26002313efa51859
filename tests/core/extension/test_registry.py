"""Names: who may use them, who wins, and what is said of one that nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from toolkit.errors import PluginError
from toolkit.extension import Origin, Registrar, Registry
from toolkit.extension.registry import UnknownNameError

CORE = Origin("core", "vision-toolkit", "0.1.0")
POSE = Origin("pose", "toolkit-pose", "1.0")


class Own: ...


class Shared: ...


class Other: ...


def plugin(origin: Origin, *components: tuple[str, str, Any], task: str | None = None) -> Registrar:
    """A registrar to which (kind, name, factory) were added, after a task where one is named."""
    registrar = Registrar(origin)
    if task is not None:
        registrar.task(task, Own)
    for kind, name, factory in components:
        getattr(registrar, kind)(name, factory)
    return registrar


def registry_of(*registrars: Registrar) -> Registry:
    registry = Registry()
    for registrar in registrars:
        registry.add(registrar)
    return registry


def two_scopes() -> Registry:
    return registry_of(plugin(CORE, ("loss", "l1", Shared)), plugin(POSE, ("loss", "l1", Own), task="pose"))


def test_a_tasks_own_name_comes_before_the_cores() -> None:
    assert two_scopes().find("loss", "l1", "pose").factory is Own


def test_a_name_of_another_task_is_not_seen() -> None:
    assert two_scopes().find("loss", "l1", "clock").factory is Shared
    assert two_scopes().find("loss", "l1").factory is Shared


def test_a_name_is_looked_up_within_its_kind() -> None:
    registry = registry_of(plugin(CORE, ("loss", "same", Shared), ("metric", "same", Other)))
    assert registry.find("loss", "same").factory is Shared
    assert registry.find("metric", "same").factory is Other


def test_a_plugin_without_a_task_adds_to_every_task_or_to_the_one_it_names() -> None:
    registrar = plugin(POSE, ("loss", "everywhere", Shared))
    registrar.loss("only_pose", Own, task="pose")
    registry = registry_of(registrar)
    assert registry.find("loss", "everywhere", "clock").task is None
    assert registry.find("loss", "only_pose", "pose").task == "pose"
    with pytest.raises(UnknownNameError, match=r"^no loss named 'only_pose' for task 'clock'; there are: everywhere$"):
        registry.find("loss", "only_pose", "clock")


def test_a_component_keeps_where_it_came_from_and_its_stand_in() -> None:
    registrar = plugin(POSE, task="pose")
    registrar.dataset("lsp", Own, synthetic="synthetic_people")
    found = registry_of(registrar).find("dataset", "lsp", "pose")
    assert (found.origin, found.synthetic, found.task) == (POSE, "synthetic_people", "pose")


def test_one_name_by_two_plugins_names_both_distributions_and_a_way_out() -> None:
    extras = plugin(Origin("pose_extras", "pose-extras", "0.2"))
    extras.metric("pcp", Other, task="pose")
    registry = registry_of(plugin(POSE, ("metric", "pcp", Own), task="pose"), extras)
    text = (
        r"^metric 'pcp' is registered twice: by toolkit-pose 1\.0 \(plugin 'pose'\) and by pose-extras 0\.2 \(plugin 'pose_extras'\); "
        r"uninstall one, or set TOOLKIT_BLOCK_PLUGINS=pose_extras$"
    )
    with pytest.raises(PluginError, match=text):
        registry.find("metric", "pcp", "pose")


def test_blocking_is_no_way_out_where_both_plugins_have_one_name() -> None:
    rival = Origin("pose", "other-pose", "2.0")
    registry = registry_of(plugin(POSE, task="pose"), plugin(rival, task="pose"))
    text = (
        r"^task 'pose' is registered twice: by toolkit-pose 1\.0 \(plugin 'pose'\) and by other-pose 2\.0 \(plugin 'pose'\); uninstall one$"
    )
    with pytest.raises(PluginError, match=text):
        registry.find("task", "pose")


def test_a_clash_disturbs_nobody_who_does_not_use_the_name() -> None:
    rival = Origin("extras", "extras", "0.2")
    registry = registry_of(plugin(CORE, ("loss", "l1", Own), ("loss", "mse", Own)), plugin(rival, ("loss", "l1", Other)))
    assert registry.find("loss", "mse").factory is Own
    assert registry.names("loss") == ["l1", "mse"]


def test_one_plugin_registering_a_name_twice_is_told_at_once() -> None:
    with pytest.raises(PluginError, match=r"^toolkit-pose 1\.0 \(plugin 'pose'\): metric 'pcp' is registered twice$"):
        plugin(POSE, ("metric", "pcp", Own), ("metric", "pcp", Other), task="pose")


def test_something_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(PluginError, match=r"^toolkit-pose 1\.0 \(plugin 'pose'\): metric 'pcp' must be a class or a function, got 'pcp'$"):
        plugin(POSE, ("metric", "pcp", "pcp"))


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    registry = registry_of(plugin(CORE, ("loss", "keypoint_l1", Shared), ("loss", "cross_entropy", Shared)))
    with pytest.raises(UnknownNameError, match=r"^no loss named 'keypiont_l1' for task 'pose'; did you mean 'keypoint_l1'\?$"):
        registry.find("loss", "keypiont_l1", "pose")


def test_where_nothing_is_near_all_names_are_told() -> None:
    registry = registry_of(plugin(CORE, ("loss", "mse", Shared), ("loss", "l1", Shared)))
    with pytest.raises(UnknownNameError, match=r"^no loss named 'quite_other'; there are: l1, mse$"):
        registry.find("loss", "quite_other")
    with pytest.raises(UnknownNameError, match=r"^no plot named 'curve' for task 'pose'; there are: none$"):
        registry.find("plot", "curve", "pose")


def test_an_unknown_task_is_not_told_for_a_task() -> None:
    with pytest.raises(UnknownNameError, match=r"^no task named 'poes'; did you mean 'pose'\?$"):
        registry_of(plugin(POSE, task="pose")).find("task", "poes", "poes")


def test_a_name_that_nobody_knows_may_come_from_a_broken_plugin() -> None:
    registry = Registry()
    registry.broken["clock"] = "toolkit-clock 1.0: ImportError: no hands"
    text = r"^no task named 'clock'; there are: none \(plugin 'clock' could not be loaded: toolkit-clock 1\.0: ImportError: no hands\)$"
    with pytest.raises(UnknownNameError, match=text):
        registry.find("task", "clock")


def with_nets(registrar: Registrar) -> Registrar:
    nets = {"resnet18": Own, "vgg16": Other}
    registrar.family("backbone", "zoo/", nets.get, lambda: nets)
    return registrar


def test_a_family_is_looked_up_by_what_follows_its_prefix() -> None:
    registry = registry_of(with_nets(plugin(CORE)))
    found = registry.find("backbone", "zoo/vgg16", "pose")
    assert (found.name, found.factory, found.origin) == ("zoo/vgg16", Other, CORE)
    with pytest.raises(UnknownNameError, match=r"^no backbone named 'vgg16'; did you mean 'zoo/vgg16'\?$"):
        registry.find("backbone", "vgg16")


def test_an_unknown_member_of_a_family_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match=r"^no backbone named 'zoo/resnet81'; did you mean 'zoo/resnet18'\?$"):
        registry_of(with_nets(plugin(CORE))).find("backbone", "zoo/resnet81")


def test_a_registered_name_comes_before_a_family() -> None:
    registry = registry_of(with_nets(plugin(CORE)), plugin(POSE, ("backbone", "zoo/vgg16", Shared)))
    assert registry.find("backbone", "zoo/vgg16").factory is Shared


def test_a_family_of_a_task_is_not_seen_by_another() -> None:
    registry = registry_of(with_nets(plugin(POSE, task="pose")))
    assert registry.find("backbone", "zoo/vgg16", "pose").task == "pose"
    with pytest.raises(UnknownNameError, match=r"^no backbone named 'zoo/vgg16' for task 'clock'; there are: none$"):
        registry.find("backbone", "zoo/vgg16", "clock")


def test_a_kind_that_does_not_exist_is_refused() -> None:
    text = (
        r"^toolkit-pose 1\.0 \(plugin 'pose'\): no kind named 'network'; "
        r"there are: task, dataset, model, backbone, head, loss, metric, transform, batch_transform, plot, optimizer, schedule$"
    )
    with pytest.raises(PluginError, match=text):
        Registrar(POSE).family("network", "zoo/", lambda name: None, lambda: ())
    with pytest.raises(PluginError, match=text):
        Registrar(POSE).adapter("network", lambda factory: factory)


def test_an_adapter_wraps_every_factory_of_its_kind_whoever_registered_it() -> None:
    def wrapped(factory: Callable[..., Any]) -> Callable[..., Any]:
        return lambda: ("wrapped", factory)

    core = plugin(CORE)
    core.adapter("transform", wrapped)
    registry = registry_of(core, plugin(POSE, ("transform", "T", Own), ("loss", "l1", Own)))
    assert registry.find("transform", "T").factory() == ("wrapped", Own)
    assert registry.find("loss", "l1").factory is Own
    listed = {component.kind: component.factory for component in registry.components()}
    assert listed["transform"]() == ("wrapped", Own)
    assert listed["loss"] is Own


def test_names_are_those_that_a_task_may_use_sorted() -> None:
    assert two_scopes().names("loss", "pose") == ["l1"]
    registry = registry_of(plugin(CORE, ("loss", "mse", Shared)), plugin(POSE, ("loss", "keypoint_l2", Own), task="pose"))
    assert registry.names("loss", "pose") == ["keypoint_l2", "mse"]
    assert registry.names("loss", "clock") == ["mse"]
    assert registry.names("task", "pose") == ["pose"]
