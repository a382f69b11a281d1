"""Every number format once more, in exact rational arithmetic, one number at a time.

Written from what the formats say of themselves and from the OCP rules, not from their code; slow
and obvious on purpose. Tensors have two axes: rows, and K.
"""

import re
import struct
from bisect import bisect_right
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import inf, isfinite

import numpy as np
from oracle import floor_log2, nearest_even, power

from mixdit_sw.formats.rounding import uniform

LANES = 16
HALF = Fraction(1, 2)
NAN = 0x7FC00000


@dataclass(frozen=True)
class Grid:
    """Elements: magnitudes in units of the least one, by their stored bits without the sign.

    `even` says which have an even significand: a tie goes there, and to the larger magnitude where
    neither has (IEEE 754, for elements of one significant bit).
    """

    bits: int
    magnitudes: tuple[int, ...]
    even: tuple[bool, ...]
    lsb: int = 0
    twos_complement: bool = False

    @property
    def max(self) -> int:
        return self.magnitudes[-1]

    def round(self, x: Fraction, mode: str, u: Fraction) -> int:
        """Code of x, which is in units of the least step; u is for "stochastic"."""
        low = bisect_right(self.magnitudes, abs(x) // 1) - 1
        found = self.magnitudes[low]
        if low + 1 < len(self.magnitudes):
            above = self.magnitudes[low + 1]
            part = (abs(x) - found) / (above - found)
            if {
                "nearest-even": part > HALF or (part == HALF and not self.even[low]),
                "half-away": part >= HALF,
                "truncate": False,
                "stochastic": part + u >= 1,
            }[mode]:
                found = above
        return -found if x < 0 else found

    def stored(self, code: int) -> int:
        """Bits of a code."""
        if self.twos_complement:
            return code % (1 << self.bits)
        return (code < 0) << (self.bits - 1) | self.magnitudes.index(abs(code))


def minifloat(x: int, m: int, count: int | None = None) -> Grid:
    """ExMy; its first `count` patterns are numbers, all by default."""
    patterns = range(count or 1 << (x + m))
    split = [(p >> m, p & ((1 << m) - 1)) for p in patterns]
    magnitudes = tuple((f + (e > 0) * (1 << m)) << max(e - 1, 0) for e, f in split)
    even = tuple((f + (e > 0) * (1 << m)) % 2 == 0 for e, f in split)
    return Grid(1 + x + m, magnitudes, even, 1 - ((1 << (x - 1)) - 1) - m)


@cache
def integer(bits: int, largest: int, lsb: int = 0, twos_complement: bool = False) -> Grid:
    magnitudes = tuple(range(largest + 1))
    return Grid(bits, magnitudes, tuple(n % 2 == 0 for n in magnitudes), lsb, twos_complement)


E4M3 = minifloat(4, 3, 0x7F)
E2M1 = minifloat(2, 1)


@dataclass(frozen=True)
class Spec:
    """A format: its family, its elements, how many share a scale (0: a row)."""

    family: str
    grid: Grid
    group: int = LANES
    unit: int = LANES

    def padded(self, k: int) -> int:
        return -(-k // self.unit) * self.unit

    def size(self, k: int) -> int:
        return self.group or self.padded(k)

    @property
    def emax(self) -> int:
        """Exponent of the largest element."""
        return floor_log2(Fraction(self.grid.max)) + self.grid.lsb


SPECS = {
    "mx9": Spec("micro", integer(8, 127)),
    "mx6": Spec("micro", integer(5, 15)),
    "mx4": Spec("micro", integer(3, 3)),
    "mxfp8_e4m3": Spec("ocp", E4M3, 32, 32),
    "mxfp8_e5m2": Spec("ocp", minifloat(5, 2, 0x7C), 32, 32),
    "mxfp6_e3m2": Spec("ocp", minifloat(3, 2), 32, 32),
    "mxfp6_e2m3": Spec("ocp", minifloat(2, 3), 32, 32),
    "mxfp4": Spec("ocp", E2M1, 32, 32),
    "mxint8": Spec("ocp", integer(8, 127, -6, True), 32, 32),
    "fp4_e2m1": Spec("scaled", E2M1, 128),
    "fp4_e1m2": Spec("scaled", minifloat(1, 2), 128),
    "fp4_e3m0": Spec("scaled", minifloat(3, 0), 128),
    "fp6_e2m3": Spec("scaled", minifloat(2, 3), 0),
    "fp8_e3m4": Spec("scaled", minifloat(3, 4), 0),
    "int8": Spec("scaled", integer(8, 127, 0, True), 0),
    "int4": Spec("scaled", integer(4, 7, 0, True), 0),
    "int8_asym": Spec("asymmetric", integer(8, 255), 128),
    "int6_asym": Spec("asymmetric", integer(6, 63), 128),
    "int4_asym": Spec("asymmetric", integer(4, 15), 128),
    "nvfp4": Spec("nv", E2M1),
    "bf16": Spec("half", Grid(16, (0,), (True,), lsb=7)),
    "fp16": Spec("half", Grid(16, (0,), (True,), lsb=10)),
}
"""By name; `lsb` of a half is the bits of its significand. An asymmetric grid has no sign bit."""


@cache
def spec_of(name: str) -> Spec:
    """Spec of a format, or of its variant with another group size."""
    variant = re.fullmatch(r"(.+)_(g(\d+)|row)", name)
    if variant is None:
        return SPECS[name]
    base = SPECS[variant[1]]
    return Spec(base.family, base.grid, int(variant[3] or 0))


@dataclass
class Oracle:
    """Encoded rows: `mixdit_sw.formats.Blocks` as lists, scales as fractions, None for NaN."""

    codes: list[list[int]]
    exponents: list[list[int]]
    taus: list[list[int]]
    scales: list[list[Fraction | None]]
    zeros: list[list[int]]
    tensor_scale: Fraction | None = None


def fp32(x: Fraction) -> Fraction | float:
    """To nearest even; beyond the range infinite."""
    if x == 0:
        return Fraction(0)
    step = power(max(floor_log2(abs(x)), -126) - 23)
    rounded = nearest_even(x / step) * step
    return rounded if abs(rounded) < power(128) else inf * (1 if x > 0 else -1)


def word(x: Fraction | float | None) -> int:
    """Bits of a number that FP32 holds; None is NaN."""
    return NAN if x is None else struct.unpack("<I", struct.pack("<f", float(x)))[0]


def encode(x: np.ndarray, name: str, mode: str = "nearest-even", seed: int = 0) -> Oracle:
    """Quantize float32 x (rows, K)."""
    spec = spec_of(name)
    k = spec.padded(x.shape[1])
    size = spec.size(x.shape[1])
    width = -(-k // size) * size
    out = Oracle([], [], [], [], [])
    if spec.family == "nv":
        groups = (g for row in x for g in _groups(row, size, k))
        finite = [g for g in groups if all(map(isfinite, g))]
        largest = max((abs(v) for g in finite for v in g), default=0.0)
        out.tensor_scale = fp32(Fraction(largest) / (448 * 6))
    numbers = uniform(x.shape[0] * width, seed) if mode == "stochastic" else None
    for r, row in enumerate(x):
        for part in (out.codes, out.exponents, out.taus, out.scales, out.zeros):
            part.append([])
        for n, group in enumerate(_groups(row, size, k)):
            at = r * width + n * size
            us = [Fraction(0)] * len(group)
            if numbers is not None:
                us = [Fraction(float(u)) for u in numbers[at : at + len(group)]]
            _encode_group(out, spec, group, mode, us)
    return out


def _groups(row: np.ndarray, size: int, k: int) -> list[list[float]]:
    """Groups of a row, padded to k; the last may be shorter."""
    values = [float(v) for v in row] + [0.0] * (k - len(row))
    return [values[at : at + size] for at in range(0, k, size)]


def _encode_group(
    out: Oracle, spec: Spec, group: list[float], mode: str, us: list[Fraction]
) -> None:
    """Append a group to the last row of `out`."""
    blocks, grid = len(group) // LANES, spec.grid
    if spec.family == "half":
        codes = [half_bits(v, spec, mode, u) for v, u in zip(group, us, strict=True)]
        exponent = 127 if all(half_value(c, spec) is not None for c in codes) else 255
        return _append(out, codes, exponent, [1] * 8)
    if not all(map(isfinite, group)):
        taus = [int(spec.family != "micro")] * 8 * blocks
        return _append(out, [0] * len(group), 255, taus, None, 0)
    values = [Fraction(v) for v in group]
    if spec.family == "micro":
        return _encode_micro(out, spec, values, mode, us)
    largest = max(abs(v) for v in values)
    exponent, zero, scale, top = 127, 0, Fraction(0), grid.max
    if spec.family == "ocp":
        x = max(floor_log2(largest) - spec.emax, -127) if largest else -127
        exponent, step = x + 127, power(x + grid.lsb)
    elif spec.family == "scaled":
        scale = step = fp32(largest / grid.max)
    elif spec.family == "asymmetric":
        low, high = min(0, *values), max(0, *values)
        scale = step = fp32(Fraction((float(high) - float(low)) / top))
        zero = min(nearest_even(-low / scale), top) if scale else 0
    else:
        ratio = largest / 6 / out.tensor_scale if out.tensor_scale else Fraction(0)
        scale = E4M3.round(ratio / power(E4M3.lsb), "nearest-even", Fraction(0)) * power(E4M3.lsb)
        step = fp32(scale * out.tensor_scale / 2)
    codes = [grid.round(v / step, mode, u) if step else 0 for v, u in zip(values, us, strict=True)]
    if spec.family == "asymmetric":
        codes = [max(0, min(top, code + zero)) - zero for code in codes]
    return _append(out, codes, exponent, [1] * 8 * blocks, scale, zero)


def _encode_micro(
    out: Oracle, spec: Spec, values: list[Fraction], mode: str, us: list[Fraction]
) -> None:
    """Append a block of 16 with micro-exponents; subnormals are zero."""
    values = [v if abs(v) >= power(-126) else Fraction(0) for v in values]
    largest = max(abs(v) for v in values)
    if not largest:
        return _append(out, [0] * LANES, 0, [0] * 8)
    top = floor_log2(largest)
    taus = [int(max(map(abs, values[i : i + 2])) < power(top)) for i in range(0, LANES, 2)]
    steps = [power(top - taus[i // 2] - (spec.grid.bits - 2)) for i in range(LANES)]
    codes = [spec.grid.round(v / s, mode, u) for v, s, u in zip(values, steps, us, strict=True)]
    return _append(out, codes, top + 127, taus)


def _append(out: Oracle, codes: list, exponent: int, taus: list, scale=None, zero=0) -> None:
    out.codes[-1] += codes
    out.exponents[-1] += [exponent] * (len(codes) // LANES)
    out.taus[-1] += taus
    out.scales[-1].append(scale)
    out.zeros[-1].append(zero)


def half_bits(v: float, spec: Spec, mode: str, u: Fraction) -> int:
    """Bits of BF16 or FP16: as if without upper end, then Inf beyond the largest number."""
    m = spec.grid.lsb
    bias = (1 << (14 - m)) - 1
    infinity = ((2 << (14 - m)) - 1) << m
    if v != v:
        return infinity | 1 << (m - 1)
    if not isfinite(v):
        return (v < 0) << 15 | infinity
    x = abs(Fraction(v))
    binade = max(floor_log2(x), 1 - bias) if x else 1 - bias
    steps = x / power(binade - m)
    count = integer(0, 2 << m).round(steps, mode, u)
    number = count * power(binade - m)
    if number >= power(bias + 1):
        return (v < 0) << 15 | infinity
    if number == 0:
        return 0
    binade = max(floor_log2(number), 1 - bias)
    significand = int(number / power(binade - m))
    field = binade + bias if significand >> m else 0
    return (v < 0) << 15 | field << m | significand % (1 << m)


def half_value(bits: int, spec: Spec) -> Fraction | None:
    """Number of BF16 or FP16 bits; None for NaN and Inf."""
    m = spec.grid.lsb
    bias = (1 << (14 - m)) - 1
    field, fraction = (bits & 0x7FFF) >> m, bits % (1 << m)
    if field == 2 * bias + 1:
        return None
    magnitude = (fraction + (field > 0) * (1 << m)) * power(max(field, 1) - bias - m)
    return -magnitude if bits >> 15 else magnitude


def decode(blocks: Oracle, name: str) -> np.ndarray:
    """FP32 words of the values, uint32 (rows, K)."""
    spec = spec_of(name)
    return np.array([_decode_row(blocks, spec, r) for r in range(len(blocks.codes))], np.uint32)


def steps(blocks: Oracle, spec: Spec, r: int) -> list[Fraction | None]:
    """What one unit of each code of a row is worth, exactly; None in NaN groups."""
    size = spec.size(len(blocks.codes[r]))
    found = []
    for i in range(len(blocks.codes[r])):
        exponent, scale = blocks.exponents[r][i // LANES], blocks.scales[r][i // size]
        if exponent == 255 and spec.family != "half":
            found.append(None)
        elif spec.family == "micro":
            found.append(power(exponent - 127 - blocks.taus[r][i // 2] - (spec.grid.bits - 2)))
        elif spec.family == "ocp":
            found.append(power(exponent - 127 + spec.grid.lsb))
        else:
            nv = spec.family == "nv"
            found.append(fp32(scale * blocks.tensor_scale / 2) if nv else scale)
    return found


def _decode_row(blocks: Oracle, spec: Spec, r: int) -> list[int]:
    if spec.family == "half":
        return [_half_word(code, spec) for code in blocks.codes[r]]
    pairs = zip(blocks.codes[r], steps(blocks, spec, r), strict=True)
    return [word(None if step is None else fp32(code * step)) for code, step in pairs]


def _half_word(bits: int, spec: Spec) -> int:
    value = half_value(bits, spec)
    if value is not None:
        return word(value)
    return NAN if bits % (1 << spec.grid.lsb) else word(-inf if bits >> 15 else inf)


def pack(blocks: Oracle, name: str) -> list[bytes]:
    """Bytes of each row: groups as little-endian integers, what they share in the lowest bits."""
    spec = spec_of(name)
    return [b"".join(_pack_row(blocks, spec, r)) for r in range(len(blocks.codes))]


def _pack_row(blocks: Oracle, spec: Spec, r: int) -> list[bytes]:
    k = len(blocks.codes[r])
    size, groups = spec.size(k), []
    for n, at in enumerate(range(0, k, size)):
        codes, scale, zero = (
            blocks.codes[r][at : at + size],
            blocks.scales[r][n],
            blocks.zeros[r][n],
        )
        fields = []
        if spec.family in ("micro", "ocp"):
            fields.append((blocks.exponents[r][at // LANES], 8))
        if spec.family == "micro":
            fields += [(tau, 1) for tau in blocks.taus[r][at // 2 : at // 2 + 8]]
        if spec.family in ("scaled", "asymmetric"):
            fields.append((word(scale), 32))
        if spec.family == "nv":
            fields.append((0x7F if scale is None else E4M3.stored(scale / power(E4M3.lsb)), 8))
        if spec.family == "asymmetric":
            fields += [(zero, 8)] + [(code + zero, spec.grid.bits) for code in codes]
        elif spec.family == "half":
            fields += [(code, 16) for code in codes]
        else:
            fields += [(spec.grid.stored(code), spec.grid.bits) for code in codes]
        number = width = 0
        for value, bits in fields:
            assert 0 <= value < 1 << bits
            number |= int(value) << width
            width += bits
        assert width % 8 == 0
        groups.append(number.to_bytes(width // 8, "little"))
    return groups
