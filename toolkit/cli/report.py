"""`toolkit report`."""

from __future__ import annotations

from toolkit.cli.options import Debug, RunFolder


def report(folder: RunFolder, debug: Debug = False) -> None:
    """Write report.html again from what is in the run folder."""
    from toolkit.reporting.report import write_report
    from toolkit.reporting.run_dir import RunDir

    print(write_report(RunDir.open(folder)))
