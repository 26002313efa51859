"""Find plugins through entry points and load each by itself, so that a broken one never stops the others."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import os
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from toolkit.errors import PluginError
from toolkit.extension import hookspecs
from toolkit.extension.registry import Origin, Registrar, Registry

ENTRY_POINTS = "toolkit.plugins"
BLOCK_VARIABLE = "TOOLKIT_BLOCK_PLUGINS"
CORE = "core"
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("toolkit_"))


@dataclass(frozen=True)
class PluginStatus:
    """One plugin as `toolkit plugins` lists it; `problem` is empty for one that works."""

    origin: Origin
    problem: str = ""


@dataclass(frozen=True)
class Plugins:
    """Everything that was found: the registry of components, the hooks, and how each plugin fared."""

    registry: Registry
    manager: pluggy.PluginManager
    statuses: tuple[PluginStatus, ...]

    def observe(self, hook: str, on_problem: Callable[[str], None], **arguments: Any) -> None:
        """Call an observing hook of every plugin; one that raises is reported and the run goes on: observers must not cost results."""
        for implementation in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            try:
                implementation.function(*(arguments[name] for name in implementation.argnames))
            except (Exception, SystemExit) as error:
                on_problem(f"plugin '{implementation.plugin_name}' failed in {hook}: {_one_line(error)}")


def load_plugins(files: Sequence[Path] = ()) -> Plugins:
    """Load every installed plugin that is not blocked, and the one-file plugins in `files`.

    Raises: PluginError if the core itself or one of `files` cannot be loaded; installed plugins that fail are listed instead.
    """
    manager = pluggy.PluginManager("toolkit")
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    statuses = []
    blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")} - {"", CORE}
    for entry_point in _entry_points():
        origin = _origin(entry_point)
        is_blocked = origin.plugin in blocked
        problem = f"blocked by {BLOCK_VARIABLE}" if is_blocked else _load(entry_point.load, origin, manager, registry)
        if problem:
            registry.broken[origin.plugin] = f"{origin.distribution} {origin.version}: {problem}"
        if problem and origin.plugin == CORE:
            raise PluginError(f"the core's own components could not be loaded: {problem}")
        statuses.append(PluginStatus(origin, problem))
    for file in {file.resolve(): file for file in files}.values():
        origin = Origin(file.stem, str(file))
        problem = _load(partial(_import_file, file), origin, manager, registry)
        if problem:
            raise PluginError(f"--plugin {file}: {problem}")
        statuses.append(PluginStatus(origin))
    return Plugins(registry, manager, tuple(statuses))


def command_entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """Subcommands that other distributions add (`toolkit.commands`), by name, not imported."""
    return {entry_point.name: entry_point for entry_point in importlib.metadata.entry_points(group="toolkit.commands")}


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    """The core first, the rest by name; the same line seen twice (an old and a new install of one distribution) counts once."""
    found = {(e.name, e.value): e for e in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    return sorted(found.values(), key=lambda e: (e.name != CORE, e.name, e.value))


def _origin(entry_point: importlib.metadata.EntryPoint) -> Origin:
    distribution = entry_point.dist
    return Origin(entry_point.name, distribution.name if distribution else "unknown", distribution.version if distribution else "")


def _load(importer: Callable[[], Any], origin: Origin, manager: pluggy.PluginManager, registry: Registry) -> str:
    """Import and register one plugin, all of it or nothing; returns the problem or ''."""
    module = None
    try:
        module = importer()
        _check_api(module)
        _check_hooks(module, manager)
        manager.register(module, name=f"{origin.plugin} ({origin.distribution})")
        manager.check_pending()
        registrar = Registrar(origin)
        if hasattr(module, "toolkit_register"):
            module.toolkit_register(registrar)
        registry.add(registrar)
    except (Exception, SystemExit) as error:
        if module is not None and manager.is_registered(module):
            manager.unregister(module)
        return _one_line(error)
    return ""


def _check_api(module: ModuleType) -> None:
    wanted = getattr(module, "TOOLKIT_API", hookspecs.API_VERSION)
    if wanted != hookspecs.API_VERSION:
        raise PluginError(f"made for plugin API {wanted}, this toolkit has {hookspecs.API_VERSION}; install a matching release of either")


def _check_hooks(module: ModuleType, manager: pluggy.PluginManager) -> None:
    """Names that begin with toolkit_ are hooks: one that is misspelt or not marked would silently never be called."""
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if not name.startswith("toolkit_") or function.__module__ != module.__name__:
            continue
        if name not in HOOKS:
            close = difflib.get_close_matches(name, HOOKS, n=1)
            raise PluginError(
                f"there is no hook '{name}'; " + (f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(HOOKS)}")
            )
        if manager.parse_hookimpl_opts(module, name) is None:
            raise PluginError(f"hook '{name}' is not marked with @hookimpl")


def _import_file(file: Path) -> ModuleType:
    if not file.is_file():
        raise PluginError("there is no such file")
    name = f"toolkit_plugin_file_{file.stem}_{zlib.crc32(str(file.resolve()).encode()):08x}"  # two folders may have files of one name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise PluginError("not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and type hints look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".replace("\n", " ") if not isinstance(error, PluginError) else str(error)
