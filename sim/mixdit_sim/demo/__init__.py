"""The main job end to end: a trained transformer block, quantized, on simulated RTL."""
