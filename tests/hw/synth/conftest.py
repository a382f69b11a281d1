"""What timing needs."""

import shutil

import pytest

from mixdit_hw.synth.targets import find_target
from mixdit_sw.errors import MixditError


@pytest.fixture
def timing_installed():
    """Skip where OpenSTA or the library is missing."""
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA (Debian's opensta) is not installed")
    try:
        find_target("osu018")
    except MixditError as error:
        pytest.skip(str(error))
