"""Calls that test executors, importable by the processes that run them."""

import os

from mixdit_sw.errors import MixditError


def where(_):
    """Return the process that ran the call."""
    return os.getpid()


def end_or_double(number):
    """Double a number; a negative one ends the process."""
    if number < 0:
        os._exit(9)
    return 2 * number


def refuse(_):
    """Raise what bad input raises."""
    raise MixditError("refused")
