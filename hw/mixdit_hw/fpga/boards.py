"""Boards that a bitstream can be made for."""

from dataclasses import dataclass

from mixdit_sw.errors import MixditError


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an ECP5-85F.

    Attributes
    ----------
    package
        Of the device, as nextpnr names it.
    clock_mhz
        Of its oscillator.
    pins
        Site of each port of the top.
    """

    package: str
    clock_mhz: float
    pins: dict[str, str]

    @property
    def lpf(self) -> str:
        """Pin constraints in Lattice's format."""
        return "".join(
            f'LOCATE COMP "{port}" SITE "{site}";\nIOBUF PORT "{port}" IO_TYPE=LVCMOS33;\n'
            for port, site in self.pins.items()
        )


BOARDS = {
    "ulx3s": Board(
        package="CABGA381",
        clock_mhz=25,
        pins={"clock": "G2", "running": "B2", "passed": "C2", "failed": "C1", "mismatch": "D2"},
    ),
}
"""`ulx3s`: Radiona's ULX3S with an LFE5U-85F; lights D0 to D3."""


def get_board(name: str) -> Board:
    """Return the board called `name`.

    Raises
    ------
    MixditError
        When there is none.
    """
    if name not in BOARDS:
        raise MixditError(f"Board must be one of {', '.join(BOARDS)}, not '{name}'")
    return BOARDS[name]
