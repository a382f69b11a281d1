"""Random programs: results bit for bit, counters to the cycle."""

import numpy as np
import pytest
from engine_cases import check, random_case
from engine_configs import ECP5, LOCKSTEP, TINY, needs_icarus

from mixdit_sim.engine.rtl import MEMORY_WORDS


def random_cases(config, count, seed, **limits):
    """Programs that fit the smallest memory, which all tests share."""
    rng = np.random.default_rng(seed)
    cases = [random_case(rng, config, **limits) for _ in range(count)]
    assert all(case.program.image.size <= MEMORY_WORDS * config.bus_bytes for case in cases)
    return cases


def test_random_programs():
    cases = random_cases(TINY, 54, seed=1)
    # Tiles of several sections, and bursts that meet the ends of pages.
    cases += random_cases(TINY, 6, seed=5, largest=(4, 640), gemms=2)
    check(TINY, cases, simulator="verilator")


@needs_icarus
def test_random_programs_on_icarus():
    cases = random_cases(TINY, 6, seed=2, largest=(6, 60), gemms=2)
    check(TINY, cases, simulator="icarus")


@needs_icarus
def test_random_programs_on_multiplier_blocks():
    cases = random_cases(ECP5, 6, seed=6, largest=(9, 60), gemms=2)
    check(ECP5, cases, simulator="icarus")


@pytest.mark.heavy
def test_many_random_programs():
    check(TINY, random_cases(TINY, 320, seed=3), simulator="verilator")


@pytest.mark.heavy
def test_random_programs_with_ports_in_lockstep():
    check(LOCKSTEP, random_cases(LOCKSTEP, 40, seed=4), simulator="verilator")
