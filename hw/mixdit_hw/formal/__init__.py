"""Formal verification: harnesses around units of the hardware, and the runner that proves them."""
