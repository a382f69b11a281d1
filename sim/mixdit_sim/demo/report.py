"""What the demo reports."""

from dataclasses import asdict, dataclass

from mixdit_hw.area import AreaReport


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """How one of the block's GEMMs went.

    Members
    -------
    name, shape, formats : str, (count, M, N, K), str
        What it is.
    macs : int
        Multiply-adds.
    cycles, predicted_cycles : int
        Measured on the RTL, from start to interrupt; by the cycle model.
    utilization : float
        Share of the multipliers' time that went into unpadded products.
    stalls : dict of str to int
        Cycles in which the array waited, by cause.
    qsnr_db, qsnr_mx6_db : float
        Against FP32, as run and with everything in MX6.
    mismatches : int
        Words in which RTL and golden model differ.
    """

    name: str
    shape: tuple[int, int, int, int]
    formats: str
    macs: int
    cycles: int
    predicted_cycles: int
    utilization: float
    stalls: dict[str, int]
    qsnr_db: float | None
    qsnr_mx6_db: float | None
    mismatches: int


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo found.

    Members
    -------
    gemms : list of LayerReport
        The six GEMMs.
    area : AreaReport
        Area of the array.
    """

    gemms: list[LayerReport]
    area: AreaReport

    @property
    def passed(self) -> bool:
        """No mismatch, and every cycle count as predicted."""
        return all(g.mismatches == 0 and g.cycles == g.predicted_cycles for g in self.gemms)

    def to_dict(self) -> dict[str, object]:
        """Return the values, as written to JSON."""
        return {"gemms": [asdict(gemm) for gemm in self.gemms], "area": self.area.to_dict()}
