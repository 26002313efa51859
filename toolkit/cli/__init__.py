"""The `toolkit` command. Importing this never imports torch or a plugin."""

from toolkit.cli.app import main

__all__ = ["main"]
