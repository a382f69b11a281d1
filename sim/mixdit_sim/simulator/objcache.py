"""Compiler launcher that keeps the objects of Verilator's own library.

They depend on the options only, and take most of the time of a small build: make calls this with
the compiler's command, which is run unless the object is there from an earlier build.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from mixdit_hw.tools import cached_folder, content_key


def main(command: list[str]) -> int:
    """Run a compiler's command, or copy what it would write."""
    source = Path(command[-1])
    if not (source.parent.name == "include" and source.name.startswith("verilated")):
        return subprocess.run(command, check=False).returncode
    output = Path(command[command.index("-o") + 1])
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, text=True, check=True
    ).stdout

    def fill(folder: Path) -> None:
        subprocess.run(command, check=True)
        shutil.copy(output, folder)

    try:
        folder = cached_folder("sim/objects", content_key(" ".join(command), version), fill)
    except subprocess.CalledProcessError as error:
        return error.returncode
    shutil.copy(folder / output.name, output)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
