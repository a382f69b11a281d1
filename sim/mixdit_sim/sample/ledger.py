"""What a model multiplies while it samples: multiply-adds, engine programs, golden results."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from mixdit_hw.engine.config import EngineConfig
from mixdit_sim.engine.model.repeat import predict_quickly
from mixdit_sim.engine.run import memory_timing
from mixdit_sw.engine.compiler import compile_sizes
from mixdit_sw.engine.gemm import GemmSize, LayerGemm
from mixdit_sw.engine.registers import Register
from mixdit_sw.policy.lower_layer import layer_gemms, layer_sizes
from mixdit_sw.policy.modules import QuantizedLinear, QuantizedMatMul


@dataclass
class Ledger:
    """Filled while layers run inside `watching`.

    Attributes
    ----------
    macs : int
        Multiply-adds.
    programs : list of list of GemmSize, or None
        GEMMs of each call of a quantized layer, which the engine runs as one program; None for
        sizes that are known at run time only.
    operands : list of list of LayerGemm
        The same with their numbers, if they are kept.
    results : list of float32 (rows, N)
        What the model saw of each of these calls.
    """

    macs: int = 0
    programs: list[list[GemmSize] | None] = field(default_factory=list)
    operands: list[list[LayerGemm]] = field(default_factory=list)
    results: list[np.ndarray] = field(default_factory=list)

    @contextmanager
    def watching(self, layers: list[nn.Module], *, keep: bool = False) -> Iterator[None]:
        """Count what layers do; `keep` their operands and results too."""

        def look(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.macs += _macs(layer, inputs)
            if not isinstance(layer, QuantizedLinear | QuantizedMatMul) or layer.is_float:
                return
            if not keep:
                self.programs.append(layer_sizes(layer, inputs))
                return
            gemms = layer_gemms(layer, inputs)
            self.programs.append([gemm.size for gemm in gemms])
            self.operands.append(gemms)
            self.results.append(output.detach().cpu().numpy().reshape(-1, output.shape[-1]).copy())

        handles = [layer.register_forward_hook(look) for layer in layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def predict(self, engine: EngineConfig) -> int | None:
        """Return the engine's cycles by the cycle model, start to interrupt of all programs.

        None where there are none, sizes are not known, or a format is not one that the engine is
        built for.

        Raises
        ------
        MixditError
            When a GEMM does not fit the engine.
        """
        known: dict[tuple[GemmSize, ...], int] = {}
        total = 0
        for sizes in self.programs:
            if sizes is None or not formats_of([sizes]) <= set(engine.array.formats):
                return None
            key = tuple(sizes)
            if key not in known:
                program = compile_sizes(sizes, engine.shape)
                counters = predict_quickly(engine, program, memory_timing(engine))
                known[key] = counters[Register.CYCLES]
            total += known[key]
        return total or None


def formats_of(programs: list[list[GemmSize]]) -> set[str]:
    """Return the names of all formats of programs."""
    return {
        fmt.name
        for sizes in programs
        for size in sizes
        for fmt in (*size.a_formats, *size.b_formats)
    }


def _macs(layer: nn.Module, inputs: tuple[Tensor, ...]) -> int:
    columns = layer.out_features if isinstance(layer, nn.Linear) else inputs[1].shape[-2]
    return inputs[0].numel() * columns
