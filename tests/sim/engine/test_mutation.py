"""Mutation: an engine with a random fault must be told from one without (docs/mutation.md)."""

import json
from collections import Counter

import numpy as np
import pytest
from conversion_cases import check_memory
from mutants import UNITS, mutated_testbench
from mutation_programs import trials
from mutation_trial import CONFIG

from mixdit_sim.array.rtl import working_folder
from mixdit_sim.engine.model.engine import predict
from mixdit_sim.engine.testbench import TOP
from mixdit_sim.simulator import SimulationError, run
from mixdit_sw.engine.registers import COUNTERS, Register

WORDS = 4096
SEED = 1
MUTANTS = 20
"""Of each unit."""
SHARE = 0.85
"""Of the mutants that change something, other equivalent ones among them (docs/mutation.md)."""
PATIENCE = 100_000
REGISTERS = 64


def trial_case(folder, number, trial):
    """Write a trial's memory; return what the bench must know."""
    image = trial.program.image.bytes()
    assert image.size <= WORDS * CONFIG.bus_bytes
    rows = image.reshape(-1, CONFIG.bus_bytes)
    lines = (row[::-1].tobytes().hex() for row in rows)
    (folder / f"image_{number}_0.hex").write_text("\n".join(lines) + "\n")
    address = trial.list_address
    return {
        "knobs": {
            "number": number,
            "latency": trial.timing.latency,
            "gain": trial.timing.gain,
            "price": trial.timing.price,
            "fault": 0 if trial.fault_word is None else 2 + number % 2,
            "fault_word": trial.fault_word or 0,
            "origin": trial.origin,
            "pauses": trial.pauses,
            "dump_first": 0,
            "dump_last": len(rows) - 1,
        },
        "list_address": trial.program.list_address if address is None else address,
        "patience": PATIENCE,
        "stop_after": trial.stop_after,
    }


def run_mutants(verilog, numbers, found, folder):
    """Run mutants; one that ends the simulation is told apart too.

    Returns
    -------
    dict
        For each mutant what the bench said, or "ends the simulation"; None if it survived.
    """
    (folder / f"{TOP}.v").write_text(verilog)
    cases = [trial_case(folder, number, trial) for number, trial in enumerate(found)]
    verdicts, left = {}, list(numbers)
    while True:
        (folder / "verdicts.jsonl").unlink(missing_ok=True)
        (folder / "reference.json").unlink(missing_ok=True)
        job = {"trials": cases, "mutants": left}
        failed = None
        try:
            run("verilator", folder / f"{TOP}.v", TOP, "mutation_bench", job, folder=folder)
        except SimulationError as error:
            failed = error
            if not (folder / "verdicts.jsonl").is_file():
                raise
        for line in (folder / "verdicts.jsonl").read_text().splitlines():
            number, verdict = json.loads(line)
            verdicts[number] = "ends the simulation" if verdict == "began" else verdict
        rest = [number for number in left if number not in verdicts]
        if not rest:
            return verdicts
        assert failed and len(rest) < len(left), failed
        left = rest


def check_reference(reference, found):
    """Check the engine itself: results bit for bit, counters exactly, errors where they belong."""
    for number, (outcome, trial) in enumerate(zip(reference, found, strict=True)):
        registers = outcome["registers"][-3 - REGISTERS : -3]
        wide = {
            offset: registers[offset // 4] | registers[offset // 4 + 1] << 32
            for offset in (*COUNTERS, Register.ERROR_ADDRESS)
        }
        assert not outcome["registers"][-1], f"trial {number} violates AXI4"
        if trial.error is not None:
            assert registers[Register.ERROR // 4] == trial.error, (number, trial.error)
        if trial.error_address is not None:
            assert wide[Register.ERROR_ADDRESS] == trial.error_address, (number, trial.error)
        if trial.case is None:
            continue
        check_memory(CONFIG, trial.case, trial.made, memory_of(outcome["memory"]), number)
        if trial.pauses:
            continue
        counters = predict(CONFIG, trial.case.program, trial.timing)
        del counters[Register.NAN_BLOCKS]
        assert all(wide[name] == counters[name] for name in counters), number


def memory_of(text):
    """Bytes of a dump."""
    lines = [line.strip() for line in text.splitlines() if line and line[0] not in "@/"]
    raw = np.frombuffer(bytes.fromhex("".join(lines).replace("x", "0")), np.uint8)
    return raw.reshape(-1, CONFIG.bus_bytes)[:, ::-1].reshape(-1)


def try_all(folder):
    """Return the mutants and their verdicts."""
    found = trials()
    verilog, mutants = mutated_testbench(CONFIG, WORDS, dict.fromkeys(UNITS, MUTANTS), SEED)
    verdicts = run_mutants(verilog, [mutant.number for mutant in mutants], found, folder)
    check_reference(json.loads((folder / "reference.json").read_text()), found)
    return mutants, verdicts


def report(mutants, verdicts):
    """Return the lines of a report: killed by unit, by how, and the survivors."""
    lines = []
    for unit in UNITS:
        numbers = [mutant.number for mutant in mutants if mutant.unit == unit]
        killed = sum(verdicts[number] is not None for number in numbers)
        lines.append(f"{unit}: {killed} of {len(numbers)}")
    how = Counter(v if isinstance(v, str) else v[1] for v in verdicts.values() if v)
    lines.append(f"killed by: {dict(how)}")
    return lines + [f"survived: {m}" for m in mutants if verdicts[m.number] is None]


@pytest.mark.heavy
def test_mutants_are_told_apart():
    with working_folder() as folder:
        mutants, verdicts = try_all(folder)
    killed = sum(verdict is not None for verdict in verdicts.values())
    print("\n".join(report(mutants, verdicts)))
    assert len(mutants) >= 200
    assert all(verdicts[m.number] is None for m in mutants if m.is_idle)
    assert killed >= SHARE * sum(not m.is_idle for m in mutants), report(mutants, verdicts)
