"""The engine's part of the list of all proofs (docs/formal.md)."""

from dataclasses import replace
from itertools import product

from amaranth.lib import wiring

from mixdit_hw.engine.config import ENGINES, EngineConfig
from mixdit_hw.formal import control
from mixdit_hw.formal.axi import short_bursts
from mixdit_hw.formal.gathers import GatherProof, square_tiles
from mixdit_hw.formal.loading import LoadingProof, two_formats
from mixdit_hw.formal.loads import LoadsProof
from mixdit_hw.formal.operands import FeedProof
from mixdit_hw.formal.proof import Proof
from mixdit_hw.formal.queues import QueueProof, SlotProof
from mixdit_hw.formal.reads import ReadOrderProof, ReadProof
from mixdit_hw.formal.registers import RegistersProof
from mixdit_hw.formal.results import ResultsProof, stacked_clusters
from mixdit_hw.formal.rules import RulesProof
from mixdit_hw.formal.stored import QuantizerProof
from mixdit_hw.formal.stores import StoresProof, half_groups
from mixdit_hw.formal.tiles import TilesProof
from mixdit_hw.formal.writes import WriteProof, WriteWordsProof

NARROW = replace(ENGINES["tiny"], address_bits=20)
"""The smallest engine, with few address bits."""
FEW_STEPS = replace(ENGINES["paper"], steps=("row_scale", "bias"))
"""An engine without some steps of the epilogue."""


def engine_proofs() -> list[Proof]:
    """Return the proofs of the engine's units."""
    found = [*_queues(), *_masters(), *_control(), *_rules(), *_feed(), *_walkers()]
    return [*found, *_gather(), *_operand_path(), *_registers()]


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
    masters: tuple[tuple[str, type[ReadProof | WriteProof]], ...] = (
        ("reader", ReadProof),
        ("writer", WriteProof),
    )
    for (name, config), (kind, harness) in product(engines.items(), masters):

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


def _rules() -> list[Proof]:
    found = []
    engines = {**{name: ENGINES[name] for name in ("tiny", "small", "paper")}, "steps": FEW_STEPS}
    for name, config in engines.items():

        def build(config: EngineConfig = config) -> wiring.Component:
            return RulesProof(config)

        found.append(Proof(f"rules_{name}", build, mode="prove", depth=3, heavy=True))
    cover = Proof("rules_cover", lambda: RulesProof(FEW_STEPS), mode="cover", depth=7, heavy=True)
    return [*found, cover]


def _walkers() -> list[Proof]:
    stores = half_groups()
    return [
        Proof("tiles", TilesProof, mode="prove", depth=2),
        Proof("tiles_cover", TilesProof, mode="cover", depth=14, heavy=True),
        Proof("loads", lambda: LoadsProof(NARROW), mode="prove", depth=2, heavy=True),
        Proof("loads_cover", lambda: LoadsProof(NARROW), mode="cover", depth=24, heavy=True),
        Proof("stores", lambda: StoresProof(stores), mode="prove", depth=2, heavy=True),
        Proof("stores_cover", lambda: StoresProof(stores), mode="cover", depth=12, heavy=True),
    ]


def _gather() -> list[Proof]:
    found = []
    for rows, depth in ((1, 14), (2, 10)):

        def build(rows: int = rows) -> wiring.Component:
            return GatherProof(square_tiles(16 * rows), 2)

        found += [
            Proof(f"gather_{rows}", build, depth=depth, heavy=True),
            Proof(f"gather_{rows}_cover", build, mode="cover", depth=20, heavy=True),
        ]
    return found


def _operand_path() -> list[Proof]:
    loading, stored = LoadingProof, QuantizerProof
    found = []
    for clusters, depth in ((1, 12), (2, 9)):

        def build(clusters: int = clusters) -> wiring.Component:
            return ResultsProof(stacked_clusters(clusters))

        name = f"results_{clusters}"
        found += [
            Proof(name, build, depth=depth, heavy=True),
            Proof(f"{name}_cover", build, mode="cover", depth=16, heavy=True),
        ]
    return [
        *found,
        Proof("loading", lambda: loading(two_formats()), depth=11, heavy=True),
        Proof("loading_cover", lambda: loading(two_formats()), mode="cover", depth=16, heavy=True),
        Proof("stored", lambda: stored(half_groups()), depth=10, heavy=True),
        Proof("stored_cover", lambda: stored(half_groups()), mode="cover", depth=20, heavy=True),
    ]


def _registers() -> list[Proof]:
    small = ENGINES["small"]
    return [
        Proof("registers", lambda: RegistersProof(small), mode="prove", depth=2),
        Proof("registers_cover", lambda: RegistersProof(small), mode="cover", depth=9, heavy=True),
    ]
