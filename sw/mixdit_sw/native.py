"""Compiled inner loops (native.cpp): used where they are worth a compiler run and there is one.

They are built with the machine's C++ compiler, named by CXX or c++, g++ or clang++, in a temporary
folder, at most once in a process and in about a second. Without a compiler their callers compute
the same bits in torch.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import torch

from mixdit_sw.formats import Format, MicroExponentFormat, OcpFormat
from mixdit_sw.gemm.kinds import GUARDED_BITS, Aligned

_SOURCE = Path(__file__).with_name("native.cpp")
_COMPILERS = ("c++", "g++", "clang++")
_FLAGS = (
    "-std=c++17 -O3 -march=native -shared -fPIC",
    "-ffp-contract=off",  # a fused multiply-add would round once where torch rounds twice
    "-fno-math-errno -fno-trapping-math",  # floor and selection become vector instructions
)
_TIMEOUT_S = 120

MAX_UNIT = 32
"""Largest OCP block that the loops take."""

_COUNT = ctypes.c_int64
_POINTER = ctypes.c_void_p
_SIGNATURES = {
    "fake_quantize": (_POINTER, _POINTER) + (_COUNT,) * 4,
    "fake_quantize_ocp": (_POINTER, _POINTER) + (_COUNT,) * 7,
    "encode_ocp": (_POINTER, _POINTER, _POINTER) + (_COUNT,) * 7,
    "multiply_values": (_POINTER,) * 4 + (_COUNT,) * 3,
    "aligned_step": (_POINTER,) * 4 + (_COUNT,) * 7,
}


@cache
def is_available() -> bool:
    """Return whether the loops can be used, after building them."""
    return _library() is not None


def is_loaded() -> bool:
    """Return whether the loops are there already, so that they cost no compiler run."""
    return _library.cache_info().currsize > 0 and is_available()


def has_loop(fmt: Format) -> bool:
    """Return whether blocks of a format can be quantized here, after building the loops."""
    is_micro = isinstance(fmt, MicroExponentFormat) and fmt.digits is not None
    is_ocp = isinstance(fmt, OcpFormat) and fmt.unit <= MAX_UNIT
    return (is_micro or is_ocp) and is_available()


def fake_quantize(
    x: torch.Tensor, out: torch.Tensor, fmt: Format, *, truncates: bool = False
) -> None:
    """Set `out` to the values of x in a micro-exponent or an OCP format.

    Both are float32 (rows, K), contiguous, on the CPU. Only micro-exponent formats truncate.
    """
    more: tuple[int, ...]
    if isinstance(fmt, OcpFormat):
        loop = _loop("fake_quantize_ocp")
        more = _ocp_parameters(fmt)
    else:
        assert isinstance(fmt, MicroExponentFormat)
        loop = _loop("fake_quantize")
        more = (fmt.magnitude_bits, truncates)
    pointers = (x.data_ptr(), out.data_ptr())
    stride = x.shape[1] * x.element_size()

    def run(start: int, stop: int) -> None:
        moved = (pointer + start * stride for pointer in pointers)
        loop(*moved, stop - start, x.shape[1], *more)

    _split(x.shape[0], run)


def encode_ocp(
    x: torch.Tensor, codes: torch.Tensor, exponents: torch.Tensor, fmt: OcpFormat
) -> None:
    """Set codes (n, unit) and stored exponents uint8 (n, unit / 16) of blocks x float32 (n, unit).

    All are contiguous, on the CPU; codes have a type that holds the format's.
    """
    loop, per_block = _loop("encode_ocp"), exponents.shape[1]

    def run(start: int, stop: int) -> None:
        pointers = (
            x.data_ptr() + 4 * start * fmt.unit,
            codes.data_ptr() + codes.element_size() * start * fmt.unit,
            exponents.data_ptr() + start * per_block,
        )
        loop(*pointers, stop - start, *_ocp_parameters(fmt), codes.element_size())

    _split(x.shape[0], run)


def _ocp_parameters(fmt: OcpFormat) -> tuple[int, ...]:
    """Return unit, emax, log2 of the least step, mantissa bits and largest code."""
    grid = fmt.element
    # An integer element is one whose steps do not grow: all its codes are subnormal.
    mantissa_bits = grid.bits if grid.mantissa_bits is None else grid.mantissa_bits
    return fmt.unit, fmt.largest_exponent, grid.lsb, mantissa_bits, grid.max_code


def aligned_step(
    value: torch.Tensor,
    dot: torch.Tensor,
    row_powers: torch.Tensor,
    column_powers: torch.Tensor,
    kind: Aligned,
) -> None:
    """Apply a step of kind `aligned` to a tile.

    Parameters
    ----------
    value, dot : float64 (rows, columns), contiguous, on the CPU
        State, changed in place, and D.
    row_powers, column_powers : float64 (rows,), (columns,), contiguous
        2**exponent of A's and B's blocks, A's exponents raised by one.
    kind : Aligned
        The kind.
    """
    tensors = (value, dot, row_powers, column_powers)
    _loop("aligned_step")(
        *(tensor.data_ptr() for tensor in tensors),
        *value.shape,
        kind.significand_bits,
        kind.step_bits,
        kind.guard_bits,
        kind.max_lift * kind.step_bits,
        GUARDED_BITS - 1,
    )


def multiply_values(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Return the chains of fused multiply-adds of a (M, K) and b (N, K), finite float32 (M, N)."""
    loop = _loop("multiply_values")
    left, right = a.double().contiguous(), b.double().T.contiguous()
    out = torch.empty(a.shape[0], b.shape[0], dtype=torch.float32)
    scratch = torch.empty(a.shape[0], b.shape[0], dtype=torch.float64)

    def run(start: int, stop: int) -> None:
        rows = (left[start:stop], right, scratch[start:stop], out[start:stop])
        loop(*(x.data_ptr() for x in rows), stop - start, *reversed(right.shape))

    _split(a.shape[0], run)
    return out


def _split(count: int, run: Callable[[int, int], None]) -> None:
    """Call run(start, stop) for parts of range(count), one for each of torch's threads."""
    threads = min(torch.get_num_threads(), count)
    bounds = [count * n // threads for n in range(threads + 1)]
    if threads == 1:
        run(0, count)
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(run, *part) for part in zip(bounds, bounds[1:], strict=False)]:
            done.result()


def _loop(name: str) -> Callable[..., None]:
    library = _library()
    if library is None:
        raise RuntimeError("There is no C++ compiler: ask is_available first")
    return getattr(library, name)


@cache
def _library() -> ctypes.CDLL | None:
    """Build and load the loops; None if that does not work here."""
    named = os.environ.get("CXX")
    compiler = next(filter(None, map(shutil.which, [named] if named else _COMPILERS)), None)
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory(prefix="mixdit-") as folder:
        built = Path(folder) / "native.so"
        command = [compiler, *" ".join(_FLAGS).split(), str(_SOURCE), "-o", str(built)]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)
            library = ctypes.CDLL(str(built))
        except (OSError, subprocess.SubprocessError):
            return None
    for name, arguments in _SIGNATURES.items():
        getattr(library, name).argtypes = arguments
        getattr(library, name).restype = None
    return library
