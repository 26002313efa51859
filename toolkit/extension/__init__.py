"""The whole plugin contract: hooks, names, option schemas and how plugins are found."""

from toolkit.extension.hookspecs import API_VERSION, hookimpl
from toolkit.extension.registry import Component, Origin, Registrar, Registry

__all__ = ["API_VERSION", "Component", "Origin", "Registrar", "Registry", "hookimpl"]
