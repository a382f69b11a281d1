"""Formats, codec, golden model, quantization and models of mixdit. Knows nothing of hardware."""
