"""What plugins register: components, found by (task, kind, name)."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.errors import PluginError

KINDS = ("task", "dataset", "model", "backbone", "head", "loss", "metric", "transform", "batch_transform", "plot", "optimizer", "schedule")
"""Every kind of component. What the toolkit supplies to each (before `/` in its signature) is listed in `toolkit/build.py`."""


@dataclass(frozen=True)
class Origin:
    """Where a component comes from: the entry point (or file) and the distribution that declares it."""

    plugin: str
    distribution: str
    version: str = ""

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}".strip() + (f" (plugin '{self.plugin}')" if self.plugin != self.distribution else "")


@dataclass(frozen=True)
class Component:
    """One registered name. `task` is None for what every task may use.

    factory: called as `factory(*supplied, **options)`; its keyword-only parameters are the options.
    synthetic: for a data set, the built-in data set that `--synthetic` puts in its place.
    """

    kind: str
    name: str
    factory: Callable[..., Any]
    origin: Origin
    task: str | None = None
    synthetic: str | None = None


@dataclass(frozen=True)
class Family:
    """An open set of names of one kind, such as every `timm/...` backbone, looked up when asked for."""

    kind: str
    prefix: str
    lookup: Callable[[str], Callable[..., Any] | None]
    names: Callable[[], Iterable[str]]
    origin: Origin
    task: str | None = None


Adapter = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Wraps a registered factory into one that fits the contract."""


class UnknownNameError(LookupError):
    """No component of that name; the text says what was meant, for `ConfigError` to place in the YAML."""


@dataclass
class Registry:
    """All components of all loaded plugins."""

    _components: dict[tuple[str | None, str, str], list[Component]] = field(default_factory=dict)
    _families: list[Family] = field(default_factory=list)
    _adapters: dict[str, Adapter] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """Plugins that could not be loaded: name -> reason, with the distribution. A name nobody knows may have come from one of these."""

    def add(self, registrar: Registrar) -> None:
        """Take over what one plugin registered: all of it, after its registration ran through."""
        for component in registrar.components:
            self._components.setdefault((component.task, component.kind, component.name), []).append(component)
        self._families.extend(registrar.families)
        self._adapters |= registrar.adapters

    def find(self, kind: str, name: str, task: str | None = None) -> Component:
        """The component called `name`: the task's own first, then one that belongs to every task.

        Raises:
            UnknownNameError: nobody registered it; the text has the nearest names and plugins that failed to load.
            PluginError: two plugins registered it in one scope.
        """
        for scope in dict.fromkeys((task, None)):
            found = self._components.get((scope, kind, name), [])
            if len(found) > 1:
                first, second = found[0].origin, found[1].origin
                way_out = f", or set TOOLKIT_BLOCK_PLUGINS={second.plugin}" if second.plugin != first.plugin else ""
                raise PluginError(f"{kind} '{name}' is registered twice: by {first} and by {second}; uninstall one{way_out}")
            if found:
                return self._adapted(found[0])
        for family in self._matching_families(kind, task):
            factory = family.lookup(name.removeprefix(family.prefix)) if name.startswith(family.prefix) else None
            if factory is not None:
                return Component(kind, name, factory, family.origin, family.task)
        raise UnknownNameError(self._explain_unknown(kind, name, task))

    def names(self, kind: str, task: str | None = None) -> list[str]:
        """Registered names of `kind` that a config of `task` may use, sorted; families are not spelled out."""
        return sorted({known for scope, its_kind, known in self._components if its_kind == kind and scope in (None, task)})

    def components(self) -> Iterator[Component]:
        """Every registered component as `find` gives it, in order of registration."""
        for same_name in self._components.values():
            yield from map(self._adapted, same_name)

    def families(self) -> Iterator[Family]:
        """Every registered family."""
        yield from self._families

    def _adapted(self, component: Component) -> Component:
        adapt = self._adapters.get(component.kind)
        return replace(component, factory=adapt(component.factory)) if adapt else component

    def _matching_families(self, kind: str, task: str | None) -> list[Family]:
        return [f for f in self._families if f.kind == kind and f.task in (None, task)]

    def _explain_unknown(self, kind: str, name: str, task: str | None) -> str:
        known = self.names(kind, task)
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        if not close:
            families = [family.prefix + n for family in self._matching_families(kind, task) for n in family.names()]
            close = difflib.get_close_matches(name, families, n=1, cutoff=0.6)
        text = f"no {kind} named '{name}'" + (f" for task '{task}'" if task and kind != "task" else "")
        text += f"; did you mean '{close[0]}'?" if close else f"; there are: {', '.join(known) or 'none'}"
        for plugin, reason in self.broken.items():
            text += f" (plugin '{plugin}' could not be loaded: {reason})"
        return text


