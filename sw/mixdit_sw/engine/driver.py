"""Driver of an engine, for any host that reads and writes registers."""

from collections.abc import Callable
from dataclasses import dataclass

from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.registers import COUNTERS, IDENTITY, VERSION, Control, Register, Status
from mixdit_sw.errors import MixditError


@dataclass(frozen=True)
class Outcome:
    """How a command list ended.

    Members
    -------
    error : Error
        NONE if it reached its END.
    error_address : int
        Byte address of the command, or of the bus word, where the error was noticed.
    saw_nan : bool
        NaN blocks were loaded.
    counters : dict of Register to int
        `cycles` and its companions (docs/programming.md).
    """

    error: Error
    error_address: int
    saw_nan: bool
    counters: dict[Register, int]

    @property
    def cycles(self) -> int:
        """Cycles from start to interrupt."""
        return self.counters[Register.CYCLES]


class Driver:
    """Runs command lists on an engine. Memory is the host's business.

    Parameters
    ----------
    read : callable
        Returns the 32-bit register at a byte offset.
    write : callable
        Writes a 32-bit value to a byte offset.
    wait : callable, optional
        Returns when the engine's interrupt is raised; without it STATUS is polled.

    Raises
    ------
    MixditError
        When the registers are not those of an engine that this driver knows.
    """

    def __init__(
        self,
        read: Callable[[int], int],
        write: Callable[[int, int], None],
        wait: Callable[[], None] | None = None,
    ) -> None:
        self._read, self._write, self._wait = read, write, wait
        if read(Register.IDENTITY) != IDENTITY:
            raise MixditError("There is no engine at these registers")
        if read(Register.VERSION) >> 16 != VERSION >> 16:
            raise MixditError(f"The engine's version is {read(Register.VERSION) >> 16}")
        write(Register.INTERRUPT_ENABLE, int(wait is not None))

    def run(self, list_address: int) -> Outcome:
        """Run the command list at a byte address, until it ends."""
        self._write(Register.LIST_ADDRESS, list_address & 0xFFFF_FFFF)
        self._write(Register.LIST_ADDRESS + 4, list_address >> 32)
        self._write(Register.CONTROL, Control.START)
        if self._wait is not None:
            self._wait()
        while self._read(Register.STATUS) & Status.BUSY:
            pass
        outcome = self.outcome()
        self._write(Register.CONTROL, Control.CLEAR)
        return outcome

    def stop(self) -> None:
        """End the list that runs; its error is STOPPED."""
        self._write(Register.CONTROL, Control.STOP)

    def outcome(self) -> Outcome:
        """Return how the last list ended."""
        return Outcome(
            error=Error(self._read(Register.ERROR)),
            error_address=self._wide(Register.ERROR_ADDRESS),
            saw_nan=bool(self._read(Register.STATUS) & Status.NAN),
            counters={register: self._wide(register) for register in COUNTERS},
        )

    def _wide(self, offset: int) -> int:
        return self._read(offset) | self._read(offset + 4) << 32
