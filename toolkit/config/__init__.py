"""YAML with positions -> `RunConfig`. Nothing here imports torch."""

from toolkit.config.check import check_config
from toolkit.config.dump import dump_config, plain_config
from toolkit.config.json_schema import json_schema
from toolkit.config.load import load_config, load_node
from toolkit.config.nodes import Node, Position, Problem
from toolkit.config.reader import read_text, read_yaml
from toolkit.config.run_config import ComponentConfig, RunConfig

__all__ = [
    "ComponentConfig",
    "Node",
    "Position",
    "Problem",
    "RunConfig",
    "check_config",
    "dump_config",
    "json_schema",
    "load_config",
    "load_node",
    "plain_config",
    "read_text",
    "read_yaml",
]
