"""Time and size of the emitted Verilog of every preset."""

import time

from mixdit_hw.array.array import MatrixArray
from mixdit_hw.config import PRESETS
from mixdit_hw.emit import emit_verilog


def main() -> None:
    """Print a row for each preset."""
    print("| preset | PEs | modules | MB | s |\n|---|---|---|---|---|")
    for name, config in PRESETS.items():
        start = time.perf_counter()
        text = emit_verilog(MatrixArray(config), "array", config.to_dict())
        seconds = time.perf_counter() - start
        modules = text.count("\nmodule ")
        pes = config.rows * config.cols
        print(f"| {name} | {pes} | {modules} | {len(text) / 1e6:.2f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
