"""Lists that the controller must refuse, and with which error."""

from command_rules import (
    ADDRESSES,
    OPERAND,
    SIZES,
    UNUSED,
    address_errors,
    command_errors,
    field,
    reported,
    with_field,
)
from hostile_list import Spoilt, outside

from mixdit_sw.engine.commands import FIELDS, STEPS, Error


def malformed_command(rng, config):
    """A command with one to three faults, or of random bits."""
    spoilt = Spoilt(rng, config)
    index = int(rng.integers(len(spoilt.program.commands)))
    good = spoilt.command(index)
    errors = set()
    while not errors:
        bits = good
        for _ in range(rng.integers(1, 4)):
            bits = FAULTS[rng.integers(len(FAULTS))](rng, config, bits)
        errors = command_errors(bits, config)
    spoilt.put(index, bits)
    return spoilt.fails("malformed command", reported(errors), spoilt.address(index))


def _number(rng, bits):
    """An integer of so many random bits."""
    return int.from_bytes(rng.bytes(-(-bits // 8)), "little") & ((1 << bits) - 1)


def _pick(rng, names):
    return names[rng.integers(len(names))]


def _opcode(rng, config, bits):
    return with_field(bits, "opcode", _number(rng, 8))


def _convert(rng, config, bits):
    """A conversion, that perhaps is none."""
    fields = {"opcode": 3, "output": 2, "stationary_b": 1, "steps": 0, "transposed": 1}
    tiles = config.shape.group_tiles * int(rng.integers(1, 5))
    fields |= {"panel": tiles, "col_tiles": tiles, "source_bf16": int(rng.integers(2))}
    left_out = _pick(rng, [*fields, None, None])
    for name, value in fields.items():
        if name != left_out:
            bits = with_field(bits, name, value)
    return bits


def _reserved(rng, config, bits):
    return bits | 1 << int(_pick(rng, UNUSED))


def _output(rng, config, bits):
    return with_field(bits, "output", int(rng.integers(2, 4)))


def _groups(rng, config, bits):
    """Results as an operand, of tiles that perhaps do not come in groups."""
    tiles, most = config.shape.group_tiles, config.shape.section * 16 // config.shape.cols
    for name, largest in (("panel", config.words), ("col_tiles", 2 * most)):
        if rng.random() < 0.7:
            count = int(rng.integers(1, largest // tiles + 1)) * tiles
            bits = with_field(bits, name, count + int(rng.integers(2)))
    return with_field(with_field(bits, "output", 2), "stationary_b", int(rng.random() < 0.8))


def _steps(rng, config, bits):
    return with_field(bits, "steps", _number(rng, len(STEPS)))


def _zero(rng, config, bits):
    return with_field(bits, _pick(rng, SIZES), 0)


def _too_much(rng, config, bits):
    name = _pick(rng, ("panel", "a_words", "b_words"))
    value = config.words + 1 if rng.random() < 0.5 else _number(rng, 16)
    return with_field(bits, name, value)


def _misaligned(rng, config, bits):
    name = f"{_pick(rng, ADDRESSES)}_address"
    return with_field(bits, name, _number(rng, config.address_bits))


def _far(rng, config, bits):
    name = f"{_pick(rng, ADDRESSES)}_address"
    value = (1 << int(rng.integers(config.address_bits, 64))) + config.bus_bytes
    return with_field(bits, name, value)


def _any_field(rng, config, bits):
    name = _pick(rng, [name for name in FIELDS if name != "opcode"])
    return with_field(bits, name, _number(rng, FIELDS[name].width))


def _any_bits(rng, config, bits):
    return _number(rng, 32 * 32)


FAULTS = (
    _opcode,
    _convert,
    _reserved,
    _output,
    _groups,
    _steps,
    _zero,
    _too_much,
    _misaligned,
    _far,
    _any_field,
    _any_bits,
)


def single_faults(rng, config):
    """Every rule of a command, broken alone, at its edge where it has one."""
    wide = 1 << config.address_bits
    changes = [{"opcode": value} for value in (0, 4, 255)]
    changes += [{"transposed": 1}, {"source_bf16": 1}, {"opcode": 3}]
    changes += [{"output": value} for value in (2, 3)]
    unbuilt = [i for i, name in enumerate(STEPS) if name not in config.steps]
    changes += [{"steps": 1 << i} for i in unbuilt]
    changes += [{name: 0} for name in SIZES]
    changes += [
        {f"{name}_address": value}
        for name in ADDRESSES
        for value in (1, config.bus_bytes // 2, wide, 1 << 63)
    ]
    most = config.words
    changes += [{name: most + 1} for name in ("a_words", "b_words", "panel")]
    changes += [{"stationary_b": b, "panel": most // 2 + 1, f"{'ab'[b]}_words": 2} for b in (0, 1)]
    spoilt = Spoilt(rng, config)
    while field(spoilt.command(0), "output") == OPERAND:  # whose rules more than one change breaks
        spoilt = Spoilt(rng, config)
    good = spoilt.command(0)
    faulty = [good | 1 << bit for bit in UNUSED[:: max(1, len(UNUSED) // 40)]]
    for values in changes:
        bits = good
        for name, value in values.items():
            bits = with_field(bits, name, value)
        faulty.append(bits)
    for bits in faulty:
        spoilt.put(0, bits)
        errors = command_errors(bits, config)
        assert len(errors) == 1, (hex(bits ^ good), errors)
        yield spoilt.fails(f"fault {bits ^ good:x}", reported(errors), spoilt.address(0))


def bad_list_address(rng, config):
    """A list that cannot be where it is said to be, or is outside memory."""
    spoilt = Spoilt(rng, config)
    kind = rng.integers(3)
    if kind == 0:
        address = spoilt.list_address + int(rng.integers(1, config.bus_bytes))
    elif kind == 1:
        address = spoilt.list_address | 1 << int(rng.integers(config.address_bits, 64))
    else:
        address = outside(rng, config)
    spoilt.list_address = address
    errors = address_errors(address, config) or {Error.READ}
    inside = address % (1 << config.address_bits) // config.bus_bytes * config.bus_bytes
    return spoilt.fails("bad list address", reported(errors), inside)


def missing_end(rng, config):
    """A list that goes on into zeros, or whose END is something else."""
    spoilt = Spoilt(rng, config)
    index = len(spoilt.program.gemms)
    spoilt.put(index, 0 if rng.random() < 0.5 else int(rng.integers(4, 256)))
    return spoilt.fails("missing END", Error.OPCODE, spoilt.address(index))
