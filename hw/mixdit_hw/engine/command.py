"""A decoded command, as it travels from the controller to the walkers."""

from amaranth.lib import data

from mixdit_hw.engine.config import EngineConfig
from mixdit_sw.engine.commands import ADDRESSES, FIELDS

STEP_LAYOUT = data.StructLayout({"row_scale": 1, "col_scale": 1, "bias": 1, "residual": 1})
"""Steps of the epilogue that are on."""


def command_layout(config: EngineConfig) -> data.StructLayout:
    """Layout of a checked command: its fields, addresses and distances in bus words.

    `is_convert` takes the place of the opcode.
    """
    widths = {name: field.width for name, field in FIELDS.items()}
    del widths["opcode"], widths["wait"]
    for name in widths:
        if name in ADDRESSES or name.startswith(("c_", "residual_")):
            widths[name] = config.beat_bits
    return data.StructLayout({**widths, "steps": STEP_LAYOUT, "is_convert": 1})
