"""Stops, starts and resets while a list runs."""

from engine_cases import random_case
from hostile_list import Hostile, Spoilt, storing_case

from mixdit_sim.engine.model.engine import EngineModel
from mixdit_sim.engine.model.parts import MemoryTiming
from mixdit_sim.engine.rtl import Disturbance
from mixdit_sw.engine.commands import Error, Output
from mixdit_sw.engine.registers import COUNTERS, Status


def busy_bus(rng, config):
    """A program with many results for its operands, on a memory at which words mostly wait."""
    case = random_case(rng, config, largest=(8, 16), gemms=1, operands=False)
    case.timing = MemoryTiming(int(rng.integers(0, 20)), 1, int(rng.integers(2, 8)))
    return Spoilt(rng, config, case)


def writing_cycles(spoilt):
    """How many cycles a program takes, and those in which stopping it is hard.

    Memory takes no word of results then, or the quantizer has some.
    """
    model = EngineModel(spoilt.config, spoilt.program, spoilt.case.timing)
    cycles, writing = 0, []
    while model.state != "IDLE":
        model.step()
        cycles += 1
        waits = model.memory.bursts and model.memory.funds < model.memory.price
        converts = model.kinds.valid and model.kinds.out.output == Output.OPERAND
        if waits or converts or model.writer.source:
            writing.append(cycles)
    return cycles, writing or [cycles]


def stopped(rng, config):
    """STOP in any cycle, often while results wait on the bus."""
    return stop(rng, busy_bus(rng, config) if rng.random() < 0.5 else Spoilt(rng, config))


def stopped_storing(rng, config):
    """STOP in any cycle, often while an operand is stored."""
    return stop(rng, Spoilt(rng, config, storing_case(rng, config)))


def stop(rng, spoilt):
    """Stop a program somewhere."""
    config = spoilt.config
    cycles, writing = writing_cycles(spoilt)
    cycle = int(rng.integers(0, cycles + 8))
    if rng.random() < 0.6:
        cycle = max(int(rng.choice(writing)) - 2, 0)
    command = Disturbance("stop", cycle)
    # The write takes effect two cycles after it is begun.
    if cycle + 2 > cycles:
        return spoilt.runs("STOP after the end", disturbance=command)
    model = EngineModel(config, spoilt.program, spoilt.case.timing)
    model.run(cycle + 1)
    fetched = (model.pointer * spoilt.bus - spoilt.list_address) // spoilt.step
    present = spoilt.address(max(fetched - 1, 0))
    return spoilt.fails("STOP", Error.STOPPED, present, disturbance=command)


def started_twice(rng, config):
    """START of another list while one runs: nothing happens."""
    spoilt = Spoilt(rng, config)
    cycles = max(EngineModel(config, spoilt.program, spoilt.case.timing).run().values())
    # LIST_ADDRESS is written before CONTROL, and takes two cycles.
    cycle, address = int(rng.integers(cycles - 4)), int(rng.integers(1 << 32))
    return spoilt.runs("START while busy", disturbance=Disturbance("start", cycle, address))


def reset_in_transfer(rng, config):
    """Reset of engine and memory in any cycle."""
    return reset_of(rng, Spoilt(rng, config))


def reset_of(rng, spoilt):
    """Reset engine and memory in any cycle of a program: as after power-up."""
    config = spoilt.config
    cycles = max(EngineModel(config, spoilt.program, spoilt.case.timing).run().values())
    job = spoilt.job(disturbance=Disturbance("reset", int(rng.integers(cycles))))

    def judge(result):
        assert result.status == Status(0), result.status
        assert result.outcome.error == Error.NONE, result.outcome
        assert result.outcome.error_address == 0, result.outcome
        assert result.outcome.counters == dict.fromkeys(COUNTERS, 0), result.outcome

    return Hostile("reset", job, judge)
