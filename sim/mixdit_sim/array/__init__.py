"""The array on its own: operand beats in, tiles of results out, and how long that takes."""
