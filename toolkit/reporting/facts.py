"""The small tables of a report: data, model, run, machine, versions."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.reporting.scores import number

_SPELLINGS = {word.lower(): word for word in ("AUC", "CPU", "ID", "MACs", "OS", "PR", "ROC")}
_ELSEWHERE = {"command", "data_fingerprint", "device", "name", "synthetic"}  # keys of environment.json that are not told under Machine


def fact_tables(
    results: Mapping[str, Any], environment: Mapping[str, Any], timings: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Title -> {what: value} from results.json, environment.json and the rows of timings.jsonl; what is missing is left out."""
    data = dict(_mapping(results.get("data")))
    data.setdefault("fingerprint", environment.get("data_fingerprint"))
    run = {"device": results.get("device", environment.get("device")), "precision": results.get("precision")}
    seed = {"Seed": str(results["seed"])} if "seed" in results else {}
    versions = _mapping(environment.get("versions"))
    plugins = {
        str(_mapping(plugin).get("plugin", "plugin")): " ".join(
            str(plugin[key]) for key in ("distribution", "version") if plugin.get(key) is not None
        )
        for plugin in environment.get("plugins") or ()
        if _mapping(plugin)
    }
    machine = {key: value for key, value in environment.items() if not isinstance(value, Mapping | list) and key not in _ELSEWHERE}
    return {
        "Data": _told(data),
        "Model": _told(_mapping(results.get("model"))),
        "Run": _told(run) | seed | _timing_facts(timings, results.get("seconds")),
        "Machine": _told(machine),
        "Versions": {str(name): str(version) for name, version in versions.items()},
        "Plugins": plugins,
    }


def _told(values: Mapping[str, Any]) -> dict[str, str]:
    return {words(str(key)): _value(value) for key, value in values.items() if value not in (None, "")}


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def words(name: str) -> str:
    """A key as words.

    >>> words("data_fingerprint"), words("cpu")
    ('Data fingerprint', 'CPU')
    """
    text = " ".join(_SPELLINGS.get(word, word) for word in name.replace("-", "_").split("_") if word)
    return text[:1].upper() + text[1:]


def _timing_facts(timings: Sequence[Mapping[str, Any]], seconds: Any) -> dict[str, str]:
    facts = {}
    if isinstance(seconds, int | float):
        facts["Time, all together"] = duration(seconds)
    if per_epoch := _column(timings, "seconds"):
        facts["Time per epoch"] = f"{duration(statistics.median(per_epoch))} (median of {len(per_epoch)})"
    if speeds := _column(timings, "images_per_s"):
        facts["Training speed"] = f"{statistics.median(speeds):,.0f} images/s (median)"
    return facts


def _column(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [float(row[name]) for row in rows if isinstance(row.get(name), int | float)]


def duration(seconds: float) -> str:
    """A time short enough to read.

    >>> duration(0.04), duration(12.34), duration(754), duration(8000)
    ('0.04 s', '12.3 s', '12 min 34 s', '2 h 13 min')
    """
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
