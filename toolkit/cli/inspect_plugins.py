"""`toolkit list` and `toolkit plugins`."""

from __future__ import annotations

from typing import Annotated

import typer

from toolkit.cli.options import Debug, PluginFiles


def list_components(
    kind: Annotated[
        str | None,
        typer.Argument(help="task, dataset, model, backbone, head, loss, metric, transform, batch_transform, plot, optimizer or schedule."),
    ] = None,
    plugin: PluginFiles = None,
    debug: Debug = False,
) -> None:
    """List every component: kind, name, task, where it comes from, and what it is."""
    from toolkit.errors import ConfigError
    from toolkit.extension.discovery import load_plugins
    from toolkit.extension.docstrings import summary
    from toolkit.extension.registry import KINDS

    if kind is not None and kind not in KINDS:
        raise ConfigError(f"no kind named '{kind}'; there are: {', '.join(KINDS)}")
    registry = load_plugins(plugin or ()).registry
    wanted = [component for component in registry.components() if kind in (None, component.kind)]
    for component in sorted(wanted, key=lambda c: (KINDS.index(c.kind), c.task or "", c.name)):
        place = f"{component.task or 'any task':<16} {component.origin.distribution:<16}"
        print(f"{component.kind:<10} {component.name:<20} {place} {summary(component.factory)}")
    for family in registry.families():
        if kind in (None, family.kind):
            names = list(family.names())
            place = f"{family.task or 'any task':<16} {family.origin.distribution:<16}"
            print(f"{family.kind:<10} {family.prefix + '*':<20} {place} {len(names)} names")
            if kind == family.kind:
                print("           " + ", ".join(family.prefix + name for name in names[:40]) + (", ..." if len(names) > 40 else ""))


def plugins(plugin: PluginFiles = None, debug: Debug = False) -> None:
    """List every plugin with its distribution, version and state."""
    from toolkit.extension.discovery import load_plugins

    for status in load_plugins(plugin or ()).statuses:
        origin = status.origin
        print(f"{origin.plugin:<20} {origin.distribution} {origin.version}  {status.problem or 'ok'}")
