"""Hostile lists, memories and hosts: a defined end, no hang, and the next program runs right."""

import numpy as np
import pytest
from engine_cases import check_result, random_case
from engine_configs import LOCKSTEP, TINY, needs_icarus
from hostile_cases import KINDS
from hostile_list import SMALL

from mixdit_sim.engine.rtl import MEMORY_WORDS, program_job, run_jobs


def survive(config, count, seed, simulator, kinds=KINDS):
    """Run so many hostile lists, a correct program after each; judge all of them."""
    rng = np.random.default_rng(seed)
    hostiles = [kinds[i % len(kinds)](rng, config) for i in range(count)]
    cases = [random_case(rng, config, **SMALL) for _ in hostiles]
    jobs = []
    for hostile, case in zip(hostiles, cases, strict=True):
        jobs += [hostile.job, program_job(case.program, case.timing)]
    assert max(job.image.size for job in jobs) <= MEMORY_WORDS * config.bus_bytes
    results = run_jobs(config, jobs, simulator=simulator)
    for number, (hostile, case) in enumerate(zip(hostiles, cases, strict=True)):
        hostile.judge(results[2 * number])
        check_result(config, case, results[2 * number + 1], f"after {hostile.name} ({number})")


def test_hostile_lists():
    survive(TINY, 160, seed=1, simulator="verilator")


@needs_icarus
@pytest.mark.parametrize("kind", [KINDS[0], KINDS[-1]])
def test_hostile_lists_on_icarus(kind):
    survive(TINY, 3, seed=2, simulator="icarus", kinds=[kind])


@pytest.mark.heavy
def test_many_hostile_lists():
    survive(TINY, 1120, seed=3, simulator="verilator")


@pytest.mark.heavy
def test_hostile_lists_with_ports_in_lockstep():
    survive(LOCKSTEP, 160, seed=4, simulator="verilator")
