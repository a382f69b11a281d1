"""Diffusion transformer, its training, sampling and shipped weights.

Importing this package imports nothing heavy; each module below it needs the `torch` extra.
"""
