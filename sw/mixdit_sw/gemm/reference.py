"""Golden GEMM in integers, written as the numerics contract reads (docs/numerics.md). Slow.

`mixdit_sw.gemm.fast` is its fast twin.
"""

from dataclasses import dataclass

import numpy as np

from mixdit_sw.errors import MixditError
from mixdit_sw.formats import EXPONENT_BIAS, NAN_EXPONENT, dot_bits
from mixdit_sw.gemm.kinds import GUARDED_BITS, Aligned, Fp32, Kind
from mixdit_sw.operand import QuantizedOperand

NAN_BITS = 0x7FC00000
INF_BITS = 0x7F800000
SIG_BITS = 24


def golden_gemm(a: QuantizedOperand, b: QuantizedOperand, kind: Kind) -> np.ndarray:
    """Return C = A @ B.T as the engine computes it.

    Parameters
    ----------
    a, b : QuantizedOperand
        (M, K) and (N, K), in the same K order.
    kind : Kind
        Accumulator.

    Returns
    -------
    float32 (M, N)
        Bit for bit the engine's; NaN is 0x7FC00000.

    Raises
    ------
    MixditError
        When K or the order of the channels differ, or blocks do not fit the accumulator.

    Three forms, by format (docs/numerics.md): digit packets alone; digit packets whose groups have
    real-valued scales; numbers without digit packets, for which `kind` does not matter.
    """
    check_operands(a, b, kind)
    is_nan = (a.exponents == NAN_EXPONENT).any(axis=1)[:, None]
    is_nan = is_nan | (b.exponents == NAN_EXPONENT).any(axis=1)[None, :]
    if not (a.has_packets and b.has_packets):
        words = _multiply_values(a, b)
    elif a.scales is None and b.scales is None:
        words = _sum_blocks(a, b, kind, range(a.n_blocks))
    else:
        words = _sum_segments(a, b, kind)
    return np.where(is_nan, np.uint32(NAN_BITS), words).astype(np.uint32).view(np.float32)


def check_operands(a: QuantizedOperand, b: QuantizedOperand, kind: Kind) -> None:
    """Check that `kind` can accumulate A @ B.T; raises MixditError when it cannot."""
    a.check_same_order(b)
    if a.n_blocks != b.n_blocks:
        raise MixditError(f"A and B must have the same K-blocks, not {a.n_blocks} and {b.n_blocks}")
    if isinstance(kind, Aligned) and a.has_packets and b.has_packets:
        pairs = set(zip(a.formats, b.formats, strict=True))
        kind.check_block_bits(max(dot_bits(*pair) for pair in pairs))


def group_runs(a: tuple[int, ...], b: tuple[int, ...]) -> list[range]:
    """Return the runs of K-blocks over which the scale groups of A and of B stay the same."""
    groups = list(zip(a, b, strict=True))
    starts = [k for k in range(len(groups)) if k == 0 or groups[k] != groups[k - 1]]
    return [range(*span) for span in zip(starts, [*starts[1:], len(groups)], strict=True)]


def _sum_blocks(a: QuantizedOperand, b: QuantizedOperand, kind: Kind, span: range) -> np.ndarray:
    """Return the FP32 words of the sums of some K-blocks' dot products."""
    state = _STATES[type(kind)](kind, (a.rows, b.rows))
    for k in span:
        dot = _integers(a, k) @ _integers(b, k).T
        state.add(dot, _exponents(a, k)[:, None] + _exponents(b, k)[None, :])
    return state.bits()


