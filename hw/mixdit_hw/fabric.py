"""What hardware is built of. Results do not depend on it, some latencies do."""

FABRICS = ("gates", "fpga")
"""Gates of a cell library; or an FPGA, with carry chains and multiplier blocks of 18 x 18 bits."""


def has_carry_chains(platform: object) -> bool:
    """Return whether a plain adder is the fastest one where a component is elaborated."""
    return getattr(platform, "fabric", FABRICS[0]) == "fpga"
