"""Offline search for a selection policy: quality against the engine's cycles (docs/search.md)."""
