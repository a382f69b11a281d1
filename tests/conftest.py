"""Fixtures for all tests."""

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
