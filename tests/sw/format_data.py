"""Numbers that are hard on number formats: by kind, float32 (rows, K) for each format."""

from fractions import Fraction

import numpy as np
from format_oracle import E4M3, LANES, Spec, half_value, spec_of

from mixdit_sw.formats import FORMATS, Blocks, get_format

VARIANTS = ["int4_asym_g64", "fp4_e2m1_row", "int8_g192", "fp4_e3m0_g16", "int8_asym_row"]
NAMES = [*FORMATS, *VARIANTS]
K = 200
"""Neither whole blocks of 16 or 32, nor whole groups of 64, 128 or 192."""


MAX = np.finfo(np.float32).max


def family(*names: str) -> list[str]:
    """Formats of some families."""
    return [name for name in NAMES if spec_of(name).family in names]


def formats(names: list[str] = NAMES) -> list:
    return [get_format(name) for name in names]


def same(found: Blocks, expected: Blocks) -> bool:
    """Whether blocks are equal in every array, bit for bit and in their types."""
    for name in ("codes", "exponents", "micro_exponents", "scales", "zero_points"):
        a, b = getattr(found, name), getattr(expected, name)
        if (a is None) != (b is None):
            return False
        if a is not None and (
            a.dtype != b.dtype or a.shape != b.shape or a.tobytes() != b.tobytes()
        ):
            return False
    return words(found.tensor_scale or 0) == words(expected.tensor_scale or 0)


def words(x) -> np.ndarray:
    return np.asarray(x, np.float32).view(np.uint32)


def _rng(text: str) -> np.random.Generator:
    return np.random.default_rng([ord(c) for c in text])


def fields(rng: np.random.Generator, low: int, high: int, rows: int = 2) -> np.ndarray:
    """Random signs and fractions, exponent fields of low..high."""
    bits = rng.integers(0, 1 << 32, (rows, K), dtype=np.uint32) & 0x807FFFFF
    bits |= rng.integers(low, high + 1, (rows, K), dtype=np.uint32) << 23
    return bits.view(np.float32)


def zeros() -> np.ndarray:
    """Zeros of both signs, and a number here and there."""
    x = np.zeros((3, K), np.float32)
    x[1] = -0.0
    x[2, ::2] = -0.0
    x[2, 130], x[2, 135], x[2, 199] = 1e-45, -3.0, -1e-40
    return x


def specials(rng: np.random.Generator) -> np.ndarray:
    """NaN and Inf in some groups, ordinary numbers in the others."""
    x = rng.standard_normal((6, K)).astype(np.float32)
    for r, value in enumerate((np.nan, -np.nan, np.inf, -np.inf)):
        x[r, 37 * r] = value
    x[4, K - 1] = np.inf
    return x


def one_sided(rng: np.random.Generator) -> np.ndarray:
    """Groups that lie on one side of zero, at some distance from it."""
    x = np.abs(rng.standard_normal((4, K))).astype(np.float32) + np.float32(3)
    x[1] *= -1
    x[2, 64:] *= -1
    x[3, :128], x[3, 128:] = 5.0, -7.0
    return x


def ties(name: str) -> np.ndarray:
    """Every tie of the elements and its two neighbours, at scales that are powers of two."""
    spec = spec_of(name)
    if spec.family == "half":
        return _half_ties(name, spec)
    if spec.family == "nv":
        return _nv_ties(2.0**20, spec)
    grid = spec.grid.magnitudes
    middles = [Fraction(a + b, 2) for a, b in zip(grid, grid[1:], strict=False)]
    if spec.family in ("micro", "ocp"):
        above = [grid[-1] + Fraction(n, 4) * (grid[-1] - grid[-2]) for n in range(1, 4)]
        middles += [m for m in above if m < 1 << grid[-1].bit_length()]
    exponents = {"micro": (0, -118, 120), "ocp": (0, -127, 127 - spec.emax)}
    rows = []
    for k in exponents.get(spec.family, (0, 20)):
        scale = 2.0 ** (k + (spec.grid.lsb if spec.family == "ocp" else 0))
        numbers = np.array([float(m) for m in middles]) * scale
        numbers = np.float32(numbers)
        near = [np.nextafter(numbers, np.float32(end)) for end in (-np.inf, np.inf)]
        numbers = np.concatenate([numbers, *near])
        rows += _groups(spec, numbers * np.resize([1, -1, -1], len(numbers)), scale)
    return np.array(rows, np.float32)


