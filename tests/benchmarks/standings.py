"""Rates of loops that took turns, their ratios, and the table that says so."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from peers.contender import Choice


@dataclass(frozen=True)
class Spread:
    """Least, median and greatest of some rounds."""

    least: float
    median: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(least=1.0, median=2.0, greatest=3.0)
        """
        return cls(min(values), statistics.median(values), max(values))


@dataclass(frozen=True)
class Tried:
    """A combination that was tried shortly: its rate, or what it failed with."""

    choice: Choice
    images_per_s: float | None
    problem: str = ""


@dataclass(frozen=True)
class PeerStanding:
    """One peer on one job.

    tried: every combination. chosen: the fastest of them. rates: images per second, one for each round.
    skipped: why there are no rates.
    """

    tried: tuple[Tried, ...] = ()
    chosen: Choice | None = None
    rates: tuple[float, ...] = ()
    skipped: str = ""


@dataclass(frozen=True)
class JobStanding:
    """One job: the toolkit's rates (images per second, one for each round) and how its peers did in the same rounds.

    chosen: what the toolkit chose for itself, in its own words.
    data: where the pictures come from.
    """

    job: str
    batch_size: int
    data: str
    chosen: str
    rates: tuple[float, ...]
    peers: dict[str, PeerStanding] = field(default_factory=dict)

    def ratio(self, peer: str) -> Spread:
        """How many times as fast as the peer the toolkit is, round by round."""
        return Spread.of([ours / theirs for ours, theirs in zip(self.rates, self.peers[peer].rates, strict=True)])

    def as_json(self) -> dict[str, Any]:
        """Everything, with the ratios of the peers that were measured."""
        ratios = {name: asdict(self.ratio(name)) for name, peer in self.peers.items() if peer.rates}
        return asdict(self) | {"ratios": ratios}


def fastest(tried: Sequence[Tried]) -> Choice | None:
    """The combination of the highest rate; None where all failed."""
    rated = [(one.images_per_s, one.choice) for one in tried if one.images_per_s is not None]
    return max(rated, key=lambda pair: pair[0])[1] if rated else None


def table(standings: Sequence[JobStanding]) -> str:
    """One line for each job and loop; the ratios are toolkit : peer, least / median / greatest of the rounds."""
    lines = [f"{'job':<12} {'loop':<10} {'images/s':>10}   {'toolkit : loop':<22} chosen"]
    for standing in standings:
        lines.append(_line(standing.job, "toolkit", standing.rates, "", f"{standing.chosen}; {standing.data}"))
        for name, peer in standing.peers.items():
            if peer.rates:
                ratio = standing.ratio(name)
                text = f"{ratio.least:.2f} / {ratio.median:.2f} / {ratio.greatest:.2f}"
                lines.append(_line("", name, peer.rates, text, str(peer.chosen)))
            else:
                lines.append(f"{'':<12} {name:<10} {'-':>10}   skipped: {peer.skipped}")
    return "\n".join(lines)


def _line(job: str, loop: str, rates: Sequence[float], ratio: str, chosen: str) -> str:
    return f"{job:<12} {loop:<10} {statistics.median(rates):>10,.0f}   {ratio:<22} {chosen}"
