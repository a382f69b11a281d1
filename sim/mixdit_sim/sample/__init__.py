"""Images from a model, with the engine's cycles."""
