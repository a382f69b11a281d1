"""A memory image that is laid out part by part."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Image:
    """A memory image that grows.

    Members
    -------
    size : int
        Bytes in use.
    parts : list of (int, uint8 (n,))
        Address and content of what is not zero.
    """

    bus_bytes: int
    size: int = 0
    parts: list[tuple[int, np.ndarray]] = field(default_factory=list)

    def reserve(self, count: int) -> int:
        """Return the address of so many bytes, from a bus word's start on."""
        address = self.size
        self.size += -(-count // self.bus_bytes) * self.bus_bytes
        return address

    def add(self, content: np.ndarray) -> int:
        """Store bytes; return their address."""
        flat = np.ascontiguousarray(content).reshape(-1).view(np.uint8)
        address = self.reserve(flat.size)
        self.parts.append((address, flat))
        return address

    def bytes(self) -> np.ndarray:
        """Return the whole image, uint8 (size,)."""
        memory = np.zeros(self.size, np.uint8)
        for address, content in self.parts:
            memory[address : address + content.size] = content
        return memory
