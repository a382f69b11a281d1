"""Fixtures for all tests, and what several of them are made of."""

import pytest

from mixdit_sw.formats.registry import FORMATS, LOADED_FILES


@pytest.fixture(autouse=True)
def same_formats():
    """Forget the formats that a test registers."""
    formats, files = dict(FORMATS), list(LOADED_FILES)
    yield
    FORMATS.clear()
    FORMATS.update(formats)
    LOADED_FILES[:] = files


@pytest.fixture
def one_thread():
    """Run small models on one thread: faster, and independent of the number of cores."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