def _groups(spec: Spec, numbers: np.ndarray, scale: float) -> list[np.ndarray]:
    """Rows of groups of 16 or 32 (or of whole rows) that begin with what sets their scale."""
    size = 32 if spec.family == "ocp" else min(spec.group, 32) or 32 * (len(numbers) // 28 + 1)
    if spec.group > 32:
        size = spec.group
    lead: list[list[float]] = [[spec.grid.max]]
    if spec.family == "micro":
        top = (spec.grid.max + 1) // 2
        # Pairs that follow have micro-exponent 0 in the second group.
        lead = [[2 * top, 0], [top, 0]]
    elif spec.family == "ocp":
        lead = [[1 << (spec.grid.max.bit_length() - 1)]]
    elif spec.family == "asymmetric":
        levels = spec.grid.max
        lead = [[-low, levels - low] for low in (levels // 2, 0.5, 1.5, levels // 3)]
    rows, at, n = [], 0, 0
    while at < len(numbers):
        head = np.array(lead[n % len(lead)])
        head = head * scale
        body = numbers[at : at + size - len(head)]
        if spec.family == "asymmetric":
            body = np.clip(body, head[0], head[1])
        at, n = at + len(body), n + 1
        rows.append(np.pad(np.concatenate([head, body]), (0, size - len(head) - len(body))))
    return rows


def _nv_ties(scale: float, spec: Spec) -> np.ndarray:
    """A row of blocks: the first makes the tensor's scale a power of two, in the others elements
    are ties, or the block's scale is one or beside one."""
    grid, steps = spec.grid.magnitudes, E4M3.magnitudes
    middles = [(a + b) / 2 for a, b in zip(grid, grid[1:], strict=False)]
    blocks = [[2688.0]]
    for i in (*range(1, 12), 40, 77, 125):
        unit, tie = steps[i] * 2.0**-9, 3 * (steps[i] + steps[i + 1]) * 2.0**-9
        blocks.append([6 * unit] + [m * unit * sign / 2 for m in middles for sign in (1, -1)])
        beside = [float(np.nextafter(np.float32(tie), np.float32(end))) for end in (0, 1e9)]
        blocks += [[tie, 1.0], *([b, -tie / 3] for b in beside)]
    filled = [np.pad(np.array(block), (0, LANES - len(block))) for block in blocks]
    return np.float32(np.concatenate(filled) * scale)[None]


def _half_ties(name: str, spec: Spec) -> np.ndarray:
    m = spec.grid.lsb
    patterns = _rng(name).integers(0, (((2 << (14 - m)) - 1) << m) - 1, 40)
    patterns = np.concatenate([patterns, np.arange(20), [(1 << m) - 1, (1 << m), (2 << m) - 1]])
    middles = [(half_value(int(p), spec) + half_value(int(p) + 1, spec)) / 2 for p in patterns]
    numbers = np.array([float(x) for x in middles])
    if name == "fp16":
        numbers = np.concatenate([numbers, [65504, 65519, 65520, 65535, 65536, 2.0**-25, 1e6]])
    else:
        numbers = np.concatenate([numbers, np.ldexp([510, 510.5, 511, 511.5], 119)])
    numbers = numbers.astype(np.float32)
    near = [np.nextafter(numbers, np.float32(end)) for end in (-1e38, 1e38)]
    return np.concatenate([numbers, -numbers, *near])[None]


def _make(kind: str, name: str) -> np.ndarray:
    rng = _rng(kind)
    if kind == "ties":
        return ties(name)
    return {
        "normal": lambda: rng.standard_normal((2, K)).astype(np.float32),
        "any-bits": lambda: fields(rng, 0, 255),
        "near": lambda: fields(rng, 120, 130),
        "tiny": lambda: fields(rng, 0, 14),
        "subnormal": lambda: fields(rng, 0, 0) * np.float32([[1], [2.0**-15]]),
        "huge": lambda: np.append(fields(rng, 246, 254), np.full((1, K), MAX), axis=0),
        "zeros": zeros,
        "specials": lambda: specials(rng),
        "one-sided": lambda: one_sided(rng),
        "one-element": lambda: np.float32([[3.0], [-0.0], [np.nan], [1e-42]]),
    }[kind]()


KINDS = ["normal", "any-bits", "near", "tiny", "subnormal", "huge", "zeros", "specials"]
KINDS += ["one-sided", "one-element", "ties"]


def data(kind: str, name: str) -> np.ndarray:
    """Numbers of a kind for a format."""
    return _make(kind, name)
