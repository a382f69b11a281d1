"""Hostile lists, memories and hosts: a defined end, no hang, and the next program runs right."""

from functools import partial

import numpy as np
import pytest
from conversion_cases import check_conversion, random_conversion_case
from engine_cases import check_result, random_case
from engine_configs import LOCKSTEP, TINY, needs_icarus
from hostile_cases import KINDS
from hostile_conversions import CONVERSION_KINDS
from hostile_list import SMALL
from malformed_lists import single_faults

from mixdit_sim.engine.rtl import MEMORY_WORDS, program_job, run_jobs


def hostile_lists(config, count, seed, kinds=KINDS):
    """So many hostile lists, each kind in its turn."""
    rng = np.random.default_rng(seed)
    return [kinds[i % len(kinds)](rng, config) for i in range(count)]


def next_program(rng, config, number):
    """A correct program, every second one with conversions; what checks its run."""
    if number % 2:
        case, operands = random_conversion_case(rng, config, largest=(6, 40))
        return case, partial(check_conversion, config, case, operands)
    case = random_case(rng, config, **SMALL)
    return case, partial(check_result, config, case)


def survive(config, hostiles, simulator):
    """Run hostile lists, a correct program after each; judge all of them."""
    rng = np.random.default_rng(len(hostiles))
    correct = [next_program(rng, config, number) for number in range(len(hostiles))]
    jobs = []
    for hostile, (case, _) in zip(hostiles, correct, strict=True):
        jobs += [hostile.job, program_job(case.program, case.timing)]
    assert max(job.image.size for job in jobs) <= MEMORY_WORDS * config.bus_bytes
    results = run_jobs(config, jobs, simulator=simulator)
    for number, (hostile, (_, judge)) in enumerate(zip(hostiles, correct, strict=True)):
        hostile.judge(results[2 * number])
        judge(results[2 * number + 1], f"after {hostile.name} ({number})")


def test_hostile_lists():
    survive(TINY, hostile_lists(TINY, 160, seed=1), "verilator")


def test_hostile_conversions():
    survive(TINY, hostile_lists(TINY, 60, seed=6, kinds=CONVERSION_KINDS), "verilator")


def test_every_rule_of_commands():
    survive(TINY, list(single_faults(np.random.default_rng(5), TINY)), "verilator")


@needs_icarus
def test_hostile_lists_on_icarus():
    survive(TINY, hostile_lists(TINY, 6, seed=2, kinds=KINDS[::3]), "icarus")


@pytest.mark.heavy
def test_many_hostile_lists():
    survive(TINY, hostile_lists(TINY, 1120, seed=3), "verilator")


@pytest.mark.heavy
def test_many_hostile_conversions():
    survive(TINY, hostile_lists(TINY, 480, seed=7, kinds=CONVERSION_KINDS), "verilator")


@pytest.mark.heavy
def test_hostile_lists_with_ports_in_lockstep():
    faults = list(single_faults(np.random.default_rng(6), LOCKSTEP))
    survive(LOCKSTEP, faults + hostile_lists(LOCKSTEP, 160, seed=4), "verilator")
