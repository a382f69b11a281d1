"""Fixtures for all tests."""

import pytest

from mixdit_sw.formats import FORMATS


@pytest.fixture(autouse=True)
def same_formats():
    """Forget the formats that a test registers."""
    before = dict(FORMATS)
    yield
    FORMATS.clear()
    FORMATS.update(before)
