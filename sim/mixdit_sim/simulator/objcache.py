"""Compiler launcher that keeps the objects of Verilator's own library.

They depend on the options only, and take most of the time of a small build: make calls this file
with the compiler's command, which is run unless the object is there from an earlier build.
"""

import os
import sys


def main(command: list[str]) -> int:
    """Run a compiler's command, or copy what it would write."""
    if "/include/verilated" not in command[-1]:
        os.execvp(command[0], command)
    # Imported late: make starts this once for each of the design's many files.
    import pathlib
    import shutil
    import subprocess

    from mixdit_hw.tools import cached_folder, content_key

    output = pathlib.Path(command[command.index("-o") + 1])
    version = subprocess.run(
        [command[0], "--version"], capture_output=True, text=True, check=True
    ).stdout

    def fill(folder: pathlib.Path) -> None:
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
