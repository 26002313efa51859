"""The hooks a plugin may implement. All return None: hooks observe, whatever changes a result is a component named in the YAML.

Of several processes that share a run, only the main one calls those that begin with `toolkit_run_` and `toolkit_epoch_`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from toolkit.extension.registry import Registrar

API_VERSION = 1
"""Goes up when a hook or a component signature changes incompatibly. A plugin module may state `TOOLKIT_API = 1`; another is refused."""

hookspec = pluggy.HookspecMarker("toolkit")
hookimpl = pluggy.HookimplMarker("toolkit")


@hookspec
def toolkit_register(registry: Registrar) -> None:
    """Add the plugin's task and components. Called once, when the plugin is loaded."""


@hookspec
def toolkit_run_started(run: Any) -> None:
    """Observe a run (`toolkit.build.Run`) after everything is built and before the first batch."""


@hookspec
def toolkit_epoch_ended(run: Any, epoch: int, scores: Mapping[str, float]) -> None:
    """Observe the scores of an epoch (counted from 1 over all phases) after its evaluation. Loggers live here."""


@hookspec
def toolkit_run_ended(run: Any, report: Any) -> None:
    """Observe the finished run; `report` is the path of report.html. May add files to the run folder."""
