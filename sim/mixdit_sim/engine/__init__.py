"""The engine with its memory: programs in, results and cycles out."""
