"""Readable names of a mapped netlist's registers: the signals they hold."""

from __future__ import annotations

import re
from collections.abc import Callable

_MODULE = re.compile(r"^module\s+(\\\S+|\w+)(.*?)^endmodule", re.S | re.M)
_INSTANCE = re.compile(r"^  (\\\S+|[A-Za-z]\w*) +(\\\S+|\w+) +\((.*?)^  \);", re.S | re.M)
_HELD = re.compile(r"\.(?:Q|QN|q)\(\s*\\?([^\s)]+)")


def register_names(netlist: str, top: str) -> Callable[[str], str]:
    """Make a function that names a register, given as a path of instances, by its output net.

    Names that are not a register's are returned as they are.
    """
    modules = {
        m[1].lstrip("\\"): {
            i[2].lstrip("\\"): (i[1].lstrip("\\"), i[3]) for i in _INSTANCE.finditer(m[2])
        }
        for m in _MODULE.finditer(netlist)
    }

    def name(path: str) -> str:
        module, place, rest = top, "", path
        while module in modules:
            fits = [i for i in modules[module] if rest == i or rest.startswith(f"{i}/")]
            if not fits:
                return path
            instance = max(fits, key=len)
            module, pins = modules[module][instance]
            if rest == instance:
                held = _HELD.search(pins)
                return f"{place}{held[1]}" if held else path
            place, rest = f"{place}{instance}/", rest[len(instance) + 1 :]
        return path

    return name
