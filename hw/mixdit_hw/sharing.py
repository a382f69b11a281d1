"""Identical components emitted as one Verilog module and instantiated, however many there are."""

import re
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring

from mixdit_hw.fabric import FABRICS
from mixdit_sw.errors import MixditError

_PORT = re.compile(r"^  wire (?:width (\d+) )?(input|output) \d+ .*?\\(\S+)$", re.M)


class Shared(wiring.Component):
    """Component of which any number of copies become one Verilog module.

    Has the ports of the component inside and behaves like it. In Amaranth's simulator, and for
    any platform that does not ask for sharing, it just contains it.

    The component inside uses no clock domain but `sync`, and names its parameter set in a property
    `module_name`. Amaranth's transformers (`ResetInserter`, `DomainRenamer`, ...) do not reach
    into it once it is shared: do not apply them around it.

    Parameters
    ----------
    inner
        The component. Two with the same `module_name` must be interchangeable.
    """

    def __init__(self, inner: wiring.Component) -> None:
        self._inner = inner
        super().__init__(inner.signature)

    @property
    def inner(self) -> wiring.Component:
        """Component inside."""
        return self._inner

    def elaborate(self, platform: Any) -> Elaboratable | Instance:
        """Contain the component, or instantiate its module."""
        if isinstance(platform, SharingPlatform):
            return self._instance(platform.share(self._inner))
        m = Module()
        m.submodules.inner = self._inner
        # `wiring.connect` cannot flip an array of interfaces, hence port by port.
        inside = component_ports(self._inner)
        for name, (outer, direction) in component_ports(self).items():
            inner = inside[name][0]
            is_input = direction is PortDirection.Input
            m.d.comb += inner.eq(outer) if is_input else outer.eq(inner)
        return m

    def _instance(self, ports: set[str]) -> Instance:
        connections = {
            f"{'i' if direction is PortDirection.Input else 'o'}_{name}": value
            for name, (value, direction) in component_ports(self).items()
            if name in ports
        }
        if "clk" in ports:
            connections["i_clk"] = ClockSignal()
        if "rst" in ports:
            connections["i_rst"] = ResetSignal()
        return Instance(self._inner.module_name, **connections)


class SharingPlatform:
    """Platform for which every shared component is converted once.

    Parameters
    ----------
    fabric
        What is emitted is for: one of `mixdit_hw.fabric.FABRICS`.

    Attributes
    ----------
    modules
        RTLIL of each shared module by name, a module after those it uses.
    """

    def __init__(self, fabric: str = FABRICS[0]) -> None:
        self.fabric = fabric
        self.modules: dict[str, str] = {}
        self._kinds: dict[str, tuple[type, wiring.Signature]] = {}
        self._ports: dict[str, set[str]] = {}

    def convert(self, component: wiring.Component, name: str) -> str:
        """RTLIL of a component and its parts, without the shared modules they use."""
        ports = component_ports(component)
        return rtlil.convert(component, name=name, platform=self, ports=ports, emit_src=False)

    def share(self, inner: wiring.Component) -> set[str]:
        """Convert a component unless an equal one was converted.

        Returns
        -------
        set of str
            Names of the module's ports.

        Raises
        ------
        MixditError
            If a different component has the same `module_name`.
        """
        inner._MustUse__used = True  # a twin of a converted one is left unelaborated on purpose
        name = inner.module_name
        kind = (type(inner), inner.signature)
        if self._kinds.setdefault(name, kind) != kind:
            raise MixditError(f"Two different components are named {name!r}: rename one")
        if name not in self.modules:
            self.modules[name] = text = self.convert(inner, name)
            self._ports[name] = {port["name"] for port in module_ports(text)}
        return self._ports[name]


def component_ports(component: wiring.Component) -> dict[str, tuple[Value, PortDirection]]:
    """Ports of a component's module, named as Amaranth names them.

    Constants, such as the ready of an always_ready stream, and values without bits are no ports.
    """
    ports = {}
    for path, member, value in component.signature.flatten(component):
        value = Value.cast(value)
        if len(value) and not isinstance(value, Const):
            is_input = member.flow is wiring.In
            direction = PortDirection.Input if is_input else PortDirection.Output
            ports["__".join(map(str, path))] = (value, direction)
    return ports


def module_ports(text: str) -> list[dict[str, Any]]:
    """List name, direction and width of the ports of the first module of an RTLIL text."""
    module = text.split("\nend\n")[0]
    return [
        {"name": name, "direction": direction, "width": int(width or 1)}
        for width, direction, name in _PORT.findall(module)
    ]
