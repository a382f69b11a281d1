"""Images from the shipped model, with the engine's cycles."""
