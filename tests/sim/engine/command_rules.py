"""What is wrong with a command or a list's address, as docs/programming.md says it."""

from mixdit_sw.engine.commands import FIELDS, STEPS, Error

ADDRESSES = ("a", "b", "c", "residual", "row_vector", "col_vector", "tags")
SIZES = ("row_tiles", "col_tiles", "panel", "k_blocks", "a_words", "b_words", "a_beats", "b_beats")
DISTANCES = ("c_row_beats", "c_col_beats", "residual_row_beats", "residual_col_beats")
END, GEMM, CONVERT = 1, 2, 3
OPERAND = 2
"""Output: as an operand."""


def field(bits, name):
    """Value of a field of a command, given as one integer."""
    place = FIELDS[name]
    return bits >> (32 * place.word + place.bit) & ((1 << place.width) - 1)


def with_field(bits, name, value):
    """The command with another value in a field."""
    place = FIELDS[name]
    at = 32 * place.word + place.bit
    return bits & ~(((1 << place.width) - 1) << at) | value << at


def unused_bits():
    """Positions of the bits that belong to no field."""
    used = 0
    for name in FIELDS:
        used = with_field(used, name, (1 << FIELDS[name].width) - 1)
    return [i for i in range(32 * 32) if not used >> i & 1]


UNUSED = unused_bits()


def command_errors(bits, config):
    """All that is wrong with a command, given as one integer."""
    shape = config.shape
    value = {name: field(bits, name) for name in FIELDS}
    if value["opcode"] == END:
        return set()
    if value["opcode"] not in (GEMM, CONVERT):
        return {Error.OPCODE}
    is_gemm = value["opcode"] == GEMM
    errors = set()
    unbuilt = any(
        value["steps"] >> i & 1 and name not in shape.steps for i, name in enumerate(STEPS)
    )
    far = any(value[name] >= 2**shape.address_bits // shape.bus_bytes for name in DISTANCES)
    if any(bits >> i & 1 for i in UNUSED) or bad_output(value, shape) or unbuilt or far:
        errors.add(Error.FIELD)
    if bad_gemm(value) if is_gemm else bad_conversion(value, shape):
        errors.add(Error.FIELD)
    if any(value[name] == 0 for name in SIZES[: None if is_gemm else 3]):
        errors.add(Error.SIZE)
    for name in ADDRESSES:
        errors |= address_errors(value[f"{name}_address"], config)
    words = value["a_words"], value["b_words"]
    panel = value["panel"] * words[value["stationary_b"]]
    streamed = words[not value["stationary_b"]]
    if is_gemm and max(panel, streamed, value["panel"], *words) > config.words:
        errors.add(Error.CAPACITY)
    return errors


def bad_gemm(value):
    """Whether fields are set that only a conversion has."""
    return value["transposed"] or value["source_bf16"]


def bad_conversion(value, shape):
    """Whether a conversion is not as it must be; its tiles as an operand apart."""
    return (
        value["output"] != OPERAND
        or value["steps"]
        or value["panel"] != value["col_tiles"]
        or (value["transposed"] and shape.rows != shape.cols)
    )


def bad_output(value, shape):
    """Whether results cannot be stored as is asked."""
    if value["output"] != OPERAND:
        return value["output"] > OPERAND
    tiles = max(1, 16 // shape.cols)
    columns = value["col_tiles"] * shape.cols // 16
    return (
        not value["stationary_b"]
        or value["panel"] % tiles != 0
        or value["col_tiles"] % tiles != 0
        or columns > shape.section
    )


def address_errors(address, config):
    """All that is wrong with a byte address."""
    errors = set()
    if address % config.shape.bus_bytes:
        errors.add(Error.ALIGNMENT)
    if address >= 2**config.shape.address_bits:
        errors.add(Error.RANGE)
    return errors


def reported(errors):
    """The one of several errors that ERROR shows."""
    return min(errors, default=Error.NONE)
