"""The list of all proofs: what is proved with which parameters, and how deep (docs/formal.md)."""

from collections.abc import Callable
from itertools import product

from amaranth.lib import wiring

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.config import PRESETS, ArrayConfig
from mixdit_hw.engine.fifo import Fifo
from mixdit_hw.formal import fp32
from mixdit_hw.formal.aligned import AlignedProof
from mixdit_hw.formal.converter import ConverterProof
from mixdit_hw.formal.engine_proofs import engine_proofs
from mixdit_hw.formal.join import JoinProof
from mixdit_hw.formal.proof import Proof
from mixdit_hw.formal.sequencer import SequencerProof, bound
from mixdit_hw.formal.streams import StreamProof
from mixdit_sw.formats import LANES, MX4, MX6, MX9
from mixdit_sw.gemm.kinds import parse_kind

FORMATS = (MX9, MX6, MX4)
INTERLEAVED = ArrayConfig(rows=2, cols=2, cluster_rows=2, cluster_cols=2, interleave=2)


def proofs() -> list[Proof]:
    """Return all proofs."""
    arithmetic = [*_fp32(), *_aligned(), *_join(), *_converter()]
    return [*arithmetic, *_streams(), *_sequencer(), *engine_proofs()]


def _fp32() -> list[Proof]:
    accumulator = PRESETS["small"].pe_accumulator
    widths = accumulator.block_bits, accumulator.exponent_bits
    found = [Proof("fp32_prepare", lambda: fp32.PrepareProof(*widths))]
    for case, latency in product(fp32.cases(widths[1]), (1, 2)):

        def step(case: fp32.Case = case, latency: int = latency) -> wiring.Component:
            return fp32.StepProof(*widths, case, latency=latency)

        is_quick = latency == 1 and (case.low != case.high or case.low in (None, 0))
        found.append(
            Proof(f"fp32_{case.name}_latency_{latency}", step, depth=latency, heavy=not is_quick)
        )
    return found


def _aligned() -> list[Proof]:
    found = []
    for kind, preset, heavy in (
        ("aligned40", "small", False),
        ("aligned40", "wide", True),
        ("aligned29", "small", True),
        ("aligned33x4", "small", True),
        ("aligned27x2", "small", True),
    ):
        widths = PRESETS[preset].block_bits, PRESETS[preset].pe_accumulator.exponent_bits
        found.append(
            Proof(
                f"{kind}_{preset}",
                lambda kind=kind, widths=widths: AlignedProof(parse_kind(kind), *widths),
                heavy=heavy,
            )
        )
    return found


def _join() -> list[Proof]:
    found = []
    # Two blocks of the most passes, 4 and 9, and a cycle behind each.
    for preset, depth, heavy in (("small", 10, False), ("wide", 20, True)):

        def harness(preset: str = preset) -> wiring.Component:
            return JoinProof(PRESETS[preset])

        name = f"join_{preset}"
        found += [
            Proof(name, harness, depth=depth, cut=JoinProof.CUT, heavy=heavy),
            Proof(
                f"{name}_cover",
                harness,
                mode="cover",
                depth=depth + 1,
                cut=JoinProof.CUT,
                heavy=True,
            ),
        ]
    return found


def _converter() -> list[Proof]:
    return [
        Proof("converter_lane", lambda: ConverterProof(FORMATS, [5]), depth=4),
        Proof("converter", lambda: ConverterProof(FORMATS), depth=6, heavy=True),
        Proof(
            "converter_steady",
            lambda: ConverterProof(FORMATS, pauses=False),
            mode="prove",
            depth=5,
            heavy=True,
        ),
        Proof(
            "converter_cover",
            lambda: ConverterProof(FORMATS, []),
            mode="cover",
            depth=5,
            heavy=True,
        ),
    ]


def _streams() -> list[Proof]:
    found = []
    for name, build, beats, depth, heavy in (
        ("fifo", lambda: Fifo(8, 4), 4, 9, False),
        ("converter", lambda: MxConverter(FORMATS), 4, 9, True),
        ("transpose", lambda: Transpose(width=1), LANES + 2, 2 * LANES + 8, True),
    ):

        def harness(
            build: Callable[[], wiring.Component] = build, beats: int = beats
        ) -> wiring.Component:
            return StreamProof(build(), beats)

        found += [
            Proof(f"stream_{name}", harness, mode="prove", depth=2, heavy=name == "converter"),
            Proof(f"stream_{name}_cover", harness, mode="cover", depth=depth, heavy=heavy),
        ]
    return found


def _sequencer() -> list[Proof]:
    found = []
    for name, config, heavy in (
        ("small", PRESETS["small"], False),
        ("wide", PRESETS["wide"], True),
        ("interleaved", INTERLEAVED, True),
    ):

        def harness(config: ArrayConfig = config) -> SequencerProof:
            return SequencerProof(config)

        depth = bound(config) + 1
        found += [
            Proof(f"sequencer_{name}", harness, mode="prove", depth=depth, heavy=heavy),
            Proof(f"sequencer_{name}_cover", harness, mode="cover", depth=depth, heavy=True),
        ]
    return found