class Registrar:
    """What a plugin's `toolkit_register(registry)` is given: one method per kind.

    Components belong to the task that the plugin registered just before; a plugin without a task of its own
    adds to every task, or to the one it names with `task=`.
    """

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.components: list[Component] = []
        self.families: list[Family] = []
        self.adapters: dict[str, Adapter] = {}
        self._task: str | None = None

    def task(self, name: str, factory: Callable[..., Any]) -> None:
        """Register a `toolkit.task.Task` subclass; what follows belongs to it."""
        self._add("task", name, factory, task=None)
        self._task = name

    def dataset(self, name: str, factory: Callable[..., Any], *, synthetic: str | None = None, task: str | None = None) -> None:
        """`factory(split, /, *, options)` -> a `toolkit.data.sample.Dataset`; `synthetic` names the built-in stand-in for `--synthetic`."""
        self._add("dataset", name, factory, task=task, synthetic=synthetic)

    def model(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(info, /, *, options)` -> a whole `nn.Module`; may take nested backbones."""
        self._add("model", name, factory, task=task)

    def backbone(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(input_shape, /, *, options)` -> an `nn.Module` from images to features."""
        self._add("backbone", name, factory, task=task)

    def head(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(in_shape, info, /, *, options)` -> an `nn.Module` from features to the model's output."""
        self._add("head", name, factory, task=task)

    def loss(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(info, /, *, options)` -> `(output, encoded) -> {term: [B]}`."""
        self._add("loss", name, factory, task=task)

    def metric(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(info, /, *, options)` -> a `toolkit.evaluation.metrics.Metric`."""
        self._add("metric", name, factory, task=task)

    def transform(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """An albumentations transform class of the plugin's own."""
        self._add("transform", name, factory, task=task)

    def batch_transform(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(info, /, *, options)` -> `(images, encoded) -> (images, encoded)`, drawing from torch's default generator."""
        self._add("batch_transform", name, factory, task=task)

    def plot(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(info, /, *, options)` -> `(evaluation) -> matplotlib Figure`."""
        self._add("plot", name, factory, task=task)

    def optimizer(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(params, /, *, options)` -> a `torch.optim.Optimizer`."""
        self._add("optimizer", name, factory, task=task)

    def schedule(self, name: str, factory: Callable[..., Any], *, task: str | None = None) -> None:
        """`factory(steps, /, *, options)` -> `step -> factor` on the learning rate, a pure function of the step."""
        self._add("schedule", name, factory, task=task)

    def family(
        self,
        kind: str,
        prefix: str,
        lookup: Callable[[str], Callable[..., Any] | None],
        names: Callable[[], Iterable[str]],
        *,
        task: str | None = None,
    ) -> None:
        """Register every name that starts with `prefix`; `lookup(rest)` gives the factory or None, `names()` the rests for suggestions."""
        self.families.append(Family(self._known_kind(kind), prefix, lookup, names, self.origin, task or self._task))

    def adapter(self, kind: str, adapt: Adapter) -> None:
        """Every factory of `kind`, whoever registered it, is wrapped by `adapt` when it is looked up."""
        self.adapters[self._known_kind(kind)] = adapt

    def _add(self, kind: str, name: str, factory: Callable[..., Any], *, task: str | None, synthetic: str | None = None) -> None:
        if not callable(factory):
            raise PluginError(f"{self.origin}: {kind} '{name}' must be a class or a function, got {factory!r}")
        scope = None if kind == "task" else task or self._task
        if any((c.kind, c.name, c.task) == (kind, name, scope) for c in self.components):
            raise PluginError(f"{self.origin}: {kind} '{name}' is registered twice")
        self.components.append(Component(kind, name, factory, self.origin, scope, synthetic))

    def _known_kind(self, kind: str) -> str:
        if kind not in KINDS:
            raise PluginError(f"{self.origin}: no kind named '{kind}'; there are: {', '.join(KINDS)}")
        return kind
