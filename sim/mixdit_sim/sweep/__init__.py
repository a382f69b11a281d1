"""Design-space exploration: area, clock, cycles and quality of many configurations."""
