"""Synthesis: area, timing and reference units, with open tools only."""
