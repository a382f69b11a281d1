"""RTL simulation: cocotb test modules run on Verilator or Icarus, with builds cached by content."""

from .builder import SIMULATORS, build
from .payload import payload
from .runner import SimulationError, SimulationRun, run

__all__ = ["SIMULATORS", "SimulationError", "SimulationRun", "build", "payload", "run"]
