"""The list of all proofs: what is proved with which parameters, and how deep (docs/formal.md)."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

from amaranth.lib import wiring

from mixdit_hw.blocks.converter import MxConverter
from mixdit_hw.blocks.transpose import Transpose
from mixdit_hw.config import PRESETS, ArrayConfig
from mixdit_hw.engine.config import ENGINES, EngineConfig
from mixdit_hw.engine.fifo import Fifo
from mixdit_hw.formal import control, fp32
from mixdit_hw.formal.aligned import AlignedProof
from mixdit_hw.formal.axi import short_bursts
from mixdit_hw.formal.converter import ConverterProof
from mixdit_hw.formal.join import JoinProof
from mixdit_hw.formal.operands import FeedProof
from mixdit_hw.formal.queues import QueueProof, SlotProof
from mixdit_hw.formal.reads import ReadOrderProof, ReadProof
from mixdit_hw.formal.runner import Result, prove
from mixdit_hw.formal.sequencer import SequencerProof, bound
from mixdit_hw.formal.streams import StreamProof
from mixdit_hw.formal.writes import WriteProof, WriteWordsProof
from mixdit_sw.formats import LANES, MX4, MX6, MX9
from mixdit_sw.gemm.kinds import parse_kind

FORMATS = (MX9, MX6, MX4)
INTERLEAVED = ArrayConfig(rows=2, cols=2, cluster_rows=2, cluster_cols=2, interleave=2)


@dataclass(frozen=True)
class Proof:
    """A harness and how it is run.

    Members
    -------
    name : str
        Of the proof.
    build : callable
        Makes the harness.
    mode, depth, cut
        See `mixdit_hw.formal.runner.prove`.
    heavy : bool
        Not among the default tests.
    """

    name: str
    build: Callable[[], wiring.Component]
    mode: str = "bmc"
    depth: int = 1
    heavy: bool = False
    cut: tuple[str, ...] = ()

    def run(self) -> Result:
        """Prove it; see `mixdit_hw.formal.runner.prove`."""
        return prove(self.build(), self.name, mode=self.mode, depth=self.depth, cut=self.cut)


def proofs() -> list[Proof]:
    """Return all proofs."""
    arithmetic = [*_fp32(), *_aligned(), *_join(), *_converter()]
    return [*arithmetic, *_streams(), *_sequencer(), *_queues(), *_masters(), *_control(), *_feed()]


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


def _queues() -> list[Proof]:
    found = []
    for name, build, heavy in (
        ("fifo_3", lambda: QueueProof(8, 3), True),
        ("fifo_4", lambda: QueueProof(8, 4), False),
        ("fifo_16", lambda: QueueProof(8, 16), True),
        ("slot", lambda: SlotProof(8), False),
    ):
        found += [
            Proof(f"queue_{name}", build, mode="prove", depth=2, heavy=heavy),
            Proof(f"queue_{name}_cover", build, mode="cover", depth=22, heavy=True),
        ]
    return found


def _masters() -> list[Proof]:
    """For ever with any engine; from power-up, bursts of up to 4 words."""
    found = []
    engines = {"short": short_bursts(1), "two_ports": short_bursts(2), **ENGINES}
    for (name, config), (kind, harness) in product(
        engines.items(), (("reader", ReadProof), ("writer", WriteProof))
    ):

        def build(
            harness: type[ReadProof | WriteProof] = harness, config: EngineConfig = config
        ) -> wiring.Component:
            return harness(config)

        quick = name in ("two_ports", "small")
        found.append(Proof(f"{kind}_{name}", build, mode="prove", depth=2, heavy=not quick))
        if name == "short":
            found.append(Proof(f"{kind}_cover", build, mode="cover", depth=20, heavy=True))
    for ports, depth in ((1, 14), (2, 11)):

        def words(ports: int = ports) -> wiring.Component:
            return WriteWordsProof(short_bursts(ports))

        found.append(Proof(f"writer_words_{ports}", words, depth=depth, heavy=True))
    return [
        *found,
        Proof("writer_words", lambda: WriteWordsProof(short_bursts(1)), depth=9),
        Proof("writer_words_cover", words, mode="cover", depth=14, heavy=True),
        Proof("reader_order", lambda: ReadOrderProof(short_bursts(1)), depth=11, heavy=True),
        Proof(
            "reader_order_cover",
            lambda: ReadOrderProof(short_bursts(1)),
            mode="cover",
            depth=14,
            heavy=True,
        ),
    ]


def _control() -> list[Proof]:
    found = []
    for name in ("tiny", "small", "paper"):

        def build(config: EngineConfig = ENGINES[name]) -> wiring.Component:
            return control.ControlProof(config)

        found.append(Proof(f"control_{name}", build, mode="prove", depth=2, heavy=name != "small"))
    small = ENGINES["small"]
    depth = control.bound(small) + 5
    return [
        *found,
        Proof(
            "control_cover",
            lambda: control.ControlProof(small),
            mode="cover",
            depth=depth,
            heavy=True,
        ),
        Proof(
            "control_start", lambda: control.StartProof(small), mode="prove", depth=2, heavy=True
        ),
        Proof(
            "control_start_cover",
            lambda: control.StartProof(small),
            mode="cover",
            depth=depth,
            heavy=True,
        ),
    ]


def _feed() -> list[Proof]:
    return [
        Proof("feed", FeedProof, depth=10, heavy=True),
        Proof("feed_cover", FeedProof, mode="cover", depth=16, heavy=True),
    ]
