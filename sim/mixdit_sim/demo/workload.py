"""The six GEMMs of a block of the shipped model at a real denoising step, quantized."""

from dataclasses import dataclass

import numpy as np
import torch

from mixdit_sw.formats import LANES, MX6, MX9, Format
from mixdit_sw.models.diffusion import BlockGemm, SamplerConfig, capture_block
from mixdit_sw.models.load import load_dit
from mixdit_sw.operand import QuantizedOperand, quantize_pair, select_high_channels

BLOCK, STEP, LABELS = 3, 25, (7, 8)
"""Sneaker and bag, halfway through 50 steps; with guidance a batch of four."""

HIGH_CHANNELS = LANES
"""Channels of each linear's input in MX9: one K-block."""

HIGH_HEADS = 1
"""Heads of each sample whose attention products take MX9 scores."""


@dataclass(frozen=True)
class Part:
    """One matrix product A @ B.T of a layer.

    Members
    -------
    a, b : float32 (M, K), (N, K)
        Original operands.
    quantized : (QuantizedOperand, QuantizedOperand)
        What the engine multiplies.
    """

    a: np.ndarray
    b: np.ndarray
    quantized: tuple[QuantizedOperand, QuantizedOperand]


@dataclass(frozen=True)
class Layer:
    """One of the six GEMMs of a block; for attention, the products of all samples and heads.

    Members
    -------
    name : str
        "qkv", "qk", "av", "proj", "fc1" or "fc2".
    formats : str
        Formats of A and B, for people.
    parts : list of Part
        The products.
    """

    name: str
    formats: str
    parts: list[Part]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(count, M, N, K) of the products."""
        part = self.parts[0]
        return len(self.parts), part.a.shape[0], part.b.shape[0], part.a.shape[1]

    @property
    def macs(self) -> int:
        """Multiply-adds of all products."""
        count, m, n, k = self.shape
        return count * m * n * k


def capture_layers() -> list[Layer]:
    """Denoise with the shipped model up to the step, and quantize what its block multiplies.

    The policy is MixDiT's in its simplest form: of each linear's input the 16 channels with the
    largest magnitude are MX9, of each sample the head with the largest scores is; weights are MX6.

    Raises
    ------
    MixditError
        When the shipped weights are missing or damaged.
    """
    bundle = load_dit()
    gemms = capture_block(
        bundle.model, BLOCK, STEP, torch.tensor(LABELS), bundle.schedule, SamplerConfig()
    )
    heads = bundle.model.config.heads
    high = _high_heads(gemms["qk"], heads)
    return [
        _attention(gemm, high, heads) if gemm.name in ("qk", "av") else _linear(gemm)
        for gemm in gemms.values()
    ]


def quantize_all_mx6(part: Part) -> tuple[QuantizedOperand, QuantizedOperand]:
    """Return a product's operands without any MX9, for comparison."""
    return quantize_pair(part.a, part.b, MX6, MX6)


def _linear(gemm: BlockGemm) -> Layer:
    a, b = gemm.a[0], gemm.b[0]
    pair = quantize_pair(a, b, MX6, MX6, select_high_channels(a, HIGH_CHANNELS))
    return Layer(
        gemm.name, f"MX6/MX9 ({HIGH_CHANNELS} of {a.shape[1]} channels) x MX6", [Part(a, b, pair)]
    )


def _attention(gemm: BlockGemm, high: set[int], heads: int) -> Layer:
    """A high head takes MX9 x MX9 scores, and MX9 probabilities on MX6 values."""
    b_high = MX9 if gemm.name == "qk" else MX6
    parts = []
    for index, (a, b) in enumerate(zip(gemm.a, gemm.b, strict=True)):
        formats: tuple[Format, Format] = (MX9, b_high) if index in high else (MX6, MX6)
        parts.append(Part(a, b, quantize_pair(a, b, *formats)))
    text = f"MX6 x MX6, {HIGH_HEADS} of {heads} heads MX9 x {b_high.name.upper()}"
    return Layer(gemm.name, text, parts)


def _high_heads(scores: BlockGemm, heads: int) -> set[int]:
    """Return the products, counted over samples and heads, with the largest scores."""
    largest = np.abs(scores.a @ scores.b.swapaxes(1, 2)).max(axis=(1, 2)).reshape(-1, heads)
    chosen = np.argsort(-largest, axis=1, kind="stable")[:, :HIGH_HEADS]
    return {sample * heads + int(head) for sample, row in enumerate(chosen) for head in row}
