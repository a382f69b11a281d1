"""The numerics contract once more, in exact rational arithmetic, one number at a time.

Written from docs/numerics.md, not from the code under test; slow and obvious on purpose.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

LANES = 16
NAN_WORD = 0x7FC00000
INF_WORD = 0x7F800000


@dataclass(frozen=True)
class OracleBlock:
    """A block: stored exponent, 8 micro-exponents, 16 codes."""

    exponent: int
    micro_exponents: tuple[int, ...]
    codes: tuple[int, ...]


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


def float_word(x: float) -> int:
    """Bits of a number that float32 holds."""
    return struct.unpack("<I", struct.pack("<f", x))[0]


def word_value(word: int) -> Fraction | None:
    """Value of FP32 bits as this project reads inputs: subnormals are 0; None for NaN and Inf."""
    sign, field, fraction = word >> 31, (word >> 23) & 0xFF, word & 0x7FFFFF
    if field == 255:
        return None
    if field == 0:
        return Fraction(0)
    return (-1) ** sign * (1 + Fraction(fraction, 1 << 23)) * power(field - 127)


def floor_log2(x: Fraction) -> int:
    guess = x.numerator.bit_length() - x.denominator.bit_length()
    return guess if power(guess) <= x else guess - 1


def nearest_even(x: Fraction) -> int:
    below = x.numerator // x.denominator
    rest = x - below
    if rest == Fraction(1, 2):
        return below + below % 2
    return below + (rest > Fraction(1, 2))


def encode_block(words: list[int], magnitude_bits: int) -> OracleBlock:
    """Quantize 16 FP32 words."""
    values = [word_value(w) for w in words]
    if None in values:
        return OracleBlock(255, (0,) * 8, (0,) * LANES)
    if not any(values):
        return OracleBlock(0, (0,) * 8, (0,) * LANES)
    top = floor_log2(max(abs(v) for v in values))
    taus, codes = [], []
    for pair in range(8):
        members = values[2 * pair : 2 * pair + 2]
        largest = max(abs(v) for v in members)
        tau = 0 if largest and floor_log2(largest) == top else 1
        step = power(top - tau - (magnitude_bits - 1))
        limit = 2**magnitude_bits - 1
        taus.append(tau)
        codes += [max(-limit, min(limit, nearest_even(v / step))) for v in members]
    return OracleBlock(top + 127, tuple(taus), tuple(codes))


def decode_block(block: OracleBlock, magnitude_bits: int) -> list[Fraction] | None:
    """Values of the 16 elements; None for a NaN block."""
    if block.exponent == 255:
        return None
    return [
        code * power(block.exponent - 127 - block.micro_exponents[i // 2] - (magnitude_bits - 1))
        for i, code in enumerate(block.codes)
    ]


def to_fp32(x: Fraction) -> int:
    """FP32 word of an exact number: to nearest even, beyond the range Inf, below normal +0."""
    if x == 0:
        return 0
    step = power(floor_log2(abs(x)) - 23)
    rounded = nearest_even(x / step) * step
    sign = (x < 0) << 31
    if abs(rounded) >= power(128):
        return sign | INF_WORD
    if abs(rounded) < power(-126):
        return 0
    return float_word(float(rounded))


def add_fp32(word: int, block: Fraction) -> int:
    """One step of kind `fp32`."""
    if word & INF_WORD == INF_WORD:
        return word
    return to_fp32((word_value(word) or Fraction(0)) + block)


@dataclass
class AlignedOracle:
    """Kind `aligned`: significand, window and step as the rule names them."""

    f: int
    q: int
    s: int = 0
    window: int = 0

    def add(self, dot: int, weight: int) -> None:
        """Add dot * 2**weight."""
        if dot == 0:
            return
        block_window = (weight - (self.f - 21 - self.q)) // self.q - self.lift(dot)
        block = Fraction(dot) * power(weight - self.q * block_window)
        assert block.denominator == 1
        window = block_window if self.s == 0 else max(self.window - self.room(), block_window)
        s = self.s * power(self.q * (self.window - window))
        d = block * power(self.q * (block_window - window))
        both_move_right = self.window < window and block_window < window
        half = Fraction(1, 2)
        kept = s // 1 if both_move_right else (s + half) // 1
        self.s = int(kept + (d + half) // 1)
        self.window = window
        assert -(2 ** (self.f - 1)) <= self.s < 2 ** (self.f - 1)

    def lift(self, dot: int) -> int:
        """Largest l <= 8 / q for which dot * 2**(q l) fits 21 bits."""
        steps = 8 // self.q
        while not -(2**20) <= dot * power(self.q * steps) < 2**20:
            steps -= 1
        return steps

    def room(self) -> int:
        """Largest n >= -1 for which s * 2**(q n) leaves a bit for the sum."""
        limit = 2 ** (self.f - 2)
        n = -1
        while -limit <= self.s * 2 ** (self.q * (n + 1)) < limit:
            n += 1
        assert -limit <= self.s * power(self.q * n) < limit
        return n

    def value(self) -> Fraction:
        return self.s * power(self.q * self.window)


def blocks_of(operand, row: int) -> list[tuple[OracleBlock, int]]:
    """Blocks of a row of a QuantizedOperand, with their magnitude bits."""
    return [
        (
            OracleBlock(
                int(operand.exponents[row, k]),
                tuple(int(t) for t in operand.micro_exponents[row, k]),
                tuple(int(c) for c in operand.codes[row, k]),
            ),
            fmt.magnitude_bits,
        )
        for k, fmt in enumerate(operand.formats)
    ]


def dot_word(a, b, kind: str, f: int = 0, q: int = 0) -> int:
    """FP32 word of one output; `a` and `b` from `blocks_of`; `kind` is "fp32" or "aligned"."""
    word, aligned = 0, AlignedOracle(f, q)
    for (block_a, bits_a), (block_b, bits_b) in zip(a, b, strict=True):
        values_a, values_b = decode_block(block_a, bits_a), decode_block(block_b, bits_b)
        if values_a is None or values_b is None:
            return NAN_WORD
        total = sum((x * y for x, y in zip(values_a, values_b, strict=True)), Fraction(0))
        if kind == "fp32":
            word = add_fp32(word, total)
            continue
        weight = block_a.exponent + block_b.exponent - 2 * 127 - bits_a - bits_b
        dot = total / power(weight)
        assert dot.denominator == 1
        aligned.add(int(dot), weight)
    return word if kind == "fp32" else to_fp32(aligned.value())


def gemm(a, b, kind: str, f: int = 0, q: int = 0) -> np.ndarray:
    """Words of C = A @ B.T."""
    rows_a = [blocks_of(a, r) for r in range(a.rows)]
    rows_b = [blocks_of(b, r) for r in range(b.rows)]
    return np.array([[dot_word(x, y, kind, f, q) for y in rows_b] for x in rows_a], np.uint32)
