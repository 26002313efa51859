"""`toolkit resume`."""

from __future__ import annotations

from toolkit.cli.options import Debug, RunFolder
from toolkit.cli.show_scores import show_result


def resume(folder: RunFolder, debug: Debug = False) -> None:
    """Go on with a run from its newest valid checkpoint, to the same bytes as if it had never stopped."""
    from toolkit import runs

    show_result(runs.resume(folder))
