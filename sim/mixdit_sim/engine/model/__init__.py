"""Cycle model: what each unit of the engine does in each cycle, without the numbers.

The units are those of `mixdit_hw.engine`, by the same names; each has the state that decides when
things happen, and none of the data. A cycle first settles what depends on state alone, then moves
the units on.
"""
