"""The driver on registers that behave like an engine's."""

import pytest

from mixdit_sw.engine.commands import Error
from mixdit_sw.engine.driver import Driver
from mixdit_sw.engine.registers import COUNTERS, IDENTITY, VERSION, Control, Register, Status
from mixdit_sw.errors import MixditError


class FakeEngine:
    """Registers; a list takes a few polls, and ends as it is told."""

    def __init__(self, polls=3, error=Error.NONE, address=0, nan=False):
        self.values = {Register.IDENTITY: IDENTITY, Register.VERSION: VERSION}
        self.polls, self.error, self.address, self.nan = polls, error, address, nan
        self.left, self.status, self.log = 0, Status(0), []
        self.started = []

    def read(self, offset):
        if offset == Register.STATUS:
            if self.left:
                self.left -= 1
                if not self.left:
                    self.end(self.error)
            return int(self.status)
        if offset - 4 in COUNTERS or offset in COUNTERS:
            low = offset in COUNTERS
            value = self.count(offset if low else offset - 4)
            return value & 0xFFFF_FFFF if low else value >> 32
        return self.values.get(offset, 0)

    def count(self, offset):
        return offset << 30 | offset

    def end(self, error):
        self.status = Status.DONE if error == Error.NONE else Status.ERROR
        if self.nan:
            self.status |= Status.NAN
        self.values[Register.ERROR] = int(error)
        self.values[Register.ERROR_ADDRESS] = self.address & 0xFFFF_FFFF
        self.values[Register.ERROR_ADDRESS + 4] = self.address >> 32

    def write(self, offset, value):
        self.log.append((offset, value))
        self.values[offset] = value
        if offset != Register.CONTROL:
            return
        if value & Control.START:
            low, high = (self.values[Register.LIST_ADDRESS + 4 * i] for i in range(2))
            self.started.append(low | high << 32)
            self.left, self.status = self.polls, Status.BUSY
        if value & Control.STOP:
            self.left = 0
            self.end(Error.STOPPED)
        if value & Control.CLEAR:
            self.status &= ~(Status.DONE | Status.ERROR)

    def wait(self):
        """The interrupt."""
        assert self.values[Register.INTERRUPT_ENABLE] == 1
        self.left = 0
        self.end(self.error)


def test_run_by_polling():
    fake = FakeEngine(polls=5)
    driver = Driver(fake.read, fake.write)
    assert fake.log == [(Register.INTERRUPT_ENABLE, 0)]
    outcome = driver.run(0x12_3456_7890)
    assert fake.started == [0x12_3456_7890]
    assert (outcome.error, outcome.error_address, outcome.saw_nan) == (Error.NONE, 0, False)
    assert outcome.counters == {r: fake.count(r) for r in COUNTERS}
    assert outcome.cycles == fake.count(Register.CYCLES)
    assert fake.log[-1] == (Register.CONTROL, Control.CLEAR) and fake.status == 0


def test_run_by_interrupt():
    fake = FakeEngine(polls=1000, error=Error.READ, address=0xAB_0000_0008, nan=True)
    outcome = Driver(fake.read, fake.write, fake.wait).run(64)
    assert (outcome.error, outcome.error_address) == (Error.READ, 0xAB_0000_0008)
    assert outcome.saw_nan


def test_stop():
    fake = FakeEngine(polls=10**9)
    driver = Driver(fake.read, fake.write)
    fake.write(Register.LIST_ADDRESS, 0)
    fake.write(Register.LIST_ADDRESS + 4, 0)
    fake.write(Register.CONTROL, Control.START)
    driver.stop()
    assert driver.outcome().error == Error.STOPPED


def test_minor_versions_do_not_matter():
    fake = FakeEngine()
    fake.values[Register.VERSION] = VERSION | 0x12
    Driver(fake.read, fake.write)


@pytest.mark.parametrize(
    ("register", "value", "message"),
    [
        (Register.IDENTITY, 0, "There is no engine"),
        (Register.VERSION, VERSION + (1 << 16), "version is 2"),
    ],
)
def test_unknown_registers_are_refused(register, value, message):
    fake = FakeEngine()
    fake.values[register] = value
    with pytest.raises(MixditError, match=message):
        Driver(fake.read, fake.write)
    assert not fake.log
