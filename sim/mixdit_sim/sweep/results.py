"""Results of a sweep: rates, and which points no other one beats."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mixdit_sim.sweep.plan import Candidate, Settings, show_value
from mixdit_sim.sweep.point import Figures

TOLERANCE_DB = 0.01
"""QSNR closer than this is the same (docs/numerics.md)."""
RATE_PAIR = "mx6xmx6"
"""Pair of formats whose rate is compared with the loss of accumulators."""


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """A point of a sweep: its figures, or why there are none.

    Members
    -------
    name : str
        The values that differ in the sweep.
    parameters : dict
        Of the configuration.
    figures : Figures
        What was measured.
    refused : str
        Why there is no such configuration.
    failed : str
        Why it could not be measured.
    """

    name: str
    parameters: dict[str, object] | None
    figures: Figures | None
    refused: str | None = None
    failed: str | None = None

    @property
    def status(self) -> str:
        """One of "measured", "refused", "failed"."""
        if self.refused is not None:
            return "refused"
        return "measured" if self.figures is not None else "failed"

    def rates(self, memory_ge_per_bit: float, with_clock: bool) -> dict[str, float]:
        """Return the delivered rate per area by pair of formats, empty without area or clock.

        MMAC/s per 1000 GE, or MACs a cycle per million GE `with_clock` false: the peak rate times
        the utilization of the workload.
        """
        x = self.figures
        if x is None or x.ge is None or x.memory_bits is None:
            return {}
        if with_clock and x.fmax_mhz is None:
            return {}
        speed = x.fmax_mhz if with_clock and x.fmax_mhz is not None else 1e3
        area = (x.ge + memory_ge_per_bit * x.memory_bits) / 1e3
        return {
            pair: (macs or 0) * x.utilization * speed / area
            for pair, macs in x.peak_macs_per_cycle.items()
            if macs
        }

    def to_dict(self, rates: dict[str, float]) -> dict[str, Any]:
        """Return all values, as written to JSON."""
        return {
            "name": self.name,
            "status": self.status,
            "reason": self.refused or self.failed,
            "parameters": self.parameters,
            **({} if self.figures is None else self.figures.to_dict()),
            "rate_per_area": rates,
        }


@dataclass(frozen=True, kw_only=True)
class Place:
    """A point in the plane of a Pareto front: the larger both, the better.

    Members
    -------
    name : str
        Point.
    pair : str
        Formats that are multiplied; beside a loss the widest that the machine is built for.
    rate : float
        Delivered, per area.
    db : float
        QSNR, or the loss of the accumulator below zero.
    """

    name: str
    pair: str
    rate: float
    db: float


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """All points in their order."""

    settings: Settings
    points: list[PointResult]

    @property
    def with_clock(self) -> bool:
        """Whether rates are per second: any point has a clock."""
        return any(x.figures is not None and x.figures.fmax_mhz is not None for x in self.points)

    @property
    def unit(self) -> str:
        """Unit of rates per area."""
        return "MMAC/s per kGE" if self.with_clock else "MACs/cycle per MGE"

    def rates(self, point: PointResult) -> dict[str, float]:
        """Return a point's delivered rate per area."""
        return point.rates(self.settings.memory_ge_per_bit, self.with_clock)

    @property
    def by_quality(self) -> list[Place]:
        """Every pair of formats of every point: rate per area against QSNR."""
        return [
            Place(name=point.name, pair=pair, rate=rate, db=point.figures.qsnr_db[pair])
            for point in self.points
            if point.figures is not None and point.figures.qsnr_db is not None
            for pair, rate in self.rates(point).items()
        ]

    @property
    def by_loss(self) -> list[Place]:
        """Every point: MX6 x MX6 rate per area against what its accumulator loses at worst."""
        return [
            Place(
                name=point.name,
                pair=point.figures.pairs[-1],
                rate=self.rates(point)[RATE_PAIR],
                db=-max(point.figures.loss_db, 0.0),
            )
            for point in self.points
            if point.figures is not None
            and point.figures.loss_db is not None
            and RATE_PAIR in self.rates(point)
        ]

    @property
    def quality_front(self) -> list[Place]:
        """Which of `by_quality` none beats."""
        return pareto(self.by_quality)

    @property
    def loss_front(self) -> list[Place]:
        """Which of `by_loss` none beats that is built for the same formats."""
        places = self.by_loss
        widest = dict.fromkeys(x.pair for x in places)
        return [x for pair in widest for x in pareto([y for y in places if y.pair == pair])]

    def to_dict(self) -> dict[str, Any]:
        """Return all values, as written to JSON."""
        return {
            "settings": self.settings.to_dict(),
            "rate_unit": self.unit,
            "points": [x.to_dict(self.rates(x)) for x in self.points],
            "pareto": [vars(x) for x in self.quality_front],
            "pareto_accumulator": [vars(x) for x in self.loss_front],
        }


def pareto(places: Sequence[Place]) -> list[Place]:
    """Return the places that none beats, the fastest first.

    A place beats another that is slower and not better by `TOLERANCE_DB`; of equal ones the first
    is kept.
    """
    front: list[Place] = []
    for place in sorted(places, key=lambda x: (-x.rate, -x.db)):
        if not front or place.db > front[-1].db + TOLERANCE_DB:
            front.append(place)
    return front


def labels(candidates: Sequence[Candidate]) -> list[str]:
    """Return a name for each point: the values of the dimensions that differ in the sweep."""
    names = list(dict.fromkeys(name for x in candidates for name in x.values))
    values = {name: {repr(x.values.get(name)) for x in candidates} for name in names}
    shown = [name for name in names if len(values[name]) > 1]
    return [
        " ".join(f"{n}={show_value(x.values[n])}" for n in shown if n in x.values) or "default"
        for x in candidates
    ]