def _sum_segments(a: QuantizedOperand, b: QuantizedOperand, kind: Kind) -> np.ndarray:
    """Return the FP32 words of the segments' sums, each times its scales, added in FP32."""
    total = np.zeros((a.rows, b.rows), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for span in group_runs(a.groups, b.groups):
            part = _sum_blocks(a, b, kind, span).astype(np.uint32).view(np.float32)
            scale = to_fp32(np.outer(_scales(a, span[0]), _scales(b, span[0])))
            product = to_fp32(part.astype(np.float64) * scale)
            total = to_fp32(total.astype(np.float64) + product)
    return np.where(np.isnan(total), np.uint32(NAN_BITS), total.view(np.uint32))


def to_fp32(x: np.ndarray) -> np.ndarray:
    """Return float64 x rounded to FP32; as everywhere, what is below normal is +0."""
    return np.where(np.abs(x) < 2.0**-126 - 2.0**-151, 0.0, x).astype(np.float32)


def _multiply_values(a: QuantizedOperand, b: QuantizedOperand) -> np.ndarray:
    """Return the FP32 words of a chain of fused multiply-adds, each rounded once as `fp32` does."""
    words = np.zeros((a.rows, b.rows), np.uint32)
    (sig_a, exp_a), (sig_b, exp_b) = _significands(a.values()), _significands(b.values())
    for i, j in np.ndindex(words.shape):
        word = 0
        for k in range(sig_a.shape[1]):
            product = int(sig_a[i, k]) * int(sig_b[j, k])
            if product:
                word = _add_fp32(word, product, int(exp_a[i, k] + exp_b[j, k]))
        words[i, j] = word
    return words


def _significands(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return integers s and e with x = s * 2**e; 0 for NaN and Inf."""
    fraction, exponent = np.frexp(np.where(np.isfinite(x), x, 0.0).astype(np.float64))
    return np.ldexp(fraction, SIG_BITS).astype(np.int64), exponent.astype(np.int64) - SIG_BITS


def _scales(x: QuantizedOperand, k: int) -> np.ndarray:
    """Return the scale of each row in K-block k, float64; 0 for a NaN group."""
    if x.scales is None:
        return np.ones(x.rows)
    return np.nan_to_num(x.scales[:, k].astype(np.float64), nan=0.0)


def _integers(x: QuantizedOperand, k: int) -> np.ndarray:
    """Return codes shifted by 1 - tau, so that products of lanes are the D of the contract."""
    return x.codes[:, k].astype(np.int64) << (
        1 - np.repeat(x.micro_exponents[:, k], 2, axis=-1).astype(np.int64)
    )


def _exponents(x: QuantizedOperand, k: int) -> np.ndarray:
    """Return the packet exponents e of K-block k, int64 (rows,)."""
    return x.exponents[:, k].astype(np.int64) - x.formats[k].exponent_offset


@dataclass
class _Fp32State:
    """FP32 words, kept as sign * significand * 2**exponent in integers."""

    kind: Fp32
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        self.words = np.zeros(self.shape, np.uint32)

    def add(self, dot: np.ndarray, weight: np.ndarray) -> None:
        for index in np.ndindex(self.shape):
            if dot[index]:
                self.words[index] = _add_fp32(
                    int(self.words[index]), int(dot[index]), int(weight[index])
                )

    def bits(self) -> np.ndarray:
        return self.words


def _add_fp32(word: int, dot: int, weight: int) -> int:
    """Return the FP32 word nearest to word + dot * 2**weight."""
    if word & INF_BITS == INF_BITS:
        return word
    exp = (word >> 23) & 0xFF
    significand = (word & 0x7FFFFF | 0x800000) * (-1 if word >> 31 else 1) if exp else 0
    lowest = min(exp - 150, weight) if significand else weight
    total = (dot << (weight - lowest)) + (significand << (exp - 150 - lowest if significand else 0))
    return round_fp32(total, lowest)


def round_fp32(value: int, weight: int) -> int:
    """Return the bits of value * 2**weight, to nearest even; beyond FP32 Inf, below normal +0."""
    magnitude = abs(value)
    drop = magnitude.bit_length() - SIG_BITS
    if drop > 0:
        kept, lost = magnitude >> drop, magnitude & ((1 << drop) - 1)
        half = 1 << (drop - 1)
        magnitude = kept + (lost > half or (lost == half and kept & 1))
        weight += drop
    if magnitude == 0:
        return 0
    exp = magnitude.bit_length() - 1 + weight + EXPONENT_BIAS
    sign = (value < 0) << 31
    if exp <= 0:
        return 0
    if exp >= 255:
        return sign | INF_BITS
    shift = SIG_BITS - magnitude.bit_length()
    fraction = magnitude << shift if shift >= 0 else magnitude >> -shift
    return sign | exp << 23 | fraction & 0x7FFFFF


@dataclass
class _AlignedState:
    """Significands s and windows X; the value is s * 2**(q * X)."""

    kind: Aligned
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        self.s = np.zeros(self.shape, np.int64)
        self.window = np.zeros(self.shape, np.int64)

    def add(self, dot: np.ndarray, weight: np.ndarray) -> None:
        q, g = self.kind.step_bits, self.kind.guard_bits
        lift = self._lift(dot)
        block = dot << (g + q * lift + (weight - g) % q)
        block_window = (weight - g) // q - lift
        lowest = self.window - self._room()
        window = np.where(self.s == 0, block_window, np.maximum(lowest, block_window))
        s_up, d_up = q * (self.window - window), q * (block_window - window)
        both = (s_up < 0) & (d_up < 0)
        kept = np.where(both, _move(self.s, s_up, 0), _move(self.s, s_up, 1))
        total = kept + _move(block, d_up, 1)
        self.s = np.where(dot == 0, self.s, total)
        self.window = np.where(dot == 0, self.window, window)

    def _lift(self, dot: np.ndarray) -> np.ndarray:
        """Return l: how many steps a block that is smaller than `GUARDED_BITS` moves up."""
        low = -self.kind.wide_steps(int(np.abs(dot).max()).bit_length() + 1)
        return _steps_left(dot, GUARDED_BITS - 1, self.kind.step_bits, low, self.kind.max_lift)

    def _room(self) -> np.ndarray:
        """Return n: how many steps s can move left and still leave a bit for a sum; at least -1."""
        f, q = self.kind.significand_bits, self.kind.step_bits
        return _steps_left(self.s, f - 2, q, -1, (f - 2) // q)

    def bits(self) -> np.ndarray:
        flat = [
            round_fp32(int(s), self.kind.step_bits * int(x))
            for s, x in zip(self.s.flat, self.window.flat, strict=True)
        ]
        return np.array(flat, np.uint32).reshape(self.shape)


def _steps_left(x: np.ndarray, bits: int, q: int, low: int, high: int) -> np.ndarray:
    """Return the largest n in low .. high for which -2**bits <= x * 2**(q n) < 2**bits."""
    steps = np.full(x.shape, low, np.int64)
    for n in range(low + 1, high + 1):
        limit = 1 << (bits - q * n)
        steps[(-limit <= x) & (x < limit)] = n
    return steps


def _move(x: np.ndarray, up: np.ndarray, half: int) -> np.ndarray:
    """Return x * 2**up, rounded half up where bits are lost, or down with `half` 0."""
    left = x << np.clip(up, 0, 62)
    down = np.clip(-up, 0, 62)
    return np.where(up >= 0, left, (x + half * ((1 << down) >> 1)) >> down)


_STATES = {Fp32: _Fp32State, Aligned: _AlignedState}
