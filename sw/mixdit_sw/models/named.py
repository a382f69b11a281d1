"""Models by the names that commands take: the shipped one, its twins, or a weight file."""

from pathlib import Path

from mixdit_sw.errors import MixditError
from mixdit_sw.models.load import DiTBundle, load_dit
from mixdit_sw.models.twin import TwinConfig, make_twin

SHIPPED, TWIN = "shipped", "twin-x"


def named_dit(name: str) -> DiTBundle:
    """Return a diffusion model.

    Parameters
    ----------
    name : str
        "shipped"; "twin-x30" or another factor, for a twin of the shipped model; or the path of a
        weight file.

    Raises
    ------
    MixditError
        When there is no such model, or the file does not hold one.
    """
    if name == SHIPPED:
        return load_dit()
    if name.startswith(TWIN):
        try:
            factor = float(name.removeprefix(TWIN))
        except ValueError:
            raise MixditError(f"Twins are called twin-x30, not {name!r}") from None
        return make_twin(load_dit(), TwinConfig(factor=factor))
    if not Path(name).exists():
        raise MixditError(f"Model must be shipped, twin-x30 or a weight file, not {name!r}")
    return load_dit(Path(name))
