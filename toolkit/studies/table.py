"""One table of many runs, as CSV for programs, Markdown for a README, HTML for reading."""

from __future__ import annotations

import base64
import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import jinja2

from toolkit.reporting.facts import duration
from toolkit.reporting.files import disk_errors, write_text_atomic
from toolkit.reporting.scores import NO_NUMBER, number


@dataclass(frozen=True)
class Spread:
    """Mean and sample standard deviation (n - 1) of a number over runs; of one run there is none.

    >>> spread_of([0.5, 0.7]).mean, str(spread_of([0.5, 0.7])), str(spread_of([0.5]))
    (0.6, '0.6000 ± 0.1414', '0.5000')
    """

    mean: float
    sd: float | None
    count: int

    def __str__(self) -> str:
        mean = number(self.mean)
        if self.sd is None:
            return mean
        if "e" in mean or not self.sd:
            return f"{mean} ± {number(self.sd) if self.sd else '0'}"
        rounded = f"{self.sd:,.{len(mean.partition('.')[2])}f}"  # to the digits of the mean, unless nothing would be left of it
        return f"{mean} ± {rounded if rounded.strip('0.') else number(self.sd)}"


class Seconds(float):
    """A time; shown in words, in the CSV as a number."""


Value = str | int | float | Spread | None
"""What may stand in a table; None is a dash."""


@dataclass(frozen=True)
class Table:
    """Rows of values below named columns.

    facts: what holds for all of it, in short: the command, device, seeds.
    notes: sentences below it, such as why a run has no number.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def spread_of(numbers: Sequence[float]) -> Spread | None:
    """None of no numbers."""
    if not numbers:
        return None
    return Spread(statistics.mean(numbers), statistics.stdev(numbers) if len(numbers) > 1 else None, len(numbers))


def write_table(table: Table, folder: Path, stem: str, pictures: Sequence[Path] = ()) -> tuple[Path, Path, Path]:
    """Write `stem`.csv, .md and .html into the folder, making it.

    Args:
        pictures: PNG files that stand in the page, which then needs nothing beside it.

    Returns: the three files.
    Raises: ResourceError if they cannot be written.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    texts = {"csv": as_csv(table), "md": as_markdown(table), "html": _as_html(table, pictures)}
    for suffix, text in texts.items():
        write_text_atomic(folder / f"{stem}.{suffix}", text)
    return folder / f"{stem}.csv", folder / f"{stem}.md", folder / f"{stem}.html"


def as_csv(table: Table) -> str:
    """Every digit; a column of spreads becomes three: mean, sd and runs."""
    spread = [any(isinstance(row[index], Spread) for row in table.rows) for index in range(len(table.columns))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([name for title, several in zip(table.columns, spread, strict=True) for name in _csv_names(title, several)])
    for row in table.rows:
        writer.writerow([part for value, several in zip(row, spread, strict=True) for part in _csv_parts(value, several)])
    return text.getvalue()


def _csv_names(title: str, several: bool) -> list[str]:
    return [title] + [f"{title} {what}" for what in ("sd", "runs")] * several


def _csv_parts(value: Value, several: bool) -> list[str | int | float]:
    if isinstance(value, Spread):
        return [value.mean, "" if value.sd is None else value.sd, value.count]
    return ["" if value is None else value] + ["", ""] * several


def as_markdown(table: Table) -> str:
    """The table, numbers to the right; facts above, notes below.

    >>> print(as_markdown(Table("T", ["axis", "score"], [["a", 0.5], ["b", 7]])), end="")
    # T
    <BLANKLINE>
    | axis | score |
    |---|---:|
    | a | 0.5000 |
    | b | 7 |
    """
    lines = [f"# {table.title}", "", *(f"- {name}: {value}" for name, value in table.facts.items()), *([""] if table.facts else [])]
    lines.append(_markdown_row(table.columns))
    lines.append("|" + "|".join("---:" if numeric else "---" for numeric in _numeric(table)) + "|")
    lines += [_markdown_row([_text(value) for value in row]) for row in table.rows]
    if table.notes:
        lines += ["", *(f"- {note}" for note in table.notes)]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _as_html(table: Table, pictures: Sequence[Path]) -> str:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("toolkit.studies").joinpath("table.html.j2").read_text(encoding="utf-8"))
    urls = ["data:image/png;base64," + base64.b64encode(picture.read_bytes()).decode("ascii") for picture in pictures]
    rows = [[(_text(value), _exact(value)) for value in row] for row in table.rows]
    return template.render(table=table, rows=rows, numeric=_numeric(table), pictures=urls)


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers."""
    return [not any(isinstance(row[index], str) for row in table.rows) for index in range(len(table.columns))]


def _text(value: Value) -> str:
    if value is None:
        return NO_NUMBER
    if isinstance(value, Seconds):
        return duration(value)
    return number(value) if isinstance(value, int | float) else str(value)


def _exact(value: Value) -> str:
    if isinstance(value, Spread):
        return f"{value.mean!r}, sd {value.sd!r}, {value.count} runs" if value.sd is not None else repr(value.mean)
    return repr(value) if isinstance(value, int | float) else ""
