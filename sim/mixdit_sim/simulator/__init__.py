"""RTL simulation: cocotb test modules run on Verilator or Icarus, with builds cached by content."""

from .build import SIMULATORS, build
from .payload import payload
from .run import SimulationError, SimulationRun, run

__all__ = ["SIMULATORS", "SimulationError", "SimulationRun", "build", "payload", "run"]
