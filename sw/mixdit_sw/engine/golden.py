"""What an engine computes, bit for bit."""

import numpy as np

from mixdit_sw.engine.commands import STEPS
from mixdit_sw.engine.gemm import LayerGemm
from mixdit_sw.engine.parts import split_k
from mixdit_sw.engine.shape import EngineShape
from mixdit_sw.errors import MixditError
from mixdit_sw.gemm.epilogue import apply_epilogue
from mixdit_sw.gemm.fast import golden_gemm
from mixdit_sw.gemm.kinds import Kind


def golden_layer(gemm: LayerGemm, kind: Kind, shape: EngineShape) -> np.ndarray:
    """Return C = A @ B.T with its epilogue, float32 (M, N), before it is stored.

    Where K takes parts, their sum is rounded to FP32 after each (docs/programming.md).

    Raises
    ------
    MixditError
        When operands do not match, the engine cannot run it, or its residual has no numbers.
    """
    if gemm.residual_source is not None and gemm.residual is None:
        raise MixditError("The golden model needs the numbers of a residual that a GEMM stores")
    c = None
    for part in split_k(gemm, shape):
        steps = {name: getattr(part, name) for name in STEPS}
        if c is not None:
            steps["residual"] = c
        c = apply_epilogue(golden_gemm(part.a, part.b, kind), **steps)
    assert c is not None
    return c
